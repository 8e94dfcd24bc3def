"""`xsheet audit`: check a layer, explain an annotation, accept a layer, compare two layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli import review
from xsheet.cli.annotate import LayerOption
from xsheet.cli.options import LOCAL_PATH, AsJson, Config, Jobs, Quiet, Set, SetFolder, cpu_count, find_preset

if TYPE_CHECKING:
    from xsheet.audit.accept import AcceptResult
    from xsheet.audit.agreement.bootstrap import IntervalEstimate
    from xsheet.audit.agreement.compare import Agreement
    from xsheet.audit.layer_profile import DistributionShift
    from xsheet.audit.pipeline import AuditResult
    from xsheet.audit.settings import AuditSettings
    from xsheet.schemas.settings import SettingsSection

Preset = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME", help="Limits to start from; `default` is the only preset.")
]
ReferenceLayer = Annotated[
    str | None, typer.Option("--against", metavar="LAYER[@RUN]", help="Reference layer to compare with.")
]

app = typer.Typer(help="Check, review, compare, export and import annotation layers.", no_args_is_help=True)


@app.command("run")
def run_(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    against: ReferenceLayer = None,
    preset: Preset = "default",
    config: Config = None,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML report to write (default: SET/audit.html).", **LOCAL_PATH)
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write findings only, no HTML report.")] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check a layer, write its findings and the HTML report, and evaluate the gate.

    Exit 1 when the gate does not pass.

    Example: xsheet audit run my-set --layer consensus@qwen --against consensus@motion
    """
    from xsheet.audit.pipeline import audit
    from xsheet.audit.report.page import write_report
    from xsheet.runtime.executor import Execution
    from xsheet.runtime.lock import write_lock
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    with write_lock(folder):
        reference = None if against is None else find_layer(folder, against)
        audited = audit(
            folder,
            find_layer(folder, layer),
            settings,
            reference=reference,
            shows_progress=not (quiet or as_json),
        )
        page = None
        if not no_report:
            references = [] if reference is None else [reference]
            page = out or folder / "audit.html"
            execution = Execution(jobs=jobs or cpu_count())
            write_report(folder, audited, page, references=references, execution=execution)
    show_audit(folder, audited, page, as_json=as_json)
    raise typer.Exit(0 if audited.gate.passed else 1)


