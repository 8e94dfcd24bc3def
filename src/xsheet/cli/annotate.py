"""`xsheet annotate`: clips to phase-timed actions, in layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson, Config, DryRun, Jobs, Quiet, Ray, Set, SetFolder, cpu_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xsheet.annotate.formats.loss import ConversionLoss
    from xsheet.annotate.motion.curves import Floats
    from xsheet.annotate.pipeline import AnnotateResult as Run
    from xsheet.annotate.settings import AnnotateSettings
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.settings import SettingsSection
    from xsheet.schemas.vocab import Track

MODEL_MEMORY_MB = 1 << 20  # no limit of ours: a GPU runtime maps far more than it uses
MODEL_TIMEOUT_S = 6 * 3600.0  # of a shard; single calls have limits of their own

app = typer.Typer(help="Clips to structured, phase-timed actions, in layers.", no_args_is_help=True)

PresetName = Annotated[str, typer.Option("--annotator", "-a", help="motion (embedded), qwen or endpoint.")]
LayerOption = Annotated[
    str, typer.Option("--layer", "-l", metavar="LAYER[@WHOSE]", help="A layer, and whose where several have it.")
]


@app.command("run")
def run_(
    folder: SetFolder,
    annotator: PresetName = "motion",
    model: Annotated[
        str | None, typer.Option("--model", help="Folder of a Qwen-VL model, or its name at the endpoint.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", "-k", min=1, help="Replies per clip.")] = None,
    config: Config = None,
    set_: Set = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N clips.")] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    gpus_per_worker: Annotated[
        float, typer.Option("--gpus-per-worker", min=0, help="On Ray: GPUs that each worker holds.")
    ] = 0.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again where no reply came.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Annotate the clips of a set: layers raw, normalised and consensus. A stopped run goes on where it was.

    Exit 1 when a reply is missing or unusable; each is a row with its reason.

    Examples: xsheet annotate run my-set

    xsheet annotate run my-set -a qwen --model models/Qwen3-VL-8B-Instruct --samples 3
    """
    settings = preset_settings(annotator, model, samples, config, set_)
    if dry_run:
        _show_plan(folder, settings, limit, as_json=as_json)
        return
    from xsheet.annotate.pipeline import annotate

    how = annotator_execution(settings, jobs, ray, gpus=gpus_per_worker)
    annotated = annotate(
        folder, settings, execution=how, retry_failed=retry_failed, show_progress=not (quiet or as_json), limit=limit
    )
    show_run(annotated, folder, as_json=as_json)
    raise typer.Exit(1 if annotated.failed else 0)


