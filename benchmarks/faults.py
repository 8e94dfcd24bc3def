"""Recall of the audit on seeded faults, and its false-positive rate on correct annotations.

    python benchmarks/faults.py planted|measured|motion|arms|labels|set [--films 60] [--first 200] [--cache DIR]

planted   the puppet's truth with its planted signals; seconds
measured  the puppet's truth with signals measured from the film; five seconds of one core per film
arms      faults of arms only: puppets from further away, so that hands are in the picture, with their planted joints
          and the optical flow of the drawn frames; a second of one core per film
motion    the output of the motion annotator on the measured signals, taken as the truth

labels    real clips: the motion annotator's own phases that a hand-made label confirms, class and side (benchmarks/
          labels.py); what no label confirms is marked as unknown, as after a review
set       a layer of a set (--set FOLDER --layer human), taken as the truth: choose one that people reviewed

Prints Markdown tables for docs/log/. Limits were chosen on films of seeds below 200; the default seeds are higher.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from labels import Move, is_true, labels_of, moves_of, read_signals
from motion import annotated, cached, phases_of

from xsheet.annotate.motion.series import frames_of_span
from xsheet.audit.checks.base import AnnotationView, ClipMetadata, with_clip_evidence
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.independence import audit_rules
from xsheet.audit.pipeline import run_checks
from xsheet.audit.scores import CheckEvaluation
from xsheet.audit.seeded_faults import FAULT_KINDS, FaultKind, detecting_checks, false_positives, seed_fault
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import LayerViews
from xsheet.curate.body.flow import part_flow, reduced_luma
from xsheet.curate.series import array_to_series
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows, truth_run
from xsheet.demo.puppet.draw import Puppet, add_camera_noise
from xsheet.demo.puppet.identity import from_further_away, random_identity
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Phase, UnknownSpan
from xsheet.schemas.clip import Signals
from xsheet.schemas.layers import find_layer
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

ARMS: tuple[vocab.Track, ...] = ("arm_left", "arm_right")
WIDE_PX, WIDE_SCALE = 240, 0.38  # hands that hang down are in the picture too
MUST = {
    "shift_0.4", "shift_0.5", "swapped_side", "spurious_phase", "missing_phase", "uniform_segments", "out_of_range",
}  # fmt: skip
LEAST_SEEN = AuditSettings().motion.min_visible_share


class Case(NamedTuple):
    """A correct annotation with the evidence of its clip."""

    truth: Annotation
    measured: ClipEvidence
    tracks: tuple[vocab.Track, ...] = vocab.TRACKS  # faults are seeded on these

    def answers(self, annotation: Annotation) -> list[CheckEvaluation]:
        """Run all checks on this annotation, or on a copy with a fault."""
        clip = ClipMetadata(duration_us=self.truth.duration_us, media_sha256=self.truth.media_sha256 or "0" * 64)
        view = AnnotationView(annotation=annotation, run=truth_run(0), clip=clip)
        return run_checks(with_clip_evidence(view, self.measured), AuditSettings())

    def sees(self, track: vocab.Track, span: Span) -> bool:
        """Whether a track is visible throughout a span."""
        return track in self.tracks and (self.measured.visible_share(track, frames_of_span(span)) or 0.0) >= LEAST_SEEN


def wide_case(seed: int) -> Case:
    """A film whose puppet is so small that its hands are in the picture."""
    plan = plan_film(0, seed=seed, kind="talk")
    rows = list(truth_rows(plan, "src_benchmark"))
    (signals,) = (row for row in rows if isinstance(row, Signals))
    (truth,) = (row for row in rows if isinstance(row, Annotation))
    (member,) = plan.shots[0].cast_members
    identity = random_identity(member.identity)
    wide_identity = from_further_away(identity, WIDE_SCALE)
    scene = wide_identity.scene
    puppet, rng = Puppet(wide_identity, height_px=WIDE_PX), np.random.default_rng(seed)
    pictures, joints = [], []
    for k in range(signals.frames):
        pose = member.motion.at(k)
        pictures.append(reduced_luma(add_camera_noise(puppet.draw(pose), rng)))
        joints.append(np.stack([puppet.joints(pose, side) for side in ("left", "right")]) / WIDE_PX)
    places = np.stack(joints)  # (frames, sides, joints, xy)
    places[~((places >= 0) & (places < 1)).all(axis=-1)] = np.nan
    series: dict[str, Any] = {
        f"{joint}_{side}_{axis}": array_to_series(places[:, s, j, a])
        for s, side in enumerate(("left", "right"))
        for j, joint in enumerate(("shoulder", "elbow", "wrist"))
        for a, axis in enumerate("xy")
    }
    series |= {f"hand_{side}_visible": array_to_series(np.isfinite(places[:, s, 2, 0]).astype(float))
               for s, side in enumerate(("left", "right"))}  # fmt: skip
    head_x, head_y = (np.asarray(getattr(signals, name)) for name in ("head_x", "head_y"))
    series |= {
        "head_x": array_to_series(head_x),
        "head_y": array_to_series(head_y - identity.scene.eye_line + scene.eye_line),
        "head_height": array_to_series(np.full(signals.frames, scene.head_share)),
    }
    wide = replace(signals, **series)
    return Case(truth, ClipEvidence(replace(wide, **dict[str, Any](part_flow(pictures, wide)))), ARMS)


def accepted_cases(shared: Path, cache: Path | None) -> Iterator[Case]:
    """Real clips with the phases of the motion annotator that hand-made labels confirm."""
    for path, labels in labels_of(shared).items():
        signals, height = read_signals(path, cache)
        result = annotated(signals, height=height)
        confirmed = [phase for phase in result.phases if phase.action == "rest" or _is_confirmed(phase, labels)]
        rejected = [phase for phase in result.phases if phase not in confirmed]
        if all(phase.action == "rest" for phase in confirmed):
            continue
        truth = Annotation(
            annotation_id="ann_labels", vocab_version=vocab.VOCAB_VERSION, clip_id=signals.clip_id, layer="gold",
            run_id=truth_run(0).run_id, status="ok", duration_us=frame_start_us(signals.frames, CLIP_RATE),
            media_sha256="0" * 64, base=result.base, phases=tuple(confirmed),
            unknown=tuple(UnknownSpan(track=p.track, start_us=p.start_us, end_us=p.end_us) for p in rejected),
        )  # fmt: skip
        yield Case(truth, ClipEvidence(signals))


def _is_confirmed(phase: Phase, labels: list[Move]) -> bool:
    """Whether labels name all moves of a phase, or a label of its part that is unsure covers it."""
    moves = moves_of([phase])
    return bool(moves) and all(is_true(move, [label for label in labels if label.part == move.part]) for move in moves)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Films by seed, from the cache of the motion benchmark if they are there."""
    seeds = range(options.first, options.first + options.films)
    if options.what == "planted":
        for seed in seeds:
            rows = list(truth_rows(plan_film(0, seed=seed, kind="talk"), "src_benchmark"))
            (signals,) = (row for row in rows if isinstance(row, Signals))
            (truth,) = (row for row in rows if isinstance(row, Annotation))
            yield Case(truth, ClipEvidence(signals))
        return
    if options.what == "arms":
        plans = ((seed, plan_film(0, seed=seed, kind="talk")) for seed in count(options.first))
        with_arms = (
            seed
            for seed, plan in plans
            if any(action.track in ARMS for member in plan.shots[0].cast_members for action in member.actions)
        )
        yield from (wide_case(seed) for seed in islice(with_arms, options.films))
        return
    if options.what == "labels":
        yield from accepted_cases(options.shared, options.cache)
        return
    if options.what == "set":
        layer = find_layer(options.set, options.layer)
        views = LayerViews(options.set, layer, rules=audit_rules(options.set, layer).settings)
        yield from (Case(view.annotation, view.clip_evidence) for view in views if view.clip_evidence is not None)
        return
    for signals, truth in cached(options.cache, seeds, kind="talk"):
        correct = truth if options.what == "measured" else replace(truth, phases=phases_of(signals))
        yield Case(correct, ClipEvidence(signals))


