"""`xsheet annotate`: write layers of phase-timed actions, show them, compile training text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import (
    LOCAL_PATH,
    AsJson,
    Config,
    DryRun,
    Gpus,
    Jobs,
    Quiet,
    Ray,
    RetryFailed,
    Set,
    SetFolder,
    cpu_count,
    find_preset,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xsheet.annotate.formats.base import ConversionLoss
    from xsheet.annotate.motion.series import Floats
    from xsheet.annotate.pipeline import AnnotateResult
    from xsheet.annotate.settings import AnnotateSettings
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.settings import SettingsSection
    from xsheet.schemas.vocab import Track

MODEL_MEMORY_MB = 1 << 20  # in effect no limit: a GPU runtime maps far more memory than it uses
MODEL_TIMEOUT_S = 6 * 3600.0  # per batch of clips; single calls have their own limits

app = typer.Typer(help="Annotate clips with phase-timed actions, in layers.", no_args_is_help=True)

Preset = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME", help="Annotator: motion (built in), qwen or endpoint.")
]
LayerOption = Annotated[
    str,
    typer.Option(
        "--layer", "-l", metavar="LAYER[@RUN]", help="Layer name; add @RUN or @MODEL if several runs wrote it."
    ),
]


@app.command("run")
def run_(
    folder: SetFolder,
    preset: Preset = "motion",
    model: Annotated[
        str | None, typer.Option("--model", help="Folder of a Qwen-VL or Qwen-Omni model, or its name at the endpoint.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", "-k", min=1, help="Responses per clip.")] = None,
    config: Config = None,
    set_: Set = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Annotate only the first N clips.")] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    gpus: Gpus = 0.0,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Annotate the clips of a set: layers raw, normalised and consensus. The same command continues a stopped run.

    Exit 1 when a response is missing or unusable; the layer keeps the reason of each.

    Examples: xsheet annotate run my-set

    xsheet annotate run my-set --preset qwen --model models/Qwen3-VL-8B-Instruct --samples 3
    """
    settings = preset_settings(preset, model, samples, config, set_)
    if dry_run:
        _show_plan(folder, settings, limit, as_json=as_json)
        return
    from xsheet.annotate.pipeline import annotate

    annotated = annotate(
        folder, settings, execution=annotator_execution(settings, jobs, ray, gpus=gpus), retry_failed=retry_failed,
        show_progress=not (quiet or as_json), limit=limit,
    )  # fmt: skip
    show_run(annotated, folder, as_json=as_json)
    raise typer.Exit(1 if annotated.failed else 0)


@app.command()
def words(
    folder: SetFolder,
    sidecars: Annotated[
        Path | None,
        typer.Option(
            "--sidecars",
            help="Folder with files named like the videos: .json, .TextGrid, .vtt with word times, or .txt to align.",
        ),
    ] = None,
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    ray: Ray = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the words of every clip with their times, which `annotate run` then uses; run it first.

    Times come from files, from the manifest's column words, or by alignment of its column transcript (English, extra
    speech). Exit 1 when a transcript gave no times; the table keeps the reason of each.

    Examples: xsheet annotate words my-set

    xsheet annotate words my-set --sidecars whisperx-output
    """
    from dataclasses import asdict

    from xsheet.annotate.speech.aligner import AlignSettings
    from xsheet.annotate.speech.word_table import write_words
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.settings import load_settings

    result = write_words(
        folder, load_settings(AlignSettings, config=config, overrides=set_ or ()), sidecars=sidecars,
        execution=Execution(jobs=jobs or cpu_count(), ray=ray), retry_failed=retry_failed,
        show_progress=not (quiet or as_json),
    )  # fmt: skip
    if as_json:
        print_json(asdict(result) | {"without_transcript": result.without_transcript})
    else:
        console().print(
            f"{result.words} words in {result.timed} clips, {result.guessed} of them not in the dictionary; "
            f"{result.failed} clips failed (table words, column message), "
            f"{result.without_transcript} have no transcript",
            markup=False,
        )
    raise typer.Exit(1 if result.failed else 0)


@app.command()
def consensus(
    folder: SetFolder,
    layer: LayerOption = "normalised",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Compute the consensus of K samples again with other thresholds; no model runs.

    Example: xsheet annotate consensus my-set --set min_support=0.5
    """
    from xsheet.annotate.consensus import ConsensusSettings
    from xsheet.annotate.pipeline import write_consensus
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    settings = load_settings(ConsensusSettings, config=config, overrides=set_ or ())
    open_set(folder)
    written = write_consensus(folder, find_layer(folder, layer), settings)
    lengths = [len(row.phases) for row in written.read()]
    if as_json:
        print_json({"layer": str(written), "clips": len(lengths), "phases": sum(lengths)})
    else:
        console().print(f"{written}: {len(lengths)} clips, {sum(lengths)} phases", markup=False)


