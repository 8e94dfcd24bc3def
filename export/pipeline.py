"""Export a set: check everything, then videos, then metadata, then checksums.

plan = plan_export(set_folder, settings)                  # nothing is written
summary = export_set(set_folder, out, settings, execution=Execution(jobs=4))
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.export.folder import check_files, check_output, describe, swept, write_checksums
from xsheet.export.forms.diffsynth import write_diffsynth
from xsheet.export.forms.diffusion_pipe import write_diffusion_pipe
from xsheet.export.forms.finetrainers import write_finetrainers
from xsheet.export.forms.hugging_face import write_hugging_face
from xsheet.export.forms.ltx import resolution_bucket, write_ltx
from xsheet.export.forms.musubi import write_musubi
from xsheet.export.forms.plain import by_split, write_captions
from xsheet.export.forms.simpletuner import write_simpletuner
from xsheet.export.forms.tar_shards import list_shards
from xsheet.export.forms.tie import write_tie
from xsheet.export.media import ExportedFile, ExportShardTask, ExportVideoTask, MediaJob, exported_file
from xsheet.export.remote import open_export_copy, upload_export
from xsheet.export.samples import ExportSample, list_samples
from xsheet.export.settings import ExportKind, ExportSettings
from xsheet.runtime.executor import Execution, Item, Progress, RunResults, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas.errors import ContractError, RunError
from xsheet.schemas.sets import open_set
from xsheet.schemas.time import seconds_from_us


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What an export will hold."""

    layer: str
    samples: tuple[ExportSample, ...]
    left_out: Mapping[str, int]  # clips by reason
    estimated_bytes: int  # of the videos; exact where files are copied
    encoded: int  # videos that are encoded again

    def counts(self) -> dict[str, int]:
        """Samples by split."""
        return {name: len(members) for name, members in by_split(self.samples).items()}

    @property
    def hours(self) -> float:
        """Length of all videos."""
        return sum(sample.duration_s for sample in self.samples) / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """Result of an export."""

    plan: ExportPlan
    files: int
    bytes: int
    written: int  # videos or tar files of this run; the others were there
    next_step: str


def plan_export(set_folder: Path, settings: ExportSettings) -> ExportPlan:
    """Plan an export; writes nothing.

    Raises:
        ConfigError: no such layer, or no clip is left.
        ContractError: no set, the layer describes other files, or a clip's file is missing.
    """
    open_set(set_folder)
    found = list_samples(set_folder, settings)
    return ExportPlan(
        layer=str(found.layer),
        samples=found.samples,
        left_out=found.left_out,
        estimated_bytes=sum(_estimated_bytes(set_folder, sample) for sample in found.samples),
        encoded=sum(not sample.is_copy for sample in found.samples),
    )


def export_set(
    set_folder: Path, out: Path | str, settings: ExportSettings, *, execution: Execution, shows_progress: bool = True
) -> ExportSummary:
    """Export the clips of a set to a folder, or to a URL; the same call continues a stopped export.

    Raises:
        ConfigError: as plan_export, or the folder or URL holds something else; nothing was changed.
        ContractError: as plan_export.
        RunError: another command writes to the folder, or a video could not be written or uploaded; the finished ones
            stay.
    """
    plan = plan_export(set_folder, settings)
    if isinstance(out, Path):
        check_output(out, settings, layer=plan.layer)  # before the lock, which makes the folder
        location = str(out.absolute())
        with write_lock(out):
            check_output(out, settings, layer=plan.layer)
            return _write_export(
                set_folder, out, plan, settings, execution, location=location, shows_progress=shows_progress
            )
    url = out.rstrip("/")
    with open_export_copy(url, settings, layer=plan.layer) as copy:
        summary = _write_export(
            set_folder, copy, plan, settings, execution, location=url, shows_progress=shows_progress
        )
        upload_export(copy, url)
    return summary


def _write_export(
    set_folder: Path,
    out: Path,
    plan: ExportPlan,
    settings: ExportSettings,
    execution: Execution,
    *,
    location: str,
    shows_progress: bool,
) -> ExportSummary:
    """Write an export to a folder; its files name `location` as their place."""
    name = open_set(set_folder).name
    facts = {"set": name, "samples": plan.counts(), "left_out": dict(plan.left_out)}
    describe(out, settings, layer=plan.layer, facts=facts, complete=False)
    with swept(out):
        results = _write_media(set_folder.absolute(), out.absolute(), plan, settings, execution, shows_progress)
    media = sorted(results.rows(ExportedFile), key=lambda row: row.file)
    check_files(out, media)
    written = write_metadata(out, plan.samples, settings, name=name, location=location)
    files = [*media, *(exported_file(path, out) for path in written)]
    write_checksums(out, files)
    size = sum(row.size_bytes for row in files)
    describe(out, settings, layer=plan.layer, facts=facts | {"files": len(files), "bytes": size}, complete=True)
    return ExportSummary(
        plan=plan,
        files=len(files),
        bytes=size,
        written=sum(1 for _ in results.new_rows(ExportedFile)),
        next_step=_next_step(location, plan.samples, settings),
    )