def table(found: list[Case], *, seed: int = 0, show: Callable[[str], None] = print) -> dict[FaultKind, tuple[int, int]]:
    """Seed every fault once in every clip that allows it; print and return the numbers seeded and detected."""
    rng, clean = np.random.default_rng(seed), [case.answers(case.truth) for case in found]
    counts: dict[FaultKind, tuple[int, int]] = {}
    by: dict[FaultKind, Counter[str]] = defaultdict(Counter)
    missed: dict[FaultKind, Counter[str]] = defaultdict(Counter)
    for fault in FAULT_KINDS:
        planted = hits = 0
        for k, case in enumerate(found):
            donors = [p.text for other in (found[k - 1], found[k - 2]) for p in other.truth.phases if other is not case]
            one = seed_fault(case.truth, fault, rng=rng, donor_texts=donors, is_visible=case.sees)
            if one is None:
                continue
            checks = detecting_checks(one, baseline=clean[k], evaluations=case.answers(one.annotation))
            planted, hits = planted + 1, hits + bool(checks)
            by[fault].update(checks)
            if not checks:
                missed[fault].update(_actions(case.truth, one.annotation, one.phase_ids))
        counts[fault] = planted, hits
    show("| fault | seeded | detected | recall | target | detected by | missed |\n|---|---|---|---|---|---|---|")
    for fault, (planted, hits) in counts.items():
        names = ", ".join(f"{check} {count}" for check, count in by[fault].most_common(5))
        left = ", ".join(f"{action} {count}" for action, count in missed[fault].most_common(4))
        asked = "0.90" if fault in MUST else ""
        show(f"| {fault} | {planted} | {hits} | {hits / max(planted, 1):.3f} | {asked} | {names} | {left} |")
    alarms(found, clean, show)
    return counts


