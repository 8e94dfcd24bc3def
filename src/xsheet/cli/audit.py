"""`xsheet audit`: can a layer be trusted? Checks, agreement, the review page, and ways to other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.annotate import LayerOption, show_conversion_losses
from xsheet.cli.options import AsJson, Config, Jobs, Set, SetFolder, cpu_count

if TYPE_CHECKING:
    from types import ModuleType

    from xsheet.audit.accept import AcceptResult
    from xsheet.audit.agreement.bootstrap import IntervalEstimate
    from xsheet.audit.agreement.compare import Agreement
    from xsheet.audit.pipeline import AuditResult
    from xsheet.audit.settings import AuditSettings
    from xsheet.schemas.settings import SettingsSection

app = typer.Typer(help="Can a layer be trusted? Checks, agreement, review, exchange.", no_args_is_help=True)

FormatOption = Annotated[str, typer.Option("--format", "-f", help="elan, label-studio, webvtt or csv.")]


@app.command("run")
def run_(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    against: Annotated[
        str | None, typer.Option("--against", metavar="LAYER[@WHOSE]", help="Another layer to compare with.")
    ] = None,
    preset: Annotated[str, typer.Option("--gate", help="Limits to start from.")] = "default",
    config: Config = None,
    set_: Set = None,
    page: Annotated[Path | None, typer.Option("--out", help="The report; SET/audit.html if left out.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Findings and summary only.")] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Check a layer, write its findings and the report, and ask the gate.

    Exit 1 when the gate does not pass.

    Example: xsheet audit run my-set --layer consensus@qwen --against consensus@motion
    """
    from xsheet.audit.pipeline import audit
    from xsheet.audit.report.page import write_report
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    other = None if against is None else find_layer(folder, against)
    audited = audit(folder, find_layer(folder, layer), settings, reference=other)
    written = None
    if not no_report:
        how = Execution(jobs=jobs or cpu_count())
        beside = [] if other is None else [other]
        written = write_report(folder, audited, page or folder / "audit.html", references=beside, execution=how)
    show_audit(audited, written, as_json=as_json)
    raise typer.Exit(0 if audited.gate.passed else 1)


