"""Seeded faults: what an audit finds of the faults that were planted, and how often it cries over what is right.

    for fault in FAULTS:
        planted = plant(truth, fault, rng=rng, donors=donors, seen=seen)
        catchers = caught(planted, clean=answers_of(view(truth)), found=answers_of(view(planted.annotation)))

One fault at a time, in a copy of an annotation that is right. A fault is caught by a finding that the right annotation
did not have, about the phase (or, where none is left, about the time) that was touched; remarks do not count. Whatever
only a slip would leave behind is changed along: a side that is swapped is swapped in the words and parts as well.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

from numpy.random import Generator

from xsheet.annotate.motion.annotator import PARTS
from xsheet.annotate.motion.kinds import kind_of
from xsheet.annotate.text.mirror import flip_phase
from xsheet.annotate.text.wording import words_for
from xsheet.audit.scores import Answer
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Phase, sorted_phases
from xsheet.schemas.time import US_PER_S, Span

Fault = Literal[
    "shift_0.25", "shift_0.4", "shift_0.5", "swapped_side", "invented", "deleted", "wrong_class", "merged", "split",
    "slabs", "foreign_text", "leaking_base", "out_of_range",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = get_args(Fault)
Seen = Callable[[vocab.Track, Span], bool]
_FRAME_US = 40_000
_GAP_US = 200_000  # between an invented phase and its neighbours on the track
# Classes that can be claimed of a track, one by one or for another of them.
_CLASSES: Mapping[vocab.Track, tuple[vocab.Action, ...]] = {
    "head": ("nod", "shake_head", "tilt_head", "turn_head"),
    "gaze": ("look_away", "blink_long"),
    "brows": ("raise_brows",),
    "face": ("smile",),
    "torso": ("lean_in", "lean_back", "sway", "shrug"),
    "arm_left": ("raise_hand", "wave"),
    "arm_right": ("raise_hand", "wave"),
}
_SIDED = ("tilt_head", "turn_head", "look_away")
_LEAST_SLABS = 3


class Planted(NamedTuple):
    """An annotation with one fault, and where it lies."""

    fault: Fault
    annotation: Annotation
    phase_ids: tuple[str, ...] = ()  # a finding about any of these catches it; none: any finding of the annotation
    span: Span | None = None  # or one about this time, where the phase itself is gone


class _Case(NamedTuple):
    """What a fault is planted in."""

    truth: Annotation
    acts: list[Phase]  # no rests, in an order of chance; only those that are seen
    rng: Generator
    donors: Sequence[str]
    seen: Seen


def plant(truth: Annotation, fault: Fault, *, rng: Generator, donors: Sequence[str], seen: Seen) -> Planted | None:
    """A copy with one fault; None where the annotation has no place for it.

    Args:
        truth: what is right.
        fault: what to plant.
        rng: chooses the phase, the time, the class.
        donors: texts of phases of other clips.
        seen: whether a track is seen in a span; nothing is planted where nobody could tell.
    """
    visible = [p for p in truth.phases if p.action != "rest" and seen(p.track, p.span)]
    acts = [visible[k] for k in rng.permutation(len(visible))]
    return next(_PLANT[fault](_Case(truth, acts, rng, donors, seen)), None)


def caught(planted: Planted, *, clean: Sequence[Answer], found: Sequence[Answer]) -> frozenset[str]:
    """The checks that catch a fault: those with a finding about it that the right annotation did not have."""
    before = {_place(answer) for answer in clean if _is_finding(answer)}
    new = [answer for answer in found if _is_finding(answer) and _place(answer) not in before]
    return frozenset(check.id for check, outcome in new if _is_about(planted, (check, outcome)))


def false_alarms(answers: Sequence[Answer]) -> tuple[set[str], int]:
    """Phases of a right annotation with a finding, and findings about no phase."""
    wrong = [outcome for check, outcome in answers if _is_finding((check, outcome))]
    return {o.phase.phase_id for o in wrong if o.phase is not None}, sum(o.phase is None for o in wrong)


def _is_finding(answer: Answer) -> bool:
    check, outcome = answer
    return outcome.passed is False and check.severity != "info"


def _place(answer: Answer) -> tuple[str, str | int | None]:
    check, outcome = answer
    return check.id, outcome.start_us if outcome.phase is None else outcome.phase.phase_id


def _is_about(planted: Planted, answer: Answer) -> bool:
    _, outcome = answer
    if planted.span is not None and outcome.start_us is not None and outcome.end_us is not None:
        return planted.span.overlap_us(Span(outcome.start_us, outcome.end_us)) > 0
    if planted.phase_ids:
        return outcome.phase is not None and outcome.phase.phase_id in planted.phase_ids
    return planted.span is None


# ---- planting


def _with(truth: Annotation, phases: Iterable[Phase], **fields: Any) -> Annotation:
    """The annotation with other phases; ValueError where the record refuses them. Its id stays: it is the same clip."""
    return replace(truth, phases=sorted_phases(phases), **fields)


def _instead(truth: Annotation, phase: Phase, *others: Phase) -> Annotation | None:
    """The annotation with others in the place of one phase; None where the record refuses them."""
    try:
        return _with(truth, [*(p for p in truth.phases if p.phase_id != phase.phase_id), *others])
    except ValueError:
        return None


def _shifts(seconds: float) -> Callable[[_Case], Iterator[Planted]]:
    by_us = round(seconds * US_PER_S / _FRAME_US) * _FRAME_US
    name = cast("Fault", f"shift_{seconds:g}")

    def shifted(case: _Case) -> Iterator[Planted]:
        for phase in case.acts:
            for way in case.rng.permutation([-1, 1]).tolist():
                if phase.start_us + way * by_us >= 0 and phase.end_us + way * by_us <= case.truth.duration_us:
                    moved = _instead(case.truth, phase, _moved(phase, way * by_us))
                    if moved is not None:
                        yield Planted(name, moved, (phase.phase_id,))

    return shifted


def _moved(phase: Phase, by_us: int) -> Phase:
    parts = tuple(replace(k, start_us=k.start_us + by_us, end_us=k.end_us + by_us) for k in phase.kinematics)
    return replace(phase, start_us=phase.start_us + by_us, end_us=phase.end_us + by_us, kinematics=parts, speech=None)


def _timed(phase: Phase, span: Span, *, phase_id: str | None = None) -> Phase:
    """The same action at another time; what was told of its parts no longer holds."""
    return replace(
        phase,
        phase_id=phase_id or phase.phase_id,
        start_us=span.start_us,
        end_us=span.end_us,
        kinematics=(),
        speech=None,
    )


def _swapped(case: _Case) -> Iterator[Planted]:
    for phase in case.acts:
        if phase.laterality in ("left", "right"):
            other = _instead(case.truth, phase, flip_phase(phase))
            if other is not None:
                yield Planted("swapped_side", other, (phase.phase_id,))


def _invented(case: _Case) -> Iterator[Planted]:
    tracks = list(_CLASSES)
    for k in case.rng.permutation(len(tracks)):
        track = tracks[k]
        for _ in range(8):
            length_us = int(case.rng.integers(15, 45)) * _FRAME_US
            start_us = int(case.rng.integers(0, max(1, (case.truth.duration_us - length_us) // _FRAME_US))) * _FRAME_US
            wide = Span(max(0, start_us - _GAP_US), start_us + length_us + _GAP_US)
            taken = any(p.track == track and p.span.overlap_us(wide) for p in case.truth.phases)
            span = Span(start_us, start_us + length_us)
            if not taken and span.end_us <= case.truth.duration_us and case.seen(track, span):
                made = _claimed(track, span, case.rng)
                yield Planted("invented", _with(case.truth, [*case.truth.phases, made]), (made.phase_id,))


def _claimed(track: vocab.Track, span: Span, rng: Generator) -> Phase:
    """An action of a track at random."""
    action = _CLASSES[track][int(rng.integers(len(_CLASSES[track])))]
    some: vocab.Laterality = "left" if rng.random() < 0.5 else "right"
    side = vocab.SIDED_TRACK.get(track, some if action in _SIDED else "none")
    return Phase(
        phase_id="planted", track=track, start_us=span.start_us, end_us=span.end_us, action=action,
        text=words_for(action, side), body_parts=PARTS[track], laterality=side, kind=kind_of(action), origin="vlm",
    )  # fmt: skip


def _deleted(case: _Case) -> Iterator[Planted]:
    for phase in case.acts:
        left = [p for p in case.truth.phases if p.phase_id != phase.phase_id]
        yield Planted("deleted", _with(case.truth, left), span=phase.span)


def _reclassed(case: _Case) -> Iterator[Planted]:
    for phase in case.acts:
        others = [action for action in _CLASSES.get(phase.track, ()) if action != phase.action]
        if others and phase.action in _CLASSES[phase.track]:
            claimed = _claimed(phase.track, phase.span, case.rng)
            while claimed.action == phase.action:
                claimed = _claimed(phase.track, phase.span, case.rng)
            other = _instead(case.truth, phase, replace(claimed, phase_id=phase.phase_id))
            if other is not None:
                yield Planted("wrong_class", other, (phase.phase_id,))


def _merged(case: _Case) -> Iterator[Planted]:
    by_time = sorted(case.acts, key=lambda p: (p.track, p.start_us))
    pairs = [(a, b) for a, b in pairwise(by_time) if a.track == b.track]
    for k in case.rng.permutation(len(pairs)):
        a, b = pairs[k]
        left = [p for p in case.truth.phases if p.phase_id not in (a.phase_id, b.phase_id)]
        one = _timed(a, Span(a.start_us, b.end_us))
        if not any(p.track == a.track and p.span.overlap_us(one.span) for p in left):
            yield Planted("merged", _with(case.truth, [*left, one]), (a.phase_id,))


def _split(case: _Case) -> Iterator[Planted]:
    for phase in case.acts:
        if phase.span.duration_us >= 4 * MIN_PHASE_US:
            middle = phase.start_us + phase.span.duration_us // (2 * _FRAME_US) * _FRAME_US
            a = _timed(phase, Span(phase.start_us, middle))
            b = _timed(phase, Span(middle, phase.end_us), phase_id="planted")
            made = _instead(case.truth, phase, a, b)
            if made is not None:
                yield Planted("split", made, (a.phase_id, b.phase_id))


def _slabs(case: _Case) -> Iterator[Planted]:
    acts = sorted((p for p in case.truth.phases if p.action != "rest"), key=lambda p: p.start_us)
    if len(acts) >= _LEAST_SLABS:
        step_us = case.truth.duration_us // len(acts)
        if step_us >= MIN_PHASE_US:
            slabs = [_timed(p, Span(k * step_us, (k + 1) * step_us)) for k, p in enumerate(acts)]
            yield Planted("slabs", _with(case.truth, slabs))


def _retold(case: _Case) -> Iterator[Planted]:
    own = {phase.text for phase in case.truth.phases}
    others = [text for text in case.donors if text not in own]
    for phase in case.acts if others else ():
        text = others[int(case.rng.integers(len(others)))]
        other = _instead(case.truth, phase, replace(phase, text=text))
        if other is not None:
            yield Planted("foreign_text", other, (phase.phase_id,))


def _leaking(case: _Case) -> Iterator[Planted]:
    base = case.truth.base
    for phase in case.acts if base is not None else ():
        said = replace(base, text=f"{base.text} The person {phase.text}.") if base is not None else None
        yield Planted("leaking_base", replace(case.truth, base=said))


def _overlong(case: _Case) -> Iterator[Planted]:
    for phase in case.acts:
        beyond_us = case.truth.duration_us + 10 * _FRAME_US
        if not any(p.track == phase.track and p.start_us >= phase.end_us for p in case.truth.phases):
            long = _timed(phase, Span(phase.start_us, beyond_us))
            left = [p for p in case.truth.phases if p.phase_id != phase.phase_id]
            yield Planted("out_of_range", _with(case.truth, [*left, long], duration_us=beyond_us), (phase.phase_id,))


_PLANT: Mapping[Fault, Callable[[_Case], Iterator[Planted]]] = {
    "shift_0.25": _shifts(0.25), "shift_0.4": _shifts(0.4), "shift_0.5": _shifts(0.5), "swapped_side": _swapped,
    "invented": _invented, "deleted": _deleted, "wrong_class": _reclassed, "merged": _merged, "split": _split,
    "slabs": _slabs, "foreign_text": _retold, "leaking_base": _leaking, "out_of_range": _overlong,
}  # fmt: skip