def _actions(truth: Annotation, faulty: Annotation, phase_ids: tuple[str, ...]) -> list[str]:
    """Classes of the changed phases, for the list of misses."""
    touched: list[str] = [p.action for p in faulty.phases if p.phase_id in phase_ids]
    gone = {p.phase_id for p in truth.phases} - {p.phase_id for p in faulty.phases}
    return touched or [p.action for p in truth.phases if p.phase_id in gone] or ["clip"]


def alarms(found: list[Case], clean: list[list[CheckEvaluation]], show: Callable[[str], None]) -> float:
    """Print and return the share of correct phases with a finding."""
    phases = sum(len(case.truth.phases) for case in found)
    wrong = [false_positives(answers) for answers in clean]
    flagged, other = sum(len(ids) for ids, _ in wrong), sum(count for _, count in wrong)
    by = Counter(c.id for answers in clean for c, o in answers if o.passed is False and c.severity != "info")
    show(
        f"\nCorrect phases with a finding: {flagged} of {phases} in {len(found)} clips "
        f"({flagged / max(phases, 1):.3f}). "
        f"Findings about no phase: {other} ({other / max(phases, 1):.3f} per phase). "
        f"By check: {dict(by.most_common())}"
    )
    return flagged / max(phases, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", default="planted", choices=("planted", "measured", "motion", "arms", "labels", "set")
    )
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--first", type=int, default=200, help="seed of the first film")
    parser.add_argument("--set", type=Path, help="folder of the set")
    parser.add_argument("--layer", default="human", help="layer of the set")
    parser.add_argument("--cache", type=Path, help="folder that keeps measured signals")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    options = parser.parse_args()
    films = f"{options.films} films from seed {options.first}"
    source = {"set": f"{options.set}, {options.layer}", "labels": "real clips"}.get(options.what, films)
    print(f"\n{options.what}, {source}:\n")
    table(list(cases(options)))


if __name__ == "__main__":
    main()