@app.command()
def explain(
    folder: SetFolder,
    annotation: Annotated[
        str, typer.Argument(metavar="ANNOTATION", help="Id of an annotation, or its first characters.")
    ],
    preset: Preset = "default",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print the provenance of one annotation and the result of every check.

    Example: xsheet audit explain my-set ann_0d93d2
    """
    from dataclasses import asdict

    from xsheet.audit.explain import explain_annotation
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    explanation = explain_annotation(folder, annotation, settings)
    if as_json:
        print_json(
            {
                "annotation": asdict(explanation.annotation),
                "provenance": explanation.provenance_rows(),
                "checks": explanation.evaluation_rows(),
                "scores": asdict(explanation.scores),
                "phase_scores": {name: asdict(one) for name, one in explanation.phase_scores.items()},
            }
        )
        return
    print_table("provenance", ("layer", "annotation", "producer", "prompts"), explanation.provenance_rows())
    phases = [(p.phase_id, f"{p.start_us / 1e6:.2f}-{p.end_us / 1e6:.2f}", p.track, p.action, p.text)
              for p in explanation.annotation.phases]  # fmt: skip
    print_table("phases", ("phase", "seconds", "track", "action", "text"), phases)
    print_table("checks", ("check", "phase", "result", "measured", "requirement"), explanation.evaluation_rows())


@app.command("accept")
def accept_(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    against: ReferenceLayer = None,
    reviewed_layer: Annotated[
        str | None,
        typer.Option(
            "--reviewed-layer",
            metavar="LAYER[@RUN]",
            help="Reviewed layer used to calibrate support into acceptance probability.",
        ),
    ] = None,
    preset: Preset = "default",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Audit a layer; if the gate passes, write its acceptable annotations as the layer that training reads.

    Exit 1 when the gate does not pass; then no layer is written.

    Example: xsheet audit accept my-set --layer consensus --set accept.min_score=0.8
    """
    from xsheet.audit.accept import accept_layer
    from xsheet.audit.people.calibration import calibrate_from_review
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    settings = preset_settings(preset, config, set_)
    open_set(folder)
    candidate = find_layer(folder, layer)
    reference = None if against is None else find_layer(folder, against)
    reviewed = None if reviewed_layer is None else find_layer(folder, reviewed_layer)
    calibration = None if reviewed is None else calibrate_from_review(candidate, reviewed)
    result = accept_layer(
        folder,
        candidate,
        settings,
        reference=reference,
        calibration=calibration,
        shows_progress=not (quiet or as_json),
    )
    if as_json:
        print_json({"layer": None if result.layer is None else str(result.layer), "accepted": result.accepted_count,
                    "rejected": dict(result.rejection_counts), "passed": result.audit.gate.passed})  # fmt: skip
    else:
        for criterion in result.audit.gate.criteria:
            console().print(str(criterion), markup=False, style=None if criterion.passed else "bold red")
        show_accepted(result)
    raise typer.Exit(0 if result.layer is not None else 1)


@app.command()
def agree(
    folder: SetFolder,
    reference: Annotated[str, typer.Argument(metavar="LAYER", help="Reference layer.")],
    other: Annotated[str, typer.Argument(metavar="LAYER", help="Layer to compare with the reference.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the agreement of two layers: F1 at tIoU, boundaries, κ, α, with 95 % intervals over clips; and drift.

    Example: xsheet audit agree my-set human consensus@motion
    """
    from dataclasses import asdict

    import numpy as np

    from xsheet.audit.agreement.compare import compare_layers
    from xsheet.audit.agreement.phase_arrays import layer_phase_arrays
    from xsheet.audit.layer_profile import distribution_shift, layer_profile
    from xsheet.cli.show import print_json
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    one, two = find_layer(folder, reference), find_layer(folder, other)
    found = compare_layers(layer_phase_arrays(one), layer_phase_arrays(two), rng=np.random.default_rng(seed))
    shift = distribution_shift(layer_profile(layer_phase_arrays(one)), layer_profile(layer_phase_arrays(two)))
    if as_json:
        shift_json = None if shift is None else asdict(shift)
        print_json({"reference": str(one), "compared": str(two), **asdict(found), "distribution_shift": shift_json})
    else:
        show_agreement(found, f"{two} against {one}")
        if shift is not None:
            _show_shift(shift)


app.add_typer(review.app)  # sample, review, apply, export, import


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "AuditSettings":
    """Settings of an audit from a preset, a file and overrides."""
    from xsheet.audit.settings import AuditSettings
    from xsheet.schemas.settings import load_settings

    file = find_preset("xsheet.audit", preset)
    return load_settings(AuditSettings, preset=file, config=config, overrides=overrides or ())


MAX_CHANGES_SHOWN = 5
"""Classes whose share changed most."""
MAX_WORST_SHOWN = 8
"""Annotations that a summary names; the report has all."""


def show_audit(folder: Path, audited: "AuditResult", page: Path | None, *, as_json: bool) -> None:
    """Print the summary of an audit of a set."""
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.pages.clips import file_names

    worst = [one for one in audited.annotations[:MAX_WORST_SHOWN] if one.errors or one.warnings]
    names = file_names(folder, {one.clip_id for one in worst})
    criteria = [asdict(one) | {"passed": one.passed} for one in audited.gate.criteria]
    failed = [one for one in audited.checks if one.failed]
    if as_json:
        print_json({
            "layer": str(audited.layer), "run": audited.run.run_id, "page": None if page is None else str(page),
            "passed": audited.gate.passed, "gate": criteria, "scores": asdict(audited.scores),
            "annotations": len(audited.annotations), "phases": audited.phase_count, "findings": audited.finding_count,
            "checks": {one.check.id: {"passed": one.passed, "failed": one.failed, "undetermined": one.undetermined}
                       for one in audited.checks},
            "worst": [{"annotation": one.annotation_id, "clip": one.clip_id, "file": names.get(one.clip_id),
                       "score": one.scores.overall, "errors": one.errors, "warnings": one.warnings} for one in worst],
        })  # fmt: skip
        return
    rows = [(c.check.id, c.check.requirement, c.check.severity, c.failed, c.passed, c.undetermined) for c in failed]
    if rows:
        print_table("failed checks", ("check", "requirement", "severity", "failed", "passed", "undetermined"), rows)
    if worst:
        print_table(
            "first to review",
            ("file", "clip", "errors", "warnings", "score"),
            [(names.get(one.clip_id, ""), one.clip_id, one.errors, one.warnings, one.scores.overall) for one in worst],
        )
    for criterion in audited.gate.criteria:
        console().print(str(criterion), markup=False, style=None if criterion.passed else "bold red")
    verdict = "the gate passes" if audited.gate.passed else "the gate does not pass"
    console().print(
        f"{audited.layer}: {len(audited.annotations)} annotations, {audited.phase_count} phases, "
        f"{audited.finding_count} findings; "
        f"{verdict}" + ("" if page is None else f"\npage: {page}"),
        markup=False,
    )


def show_accepted(result: "AcceptResult") -> None:
    """Print the accepted and rejected annotations on one line."""
    from xsheet.cli.show import console

    rejected = ", ".join(f"{count} rejected: {reason}" for reason, count in sorted(result.rejection_counts.items()))
    layer = "no layer was written" if result.layer is None else f"{result.layer}: {result.accepted_count} annotations"
    console().print(layer + (f" ({rejected})" if rejected else ""), markup=False)


def show_agreement(found: "Agreement", title: str) -> None:
    """Print the agreement of two layers with intervals."""
    from xsheet.cli.show import print_table

    def row(name: str, one: "IntervalEstimate", unit: float = 1.0) -> tuple[object, ...]:
        low, high = one.low, one.high
        return name, _in_unit(one.value, unit), _in_unit(low, unit), _in_unit(high, unit)

    rows = [
        *(row(f"F1 at tIoU {at.tiou:g}", at.f1) for at in found.track_detection.by_tiou),
        *(row(f"F1 at tIoU {at.tiou:g}, same class", at.f1) for at in found.class_detection.by_tiou),
        row("mean tIoU", found.track_detection.mean_tiou),
        row("start bias, s", found.start_error.bias_us, 1e6),
        row("start error, s", found.start_error.mean_abs_us, 1e6),
        row("end error, s", found.end_error.mean_abs_us, 1e6),
        row("κ of linked phases", found.linked_kappa),
        row("unitised α", found.alpha),
    ]
    print_table(f"{title}: {found.clips} clips, {found.phases_a} and {found.phases_b} phases",
                ("measure", "value", "low", "high"), rows)  # fmt: skip


def _show_shift(shift: "DistributionShift") -> None:
    """Print how the classes, tracks and durations of one layer differ from those of another."""
    from xsheet.cli.show import print_table

    before, after = shift.phases_per_clip
    rows: list[tuple[object, ...]] = [
        ("classes, Jensen-Shannon divergence in bits", shift.action_js_bits),
        ("tracks, Jensen-Shannon divergence in bits", shift.track_js_bits),
        ("durations, Kolmogorov-Smirnov statistic", shift.duration_ks),
        ("phases per clip", f"{before:.2f} → {after:.2f}"),
    ]
    rows += [(f"share of {name}", f"{a:.1%} → {b:.1%}") for name, a, b in shift.share_changes[:MAX_CHANGES_SHOWN]]
    print_table("drift over all clips of each layer", ("", ""), rows)


def _in_unit(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