@app.command()
def show(
    folder: SetFolder,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="Id of a clip, or its first characters.")],
    layer: LayerOption = "consensus",
    as_json: AsJson = False,
) -> None:
    """Print the timeline of one clip: phases per track, mouth, voice.

    Example: xsheet annotate show my-set clip_3fa2
    """
    from xsheet.schemas.sets import open_set

    open_set(folder)
    _show_timeline(folder, clip, layer, as_json=as_json)


@app.command("training-text")
def training_text(
    folder: SetFolder,
    clip: Annotated[
        str | None,
        typer.Argument(metavar="CLIP", help="Id of a clip, or its first characters; without it, every clip."),
    ] = None,
    layer: LayerOption = "consensus",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print the training text that is compiled from one clip, or from every clip of the layer.

    Clips whose response is unusable have no text and are counted.

    Example: xsheet annotate training-text my-set clip_3fa2 --set max_blocks=6
    """
    from dataclasses import asdict

    from xsheet.annotate.lookup import find_clip
    from xsheet.annotate.text.training_text import BlockPolicy, compile_training_text
    from xsheet.cli.show import console, escape_controls, print_json
    from xsheet.pages.clips import file_names
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    policy = load_settings(BlockPolicy, config=config, overrides=set_ or ())
    open_set(folder)
    chosen = find_layer(folder, layer)
    if clip is not None:
        compiled = compile_training_text(find_clip(folder, clip, chosen).annotation, policy)
        if as_json:
            print_json(asdict(compiled))
        else:
            console().print(escape_controls(f"{compiled.text}\n\nstage 1: {compiled.short_caption}"), markup=False)
        return
    rows = list(chosen.read())
    texts = [(row.clip_id, compile_training_text(row, policy)) for row in rows if row.base is not None]
    if as_json:
        print_json([{"clip_id": clip_id, **asdict(compiled)} for clip_id, compiled in texts])
        return
    names = file_names(folder, {clip_id for clip_id, _ in texts})
    for clip_id, compiled in texts:
        heading = f"{clip_id}  {names.get(clip_id, '')}"
        console().print(
            escape_controls(f"{heading}\n{compiled.text}\nstage 1: {compiled.short_caption}\n"), markup=False
        )
    if missing := len(rows) - len(texts):
        console().print(f"{missing} of {len(rows)} clips have no usable response", markup=False)


@app.command("export-sft")
def export_sft_(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", help="JSONL file to write.", **LOCAL_PATH)],
    layer: LayerOption = "human",
    as_json: AsJson = False,
) -> None:
    """Write a layer as fine-tuning examples for a vision-language model, one JSON object per line.

    Example: xsheet annotate export-sft my-set --layer human --out sft.jsonl
    """
    from dataclasses import asdict

    from xsheet.annotate.text.export_sft import export_sft
    from xsheet.cli.show import console, print_json
    from xsheet.schemas import tables
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    clips = {clip.clip_id: clip for clip in tables.iter_records(folder, tables.CLIPS)}
    result = export_sft(out, find_layer(folder, layer).read(), clips)
    if as_json:
        print_json(asdict(result))
        return
    show_conversion_losses(result.losses)
    console().print(f"{result.samples} samples in {out}, {result.excluded} annotations excluded", markup=False)


def show_conversion_losses(losses: "Iterable[ConversionLoss]") -> None:
    """Print what an export or an import could not keep."""
    from xsheet.cli.show import print_table

    rows = [(one.field, one.reason, one.count, one.example) for one in losses]
    if rows:
        print_table("conversion losses", ("field", "reason", "count", "example"), rows)


def preset_settings(
    preset: str,
    model: str | None,
    samples: int | None,
    config: "Path | SettingsSection | None",
    overrides: list[str] | None,
) -> "AnnotateSettings":
    """Settings of a run from a preset, a file and overrides."""
    from xsheet.annotate.settings import AnnotateSettings
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    file = find_preset("xsheet.annotate", preset)
    overrides = list(overrides or ())
    if model is not None:
        if preset == "motion":
            raise ConfigError(
                where="--model", expected="a preset with a model", got="motion", hint="use --preset qwen or endpoint"
            )
        overrides.append(f"{preset}.model={model}")
    if samples is not None:
        overrides.append(f"samples={samples}")
    return load_settings(AnnotateSettings, preset=file, config=config, overrides=overrides)


def annotator_execution(
    settings: "AnnotateSettings", jobs: int | None, ray: str | None, *, gpus: float = 0.0
) -> "Execution":
    """Worker processes for an annotator; one by default where it holds a model."""
    from xsheet.runtime.executor import Execution

    if not settings.uses_vlm:
        return Execution(jobs=jobs or cpu_count(), ray=ray)
    # One process holds the weights or the connections, without a memory limit and with a long timeout.
    return Execution(
        jobs=jobs or 1,
        ray=ray,
        gpus_per_worker=gpus,
        threads=cpu_count(),
        memory_mb=MODEL_MEMORY_MB,
        stall_timeout_s=MODEL_TIMEOUT_S,
    )


def show_run(annotated: "AnnotateResult", folder: Path, *, as_json: bool) -> None:
    """Print the summary of a run."""
    from xsheet.cli.show import console, print_json, print_table

    layers = {layer.layer: str(layer) for layer in (annotated.raw, annotated.normalised, annotated.consensus)}
    if as_json:
        print_json(
            {"set": str(folder), "layers": layers, "clips": annotated.clips, "phases": annotated.phases,
             "responses": dict(annotated.statuses), "repairs": dict(annotated.repairs),
             "actions": dict(annotated.actions), "seconds": round(annotated.seconds, 2)}
        )  # fmt: skip
        return
    print_table("responses", ("status", "count"), sorted(annotated.statuses.items()))
    if annotated.repairs:
        print_table("repairs from raw to normalised", ("repair", "count"), sorted(annotated.repairs.items()))
    actions = sorted(annotated.actions.items(), key=lambda named: (-named[1], named[0]))
    print_table("consensus", ("action", "phases"), actions)
    console().print(
        f"{annotated.clips} clips, {annotated.phases} phases in {layers['consensus']} ({annotated.seconds:.0f} s)\n"
        f"next: xsheet annotate show {folder} CLIP, xsheet audit run {folder}",
        markup=False,
    )


def show_busiest_clip(annotated: "AnnotateResult", folder: Path) -> None:
    """Print the timeline of the clip with the most phases."""
    clip_id = max((len(row.phases), row.clip_id) for row in annotated.consensus.read())[1]
    _show_timeline(folder, clip_id, str(annotated.consensus), as_json=False)


def _show_timeline(folder: Path, clip: str, layer: str, *, as_json: bool) -> None:
    from xsheet.annotate.clip_batches import TranscriptLookup
    from xsheet.annotate.lookup import find_clip
    from xsheet.annotate.motion.curves import motion_curves, track_speeds
    from xsheet.annotate.timeline_view import TimelineView
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.layers import find_layer

    found = find_clip(folder, clip, find_layer(folder, layer))
    tracks = {phase.track for phase in found.annotation.phases}
    speed: dict[Track, Floats] = {
        track: values for track, values in track_speeds(motion_curves(found.signals)).items() if track in tracks
    }
    words = TranscriptLookup(folder)(found.clip.clip_id).words
    view = TimelineView(annotation=found.annotation, signals=found.signals, words=words, speeds=speed)
    if as_json:
        print_json(view.as_json())
    else:
        console().print(view)


def _show_plan(folder: Path, settings: "AnnotateSettings", limit: int | None, *, as_json: bool) -> None:
    from xsheet.annotate.estimate import plan_annotation
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import to_yaml

    open_set(folder)
    plan = plan_annotation(folder, settings, limit=limit)
    if as_json:
        print_json(dict(plan.rows()))
        return
    print_table("plan", ("", ""), plan.rows())
    typer.echo(to_yaml(settings))
