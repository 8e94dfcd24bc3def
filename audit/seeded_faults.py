"""Seeded faults: measure which known faults an audit detects, and its false-positive rate on correct annotations.

    for fault in FAULT_KINDS:
        seeded = seed_fault(truth, fault, rng=rng, donor_texts=texts, is_visible=is_visible)
        checks = detecting_checks(seeded, baseline=run_checks(...), evaluations=run_checks(...))

Each copy of a correct annotation gets one fault. A fault counts as detected if a finding that the correct annotation
does not have is about the changed phase, or about its time if the phase is gone; severity info does not count. Faults
are consistent: swapping the side also swaps it in the text and the body parts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

from numpy.random import Generator

from xsheet.annotate.motion.annotator import BODY_PARTS_OF_TRACK
from xsheet.annotate.text.mirror import mirror_phase
from xsheet.annotate.text.wording import describe_action, kind_of
from xsheet.audit.scores import CheckEvaluation
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Phase, sorted_phases
from xsheet.schemas.time import US_PER_S, Span

FaultKind = Literal[
    "shift_0.25", "shift_0.4", "shift_0.5", "swapped_side", "spurious_phase", "missing_phase", "wrong_class",
    "merged_phases", "split_phase", "uniform_segments", "mismatched_text", "action_in_caption", "out_of_range",
]  # fmt: skip
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
IsVisible = Callable[[vocab.Track, Span], bool]
_FRAME_US = 40_000
_MIN_GAP_US = 200_000  # between a spurious phase and its neighbours on the track
# Classes for spurious phases and wrong classes, by track.
_ACTIONS_BY_TRACK: Mapping[vocab.Track, tuple[vocab.Action, ...]] = {
    "head": ("nod", "shake_head", "tilt_head", "turn_head"),
    "gaze": ("look_away", "blink_long"),
    "brows": ("raise_brows",),
    "face": ("smile",),
    "torso": ("lean_in", "lean_back", "sway", "shrug"),
    "arm_left": ("raise_hand", "wave"),
    "arm_right": ("raise_hand", "wave"),
}
_DIRECTIONAL_ACTIONS = ("tilt_head", "turn_head", "look_away")
_MIN_UNIFORM_PHASES = 3


class SeededFault(NamedTuple):
    """An annotation with one fault, and the location of the fault."""

    kind: FaultKind
    annotation: Annotation
    phase_ids: tuple[str, ...] = ()  # a finding about one of these detects it; empty: any finding of the annotation
    span: Span | None = None  # or a finding about this time, if the phase is gone


class _SeedingContext(NamedTuple):
    """Input of the functions that seed faults."""

    truth: Annotation
    actions: list[Phase]  # visible phases other than rests, shuffled
    rng: Generator
    donor_texts: Sequence[str]
    is_visible: IsVisible


def seed_fault(
    truth: Annotation, fault: FaultKind, *, rng: Generator, donor_texts: Sequence[str], is_visible: IsVisible
) -> SeededFault | None:
    """Copy an annotation with one fault; None if the annotation has no place for it.

    Args:
        truth: correct annotation.
        fault: kind of fault.
        rng: chooses the phase, the time and the class.
        donor_texts: texts of phases of other clips.
        is_visible: whether a track is visible in a span; faults are seeded only there.
    """
    visible = [p for p in truth.phases if p.action != "rest" and is_visible(p.track, p.span)]
    actions = [visible[k] for k in rng.permutation(len(visible))]
    return next(_SEEDERS[fault](_SeedingContext(truth, actions, rng, donor_texts, is_visible)), None)


def detecting_checks(
    seeded: SeededFault, *, baseline: Sequence[CheckEvaluation], evaluations: Sequence[CheckEvaluation]
) -> frozenset[str]:
    """Checks that detect a fault: those with a finding about it that the correct annotation does not have."""
    known = {_location(evaluation) for evaluation in baseline if _is_finding(evaluation)}
    new = [e for e in evaluations if _is_finding(e) and _location(e) not in known]
    return frozenset(check.id for check, result in new if _is_about(seeded, (check, result)))


def false_positives(evaluations: Sequence[CheckEvaluation]) -> tuple[set[str], int]:
    """Phase ids with findings in a correct annotation, and the number of findings about no phase."""
    failed = [result for check, result in evaluations if _is_finding((check, result))]
    return {r.phase.phase_id for r in failed if r.phase is not None}, sum(r.phase is None for r in failed)


def _is_finding(evaluation: CheckEvaluation) -> bool:
    check, result = evaluation
    return result.passed is False and check.severity != "info"


def _location(evaluation: CheckEvaluation) -> tuple[str, str | int | None]:
    check, result = evaluation
    return check.id, result.start_us if result.phase is None else result.phase.phase_id


def _is_about(seeded: SeededFault, evaluation: CheckEvaluation) -> bool:
    _, result = evaluation
    if seeded.span is not None and result.start_us is not None and result.end_us is not None:
        return seeded.span.overlap_us(Span(result.start_us, result.end_us)) > 0
    if seeded.phase_ids:
        return result.phase is not None and result.phase.phase_id in seeded.phase_ids
    return seeded.span is None


# ---- seeding


def _with_phases(truth: Annotation, phases: Iterable[Phase], **fields: Any) -> Annotation:
    """The annotation with other phases and the same id; ValueError if the record rejects them."""
    return replace(truth, phases=sorted_phases(phases), **fields)


def _replace_phase(truth: Annotation, phase: Phase, *replacements: Phase) -> Annotation | None:
    """The annotation with one phase replaced; None if the record rejects the result."""
    try:
        return _with_phases(truth, [*(p for p in truth.phases if p.phase_id != phase.phase_id), *replacements])
    except ValueError:
        return None


def _make_shift(seconds: float) -> Callable[[_SeedingContext], Iterator[SeededFault]]:
    by_us = round(seconds * US_PER_S / _FRAME_US) * _FRAME_US
    name = cast("FaultKind", f"shift_{seconds:g}")

    def shifted(case: _SeedingContext) -> Iterator[SeededFault]:
        for phase in case.actions:
            for sign in case.rng.permutation([-1, 1]).tolist():
                if phase.start_us + sign * by_us >= 0 and phase.end_us + sign * by_us <= case.truth.duration_us:
                    moved = _replace_phase(case.truth, phase, _shift_phase(phase, sign * by_us))
                    if moved is not None:
                        yield SeededFault(name, moved, (phase.phase_id,))

    return shifted


def _shift_phase(phase: Phase, by_us: int) -> Phase:
    parts = tuple(replace(k, start_us=k.start_us + by_us, end_us=k.end_us + by_us) for k in phase.kinematics)
    return replace(phase, start_us=phase.start_us + by_us, end_us=phase.end_us + by_us, kinematics=parts, speech=None)


def _retime_phase(phase: Phase, span: Span, *, phase_id: str | None = None) -> Phase:
    """The same action at another time, without its gesture parts, which no longer fit."""
    return replace(
        phase,
        phase_id=phase_id or phase.phase_id,
        start_us=span.start_us,
        end_us=span.end_us,
        kinematics=(),
        speech=None,
    )


def _seed_swapped_side(case: _SeedingContext) -> Iterator[SeededFault]:
    for phase in case.actions:
        if phase.laterality in ("left", "right"):
            other = _replace_phase(case.truth, phase, mirror_phase(phase))
            if other is not None:
                yield SeededFault("swapped_side", other, (phase.phase_id,))


def _seed_spurious_phase(case: _SeedingContext) -> Iterator[SeededFault]:
    tracks = list(_ACTIONS_BY_TRACK)
    for k in case.rng.permutation(len(tracks)):
        track = tracks[k]
        for _ in range(8):
            length_us = int(case.rng.integers(15, 45)) * _FRAME_US
            start_us = int(case.rng.integers(0, max(1, (case.truth.duration_us - length_us) // _FRAME_US))) * _FRAME_US
            wide = Span(max(0, start_us - _MIN_GAP_US), start_us + length_us + _MIN_GAP_US)
            is_occupied = any(p.track == track and p.span.overlap_us(wide) for p in case.truth.phases)
            span = Span(start_us, start_us + length_us)
            if not is_occupied and span.end_us <= case.truth.duration_us and case.is_visible(track, span):
                made = _random_phase(track, span, case.rng)
                yield SeededFault(
                    "spurious_phase", _with_phases(case.truth, [*case.truth.phases, made]), (made.phase_id,)
                )


def _random_phase(track: vocab.Track, span: Span, rng: Generator) -> Phase:
    """A random action of a track."""
    action = _ACTIONS_BY_TRACK[track][int(rng.integers(len(_ACTIONS_BY_TRACK[track])))]
    random_side: vocab.Laterality = "left" if rng.random() < 0.5 else "right"
    side = vocab.SIDED_TRACK.get(track, random_side if action in _DIRECTIONAL_ACTIONS else "none")
    return Phase(
        phase_id="seeded",
        track=track,
        start_us=span.start_us,
        end_us=span.end_us,
        action=action,
        text=describe_action(action, side),
        body_parts=BODY_PARTS_OF_TRACK[track],
        laterality=side,
        kind=kind_of(action),
        origin="vlm",
    )


def _seed_missing_phase(case: _SeedingContext) -> Iterator[SeededFault]:
    for phase in case.actions:
        left = [p for p in case.truth.phases if p.phase_id != phase.phase_id]
        yield SeededFault("missing_phase", _with_phases(case.truth, left), span=phase.span)


def _seed_wrong_class(case: _SeedingContext) -> Iterator[SeededFault]:
    for phase in case.actions:
        others = [action for action in _ACTIONS_BY_TRACK.get(phase.track, ()) if action != phase.action]
        if others and phase.action in _ACTIONS_BY_TRACK[phase.track]:
            claimed = _random_phase(phase.track, phase.span, case.rng)
            while claimed.action == phase.action:
                claimed = _random_phase(phase.track, phase.span, case.rng)
            other = _replace_phase(case.truth, phase, replace(claimed, phase_id=phase.phase_id))
            if other is not None:
                yield SeededFault("wrong_class", other, (phase.phase_id,))


def _seed_merged_phases(case: _SeedingContext) -> Iterator[SeededFault]:
    by_time = sorted(case.actions, key=lambda p: (p.track, p.start_us))
    pairs = [(a, b) for a, b in pairwise(by_time) if a.track == b.track]
    for k in case.rng.permutation(len(pairs)):
        a, b = pairs[k]
        left = [p for p in case.truth.phases if p.phase_id not in (a.phase_id, b.phase_id)]
        one = _retime_phase(a, Span(a.start_us, b.end_us))
        if not any(p.track == a.track and p.span.overlap_us(one.span) for p in left):
            yield SeededFault("merged_phases", _with_phases(case.truth, [*left, one]), (a.phase_id,))


def _seed_split_phase(case: _SeedingContext) -> Iterator[SeededFault]:
    for phase in case.actions:
        if phase.span.duration_us >= 4 * MIN_PHASE_US:
            middle = phase.start_us + phase.span.duration_us // (2 * _FRAME_US) * _FRAME_US
            a = _retime_phase(phase, Span(phase.start_us, middle))
            b = _retime_phase(phase, Span(middle, phase.end_us), phase_id="seeded")
            made = _replace_phase(case.truth, phase, a, b)
            if made is not None:
                yield SeededFault("split_phase", made, (a.phase_id, b.phase_id))


def _seed_uniform_segments(case: _SeedingContext) -> Iterator[SeededFault]:
    acts = sorted((p for p in case.truth.phases if p.action != "rest"), key=lambda p: p.start_us)
    if len(acts) >= _MIN_UNIFORM_PHASES:
        step_us = case.truth.duration_us // len(acts)
        if step_us >= MIN_PHASE_US:
            segments = [_retime_phase(p, Span(k * step_us, (k + 1) * step_us)) for k, p in enumerate(acts)]
            yield SeededFault("uniform_segments", _with_phases(case.truth, segments))


def _seed_mismatched_text(case: _SeedingContext) -> Iterator[SeededFault]:
    own = {phase.text for phase in case.truth.phases}
    others = [text for text in case.donor_texts if text not in own]
    for phase in case.actions if others else ():
        text = others[int(case.rng.integers(len(others)))]
        other = _replace_phase(case.truth, phase, replace(phase, text=text))
        if other is not None:
            yield SeededFault("mismatched_text", other, (phase.phase_id,))


def _seed_action_in_caption(case: _SeedingContext) -> Iterator[SeededFault]:
    base = case.truth.base
    for phase in case.actions if base is not None else ():
        caption = replace(base, text=f"{base.text} The person {phase.text}.") if base is not None else None
        yield SeededFault("action_in_caption", replace(case.truth, base=caption))


def _seed_out_of_range(case: _SeedingContext) -> Iterator[SeededFault]:
    for phase in case.actions:
        beyond_us = case.truth.duration_us + 10 * _FRAME_US
        if not any(p.track == phase.track and p.start_us >= phase.end_us for p in case.truth.phases):
            long = _retime_phase(phase, Span(phase.start_us, beyond_us))
            left = [p for p in case.truth.phases if p.phase_id != phase.phase_id]
            yield SeededFault(
                "out_of_range", _with_phases(case.truth, [*left, long], duration_us=beyond_us), (phase.phase_id,)
            )


_SEEDERS: Mapping[FaultKind, Callable[[_SeedingContext], Iterator[SeededFault]]] = {
    "shift_0.25": _make_shift(0.25),
    "shift_0.4": _make_shift(0.4),
    "shift_0.5": _make_shift(0.5),
    "swapped_side": _seed_swapped_side,
    "spurious_phase": _seed_spurious_phase,
    "missing_phase": _seed_missing_phase,
    "wrong_class": _seed_wrong_class,
    "merged_phases": _seed_merged_phases,
    "split_phase": _seed_split_phase,
    "uniform_segments": _seed_uniform_segments,
    "mismatched_text": _seed_mismatched_text,
    "action_in_caption": _seed_action_in_caption,
    "out_of_range": _seed_out_of_range,
}