def _write_media(
    set_folder: Path, out: Path, plan: ExportPlan, settings: ExportSettings, execution: Execution, shows_progress: bool
) -> RunResults:
    progress = Progress("export") if shows_progress else None
    if settings.kind == "webdataset":
        shards = list_shards(plan.samples, settings, set_folder=set_folder, out=out)
        items = [Item(key=job.key(settings.encoding), name=job.file, payload=job) for job in shards]
        task: ExportShardTask | ExportVideoTask = ExportShardTask(settings.encoding)
    else:
        with_wav = settings.kind == "ltx"
        videos = (MediaJob(sample=one, set_folder=set_folder, out=out, with_wav=with_wav) for one in plan.samples)
        items = [Item(key=job.key(settings.encoding), name=job.sample.file, payload=job) for job in videos]
        task = ExportVideoTask(settings.encoding)
    results = run_task(task, items, out=out, execution=execution, retry_failed=True, progress=progress)
    failed = [outcome for outcome in results.outcomes() if outcome.status != "ok"]
    if failed:
        raise RunError(
            where=str(out), expected="every video written", got=f"{len(failed)} failed, {failed[0].name}: "
            f"{failed[0].message}", hint="repair the set, then run the same command again; finished videos are kept",
        )  # fmt: skip
    return results


def write_metadata(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, name: str, location: str
) -> Iterator[Path]:
    """Write what the reader needs beside the videos, which will lie at `location`; yields the files."""
    match settings.kind:
        case "folder":
            yield from write_captions(out, samples)
        case "hf":
            yield from write_hugging_face(out, samples, name=name)
        case "webdataset":
            pass  # the tar files hold everything
        case "musubi":
            yield from write_musubi(out, samples, settings, location=location)
        case "diffsynth":
            yield from write_diffsynth(out, samples)
        case "ltx":
            yield from write_ltx(out, samples)
        case "diffusion-pipe":
            yield from write_diffusion_pipe(out, samples, settings, location=location)
        case "simpletuner":
            yield from write_simpletuner(out, samples, settings, name=name, location=location)
        case "finetrainers":
            yield from write_finetrainers(out, samples, settings, location=location)
        case "tie":
            yield from write_tie(out, samples, settings.captions)


def _next_step(location: str, samples: Sequence[ExportSample], settings: ExportSettings) -> str:
    """What reads the export."""
    first = next(iter(by_split(samples)))
    folder = f"{location}/{first}"
    frames = settings.largest_allowed(min(sample.frames for sample in samples))
    steps: dict[ExportKind, str] = {
        "folder": f"point the trainer at {folder}",
        "hf": f'datasets.load_dataset("{location}")',
        "webdataset": f'webdataset.WebDataset("{folder}-000000.tar")',
        "musubi": f"musubi-tuner: --dataset_config {location}/dataset.toml",
        "diffsynth": f"DiffSynth-Studio: --dataset_base_path {folder} --dataset_metadata_path "
        f"{folder}/metadata.csv --data_file_keys video --num_frames {frames}",
        "ltx": f"process_dataset.py {folder}/metadata.jsonl --resolution-buckets "
        f"{resolution_bucket(samples, settings)}",
        "diffusion-pipe": f"diffusion-pipe: dataset = '{location}/dataset.toml' in the training configuration",
        "simpletuner": f"SimpleTuner: --data_backend_config {location}/multidatabackend.json",
        "finetrainers": f"finetrainers: --dataset_config {location}/training.json",
        "tie": f"tie_t2v.py --prompt_file {folder}/prompts.jsonl --num_frames {frames}",
    }
    return steps[settings.kind]


def _estimated_bytes(set_folder: Path, sample: ExportSample) -> int:
    path = set_folder / sample.clip.media_path
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ContractError(
            where=str(path), expected="the file of a clip", got=error.strerror or str(error),
            hint="run `xsheet curate run` again",
        ) from error  # fmt: skip
    return size if sample.is_copy else round(size * sample.duration_s / seconds_from_us(sample.clip.duration_us))