@app.command()
def explain(
    folder: SetFolder,
    annotation: Annotated[str, typer.Argument(metavar="ANNOTATION", help="Id of an annotation, or how it begins.")],
    preset: Annotated[str, typer.Option("--gate", help="Limits to start from.")] = "default",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Where one annotation came from, and what every check says of it, those that passed too.

    Example: xsheet audit explain my-set ann_0d93d2
    """
    from dataclasses import asdict

    from xsheet.audit.explain import explain_annotation
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    found = explain_annotation(folder, annotation, settings)
    if as_json:
        print_json(
            {
                "annotation": asdict(found.annotation),
                "provenance": found.provenance_rows(),
                "checks": found.evaluation_rows(),
                "scores": asdict(found.scores),
                "phase_scores": {name: asdict(one) for name, one in found.phase_scores.items()},
            }
        )
        return
    print_table("where it came from", ("layer", "annotation", "made by", "prompts"), found.provenance_rows())
    phases = [(p.phase_id, f"{p.start_us / 1e6:.2f}-{p.end_us / 1e6:.2f}", p.track, p.action, p.text)
              for p in found.annotation.phases]  # fmt: skip
    print_table("what it says", ("", "seconds", "track", "action", "in words"), phases)
    print_table("checks", ("", "phase", "", "found", "asks"), found.evaluation_rows())


@app.command("accept")
def accept_(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    against: Annotated[
        str | None, typer.Option("--against", metavar="LAYER[@WHOSE]", help="Another layer to compare with.")
    ] = None,
    human: Annotated[
        str | None, typer.Option("--human", metavar="LAYER[@WHOSE]", help="Reviewed layer; turns support into chances.")
    ] = None,
    preset: Annotated[str, typer.Option("--gate", help="Limits to start from.")] = "default",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Audit a layer; where it passes, write what needs no person as the layer that training reads.

    Exit 1 when the gate does not pass: then no layer is made.

    Example: xsheet audit accept my-set --layer consensus --set accept.min_score=0.8
    """
    from xsheet.audit.accept import accept_layer
    from xsheet.audit.people.calibration import calibrate_from_review
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    found = find_layer(folder, layer)
    other = None if against is None else find_layer(folder, against)
    calibration = None if human is None else calibrate_from_review(found, find_layer(folder, human))
    done = accept_layer(folder, found, settings, reference=other, calibration=calibration)
    if as_json:
        print_json({"layer": None if done.layer is None else str(done.layer), "accepted": done.accepted_count,
                    "refused": dict(done.rejection_counts), "passed": done.audit.gate.passed})  # fmt: skip
    else:
        for criterion in done.audit.gate.criteria:
            console().print(str(criterion), markup=False, style=None if criterion.passed else "bold red")
        show_accepted(done)
    raise typer.Exit(0 if done.layer is not None else 1)


@app.command()
def agree(
    folder: SetFolder,
    reference: Annotated[str, typer.Argument(metavar="LAYER", help="The layer to compare with.")],
    other: Annotated[str, typer.Argument(metavar="LAYER", help="The layer that is compared.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """How well two layers agree: F1 at tIoU, boundaries, κ, α, with 95 % intervals over clips.

    Example: xsheet audit agree my-set human consensus@motion
    """
    from dataclasses import asdict

    import numpy as np

    from xsheet.audit.agreement.compare import compare_layers
    from xsheet.audit.agreement.phase_arrays import layer_phase_arrays
    from xsheet.cli.show import print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    one, two = find_layer(folder, reference), find_layer(folder, other)
    found = compare_layers(layer_phase_arrays(one), layer_phase_arrays(two), rng=np.random.default_rng(seed))
    if as_json:
        print_json({"reference": str(one), "compared": str(two), **asdict(found)})
    else:
        show_agreement(found, f"{two} against {one}")


@app.command()
def sample(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    size: Annotated[
        int, typer.Option("--size", "-n", min=1, help="Clips to look at; 59 without a fault say < 5 %.")
    ] = 59,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same clips.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Clips for a human to look at: a tenth at random, the rest from each decile of the score.

    Example: xsheet audit sample my-set --size 100
    """
    from dataclasses import asdict

    from xsheet.audit.people.sampling import stratified_sample
    from xsheet.audit.review.queue import build_queue
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    queue = build_queue(folder, find_layer(folder, layer))
    ranks = {entry.clip_id: float(place) for place, entry in enumerate(queue)}
    picked = stratified_sample(ranks, size=size, seed=seed)
    if as_json:
        print_json([asdict(one) for one in picked])
    else:
        print_table("clips to look at", ("clip", "tenth, 0 = worst", "drawn"), [
            (one.clip_id, one.decile, one.selection) for one in picked
        ])  # fmt: skip


@app.command()
def review(
    folder: SetFolder,
    reviewer: Annotated[str, typer.Option("--reviewer", help="Your name, as it is kept with every edit.")],
    layer: LayerOption = "consensus",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 = any that is free.")] = 0,
    blind: Annotated[
        list[str] | None, typer.Option("--blind", help="Hide the words (text), or whose layer it is (layers).")
    ] = None,
    repeats: Annotated[
        float, typer.Option("--repeats", min=0, max=0.5, help="Share of clips shown twice, to see how steady you are.")
    ] = 0.07,
) -> None:
    """Serve the review page on this machine only. Ctrl-C ends it; every edit is kept as it is made.

    Example: xsheet audit review my-set --reviewer ada
    """
    from typing import cast, get_args

    from xsheet.audit.review.payload import BlindField
    from xsheet.audit.review.server import serve
    from xsheet.audit.review.session import ReviewSession
    from xsheet.cli.show import console
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    hidden = frozenset(blind or ())
    if unknown := hidden - frozenset(get_args(BlindField)):
        raise ConfigError(where="--blind", expected="text or layers", got=", ".join(sorted(unknown)), hint="choose one")
    open_set(folder)
    found = find_layer(folder, layer)
    desk = ReviewSession(
        folder, found, reviewer=reviewer, blind=cast("frozenset[BlindField]", hidden), repeat_share=repeats
    )
    serve(desk, on_ready=lambda address: console().print(address, markup=False, soft_wrap=True), port=port)


@app.command("apply")
def apply_(folder: SetFolder, layer: LayerOption = "consensus", as_json: AsJson = False) -> None:
    """Make the layer `human` of a layer and its reviews. Conflicts are refused and listed, never merged.

    Exit 1 when there are conflicts.

    Example: xsheet audit apply my-set
    """
    from dataclasses import asdict

    from xsheet.audit.review.apply import apply_reviews
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    applied = apply_reviews(folder, find_layer(folder, layer))
    human = None if applied.human_layer is None else str(applied.human_layer)
    if as_json:
        print_json(asdict(applied) | {"human": human})
    else:
        rows = [(c.clip_id, ", ".join(c.reviewers), ", ".join(c.phase_ids), c.reason) for c in applied.conflicts]
        if rows:
            print_table("conflicts, left out", ("clip", "reviewers", "phases", "why"), rows)
        console().print(
            f"{applied.accepted_count} accepted, {applied.changed_count} of them changed; {len(applied.rejected)} "
            f"rejected, "
            f"{len(applied.undecided)} undecided, {len(applied.conflicts)} in conflict\n{human or 'no layer was made'}",
            markup=False,
        )
    raise typer.Exit(1 if applied.conflicts else 0)


@app.command("export")
def export_(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    format_: FormatOption = "elan",
    layer: LayerOption = "consensus",
    as_json: AsJson = False,
) -> None:
    """Write a layer for another tool, and say what that tool's files cannot hold.

    Example: xsheet audit export my-set --format elan --out eaf/
    """
    from dataclasses import asdict

    from xsheet.annotate.formats import elan, label_studio
    from xsheet.cli.show import console, print_json
    from xsheet.schemas import tables
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.tables import write_text

    open_set(folder)
    module, found = _format_module(format_), find_layer(folder, layer)
    clips = list(tables.iter_records(folder, tables.CLIPS))
    made_by = {found.run.run_id: found.producer}
    if module is elan:
        # The files may lie anywhere; the way from them to the set's media is part of the file.
        prefix = f"{_relative_path(out, folder)}/"
        made = elan.export(found.read(), clips, made_by=made_by, media_prefix=prefix)
    elif module is label_studio:
        made = label_studio.export(found.read(), clips, made_by=made_by)
    else:
        made = module.export(found.read(), clips)
    for name, text in made.files.items():
        write_text(out / name, text)
    if as_json:
        print_json({"files": list(made.files), "losses": [asdict(one) for one in made.losses]})
        return
    show_conversion_losses(made.losses)
    console().print(f"{len(made.files)} files in {out}", markup=False)


@app.command("import")
def import_(
    folder: SetFolder,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of one format.")],
    format_: FormatOption = "elan",
    bases: Annotated[
        str | None,
        typer.Option("--bases", metavar="LAYER[@WHOSE]", help="Layer to take the clip descriptions from, if any."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read files of another tool as layers `imported`, one for each annotator, and say what did not come through.

    Example: xsheet audit import my-set eaf/*.eaf --format elan --bases consensus
    """
    from dataclasses import asdict

    from xsheet.annotate.formats.files import read_files
    from xsheet.cli.show import console, print_json
    from xsheet.schemas import tables
    from xsheet.schemas.layers import find_layer, write_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    known = {} if bases is None else {row.clip_id: row.base for row in find_layer(folder, bases).read() if row.base}
    reading = _format_module(format_).read(
        read_files(files), list(tables.iter_records(folder, tables.CLIPS)), bases=known
    )
    layers = [write_layer(folder, one.run, "imported", one.annotations) for one in reading.imports]
    if as_json:
        print_json({"layers": [str(one) for one in layers], "losses": [asdict(one) for one in reading.losses]})
        return
    show_conversion_losses(reading.losses)
    for layer, one in zip(layers, reading.imports, strict=True):
        console().print(f"{layer}: {len(one.annotations)} clips by {one.voice!r}", markup=False)


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "AuditSettings":
    """Settings of an audit from a preset, a file and single values."""
    from importlib.resources import files

    from xsheet.audit.settings import AuditSettings
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    folder = files("xsheet.audit") / "presets"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if preset not in known:
        raise ConfigError(
            where="--gate", expected=f"one of {', '.join(known)}", got=repr(preset), hint="use --config for a file"
        )
    return load_settings(AuditSettings, preset=folder / f"{preset}.yaml", config=config, overrides=overrides or ())


MAX_WORST_SHOWN = 8
"""Clips of the queue that a summary names; the report has all."""


def show_audit(audited: "AuditResult", page: Path | None, *, as_json: bool) -> None:
    """The summary of an audit, on one screen."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table

    criteria = [asdict(one) | {"passed": one.passed} for one in audited.gate.criteria]
    failed = [one for one in audited.checks if one.failed]
    if as_json:
        print_json({
            "layer": str(audited.layer), "run": audited.run.run_id, "page": None if page is None else str(page),
            "passed": audited.gate.passed, "gate": criteria, "scores": asdict(audited.scores),
            "annotations": len(audited.annotations), "phases": audited.phase_count, "findings": audited.finding_count,
            "checks": {one.check.id: {"passed": one.passed, "failed": one.failed, "open": one.undetermined}
                       for one in audited.checks},
            "worst": [one.annotation_id for one in audited.annotations[:MAX_WORST_SHOWN]],
        })  # fmt: skip
        return
    rows = [(c.check.id, c.check.requirement, c.check.severity, c.failed, c.passed, c.undetermined) for c in failed]
    if rows:
        print_table("checks that did not pass everywhere", ("", "why", "severity", "failed", "passed", "open"), rows)
    worst = [
        (one.annotation_id, one.scores.overall, one.errors, one.warnings)
        for one in audited.annotations[:MAX_WORST_SHOWN]
        if one.errors or one.warnings
    ]
    if worst:
        print_table("worst first", ("annotation", "score", "errors", "warnings"), worst)
    for criterion in audited.gate.criteria:
        console().print(str(criterion), markup=False, style=None if criterion.passed else "bold red")
    verdict = "the gate passes" if audited.gate.passed else "the gate does not pass"
    console().print(
        f"{audited.layer}: {len(audited.annotations)} annotations, {audited.phase_count} phases, "
        f"{audited.finding_count} findings; "
        f"{verdict}" + ("" if page is None else f"\npage: {page}"),
        markup=False,
    )


def show_accepted(done: "AcceptResult") -> None:
    """What became of a layer, on a line."""
    from xsheet.cli.show import console

    left = ", ".join(f"{count} left out for {reason}" for reason, count in sorted(done.rejection_counts.items()))
    made = "no layer was made" if done.layer is None else f"{done.layer}: {done.accepted_count} annotations"
    console().print(made + (f" ({left})" if left else ""), markup=False)


def show_agreement(found: "Agreement", title: str) -> None:
    """The numbers of a comparison, with their intervals."""
    from xsheet.cli.show import print_table

    def row(name: str, one: "IntervalEstimate", unit: float = 1.0) -> tuple[object, ...]:
        low, high = one.low, one.high
        return name, _in_unit(one.value, unit), _in_unit(low, unit), _in_unit(high, unit)

    rows = [
        *(row(f"F1 at tIoU {at.tiou:g}", at.f1) for at in found.track_detection.by_tiou),
        *(row(f"F1 at tIoU {at.tiou:g}, class too", at.f1) for at in found.class_detection.by_tiou),
        row("mean tIoU", found.track_detection.mean_tiou),
        row("start bias, s", found.start_error.bias_us, 1e6),
        row("start error, s", found.start_error.mean_abs_us, 1e6),
        row("end error, s", found.end_error.mean_abs_us, 1e6),
        row("κ of linked phases", found.linked_kappa),
        row("unitised α", found.alpha),
    ]
    print_table(f"{title}: {found.clips} clips, {found.phases_a} and {found.phases_b} phases",
                ("", "value", "from", "to"), rows)  # fmt: skip


def _in_unit(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _relative_path(out: Path, folder: Path) -> str:
    import os.path

    return Path(os.path.relpath(folder.absolute(), out.absolute())).as_posix()


def _format_module(name: str) -> "ModuleType":
    from xsheet.annotate.formats import csv_tables, elan, label_studio, webvtt
    from xsheet.schemas.errors import ConfigError

    known = {"elan": elan, "label-studio": label_studio, "webvtt": webvtt, "csv": csv_tables}
    if name not in known:
        raise ConfigError(where="--format", expected=f"one of {', '.join(known)}", got=repr(name), hint="choose one")
    return known[name]