@app.command()
def consensus(
    folder: SetFolder,
    layer: LayerOption = "normalised",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """What K samples agree on, by other thresholds; nobody is asked again.

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
    agreed = write_consensus(folder, find_layer(folder, layer), settings)
    lengths = [len(row.phases) for row in agreed.read()]
    if as_json:
        print_json({"layer": str(agreed), "clips": len(lengths), "phases": sum(lengths)})
    else:
        console().print(f"{agreed}: {len(lengths)} clips, {sum(lengths)} phases", markup=False)


@app.command()
def show(
    folder: SetFolder,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="Id of a clip, or how it begins.")],
    layer: LayerOption = "consensus",
    as_json: AsJson = False,
) -> None:
    """The sheet of one clip: time, phases per track, mouth, voice.

    Example: xsheet annotate show my-set clip_3fa2
    """
    from xsheet.schemas.sets import open_set

    open_set(folder)
    _show_timeline(folder, clip, layer, as_json=as_json)


@app.command()
def blocks(
    folder: SetFolder,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="Id of a clip, or how it begins.")],
    layer: LayerOption = "consensus",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """The string that a model is trained on, as it would be compiled from one clip.

    Example: xsheet annotate blocks my-set clip_3fa2 --set max_phases=6
    """
    from dataclasses import asdict

    from xsheet.annotate.lookup import find_clip
    from xsheet.annotate.text.training_text import BlockPolicy, compile_training_text
    from xsheet.cli.show import console, escape_controls, print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    policy = load_settings(BlockPolicy, config=config, overrides=set_ or ())
    open_set(folder)
    compiled = compile_training_text(find_clip(folder, clip, find_layer(folder, layer)).annotation, policy)
    if as_json:
        print_json(asdict(compiled))
    else:
        console().print(escape_controls(f"{compiled.text}\n\nstage 1: {compiled.short_caption}"), markup=False)


@app.command("export-sft")
def export_sft_(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", help="The JSONL file.")],
    layer: LayerOption = "human",
    as_json: AsJson = False,
) -> None:
    """Examples to fine-tune a vision-language model on a layer, one JSON object a line.

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
    done = export_sft(out, find_layer(folder, layer).read(), clips)
    if as_json:
        print_json(asdict(done))
        return
    show_conversion_losses(done.losses)
    console().print(f"{done.samples} samples in {out}, {done.excluded} annotations left out", markup=False)


def show_conversion_losses(losses: "Iterable[ConversionLoss]") -> None:
    """What an export or an import could not carry."""
    from xsheet.cli.show import print_table

    rows = [(one.field, one.reason, one.count, one.example) for one in losses]
    if rows:
        print_table("lost on the way", ("field", "why", "times", "for example"), rows)


def preset_settings(
    preset_name: str,
    model: str | None,
    samples: int | None,
    config: "Path | SettingsSection | None",
    overrides: list[str] | None,
) -> "AnnotateSettings":
    """Settings of a run from the preset of an annotator, a file and single values."""
    from importlib.resources import files

    from xsheet.annotate.settings import AnnotateSettings
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    known = ("motion", "qwen", "endpoint")
    if preset_name not in known:
        raise ConfigError(
            where="--annotator", expected=f"one of {', '.join(known)}", got=repr(preset_name), hint="choose one"
        )
    given = list(overrides or ())
    if model is not None:
        if preset_name == "motion":
            raise ConfigError(
                where="--model", expected="an annotator that has one", got="motion", hint="say -a qwen or -a endpoint"
            )
        given.append(f"{preset_name}.model={model}")
    if samples is not None:
        given.append(f"samples={samples}")
    preset = files("xsheet.annotate") / "presets" / f"{preset_name}.yaml"
    return load_settings(AnnotateSettings, preset=preset, config=config, overrides=given)


def annotator_execution(
    settings: "AnnotateSettings", jobs: int | None, ray: str | None, *, gpus: float = 0.0
) -> "Execution":
    """Workers for an annotator."""
    from xsheet.runtime.executor import Execution

    if not settings.uses_vlm:
        return Execution(jobs=jobs or cpu_count(), ray=ray)
    # One process holds the weights, or the connections; weights take what memory there is, and hours may pass.
    return Execution(
        jobs=jobs or 1,
        ray=ray,
        gpus_per_worker=gpus,
        threads=cpu_count(),
        memory_mb=MODEL_MEMORY_MB,
        item_timeout_s=MODEL_TIMEOUT_S,
    )


def show_run(annotated: "Run", folder: Path, *, as_json: bool) -> None:
    """The summary of a run, on one screen."""
    from xsheet.cli.show import console, print_json, print_table

    layers = {layer.layer: str(layer) for layer in (annotated.raw, annotated.normalised, annotated.consensus)}
    if as_json:
        print_json(
            {"set": str(folder), "layers": layers, "clips": annotated.clips, "phases": annotated.phases,
             "replies": dict(annotated.statuses), "repairs": dict(annotated.repairs),
             "actions": dict(annotated.actions), "seconds": round(annotated.seconds, 2)}
        )  # fmt: skip
        return
    print_table("replies", ("status", "count"), sorted(annotated.statuses.items()))
    if annotated.repairs:
        print_table("changed on the way from raw to normalised", ("", "times"), sorted(annotated.repairs.items()))
    actions = sorted(annotated.actions.items(), key=lambda named: (-named[1], named[0]))
    print_table("consensus", ("action", "phases"), actions)
    console().print(
        f"{annotated.clips} clips, {annotated.phases} phases in {layers['consensus']} ({annotated.seconds:.0f} s)\n"
        f"next: xsheet annotate show {folder} CLIP, xsheet audit run {folder}",
        markup=False,
    )


def show_busiest_clip(annotated: "Run", folder: Path) -> None:
    """The sheet of the clip with the most phases."""
    clip_id = max((len(row.phases), row.clip_id) for row in annotated.consensus.read())[1]
    _show_timeline(folder, clip_id, str(annotated.consensus), as_json=False)


def _show_timeline(folder: Path, clip: str, layer: str, *, as_json: bool) -> None:
    from xsheet.annotate.lookup import find_clip
    from xsheet.annotate.motion.curves import motion_curves, track_speeds
    from xsheet.annotate.timeline_view import TimelineView
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.layers import find_layer

    found = find_clip(folder, clip, find_layer(folder, layer))
    acting = {phase.track for phase in found.annotation.phases}
    speed: dict[Track, Floats] = {
        track: values for track, values in track_speeds(motion_curves(found.signals)).items() if track in acting
    }
    shown = TimelineView(annotation=found.annotation, signals=found.signals, speeds=speed)
    if as_json:
        print_json(shown.as_json())
    else:
        console().print(shown)


def _show_plan(folder: Path, settings: "AnnotateSettings", limit: int | None, *, as_json: bool) -> None:
    from xsheet.annotate.estimate import plan_annotation
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import to_yaml

    open_set(folder)
    planned = plan_annotation(folder, settings, limit=limit)
    if as_json:
        print_json(dict(planned.rows()))
        return
    print_table("what would be asked", ("", ""), planned.rows())
    typer.echo(to_yaml(settings))
