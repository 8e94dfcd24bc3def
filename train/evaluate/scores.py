"""Scores of requested against detected phases, and of a mouth against its audio. Pure: no pictures, no model.

The paper has a language model judge its Action Bench on separate scales. Here the motion annotator answers the same
questions: does the action appear (H@S), is it the requested class, when does it happen, and does it change when two
actions are swapped.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.sync.lip_audio import score_sync
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Phase, sorted_phases
from xsheet.schemas.columns import Us
from xsheet.schemas.time import CLIP_RATE, seconds_from_us

Floats = NDArray[np.float64]
MIN_OVERLAP_SHARE = 0.5
"""Minimum overlap of two spans, as a share of the shorter one, to be about the same movement."""
ON_TIME_S = 0.2
"""Largest start error of an action on time: five frames at 25 fps."""
MAX_SYNC_OFFSET_FRAMES = 3
"""Maximum lip-audio offset that counts as in sync, in frames; the limit of curation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseScore:
    """Score of one requested phase."""

    requested_action: str  # requested class, with its side
    detected_action: str | None  # best matching action of the same body part; None = none
    hit: bool  # whether the action appears, at any time
    tiou: float  # of the hit; 0 without
    start_error_s: float | None  # of the hit, absolute
    end_error_s: float | None  # of the hit, absolute

    @property
    def is_class_correct(self) -> bool:
        """Whether the detected action is the requested one."""
        return self.detected_action == self.requested_action

    @property
    def is_on_time(self) -> bool:
        """Whether the requested action appears and starts within .2 s of the requested time."""
        return self.start_error_s is not None and self.start_error_s <= ON_TIME_S


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthScore:
    """Score of the mouth of one clip."""

    pearson_r: (
        float | None
    )  # with the mouth that made the sound, in one clip's own time; None where one of them is still
    confidence: float | None  # of lips against sound, in standard deviations of chance
    offset_frames: int | None  # at 25 fps, positive = the voice is late

    @property
    def in_sync(self) -> bool | None:
        """Whether mouth and audio are in sync; None if undecidable."""
        return None if self.offset_frames is None else abs(self.offset_frames) <= MAX_SYNC_OFFSET_FRAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """Scores of one sampled or real clip."""

    clip_id: str
    phases: tuple[PhaseScore, ...]
    mouth: MouthScore
    colour_drift: float | None  # see ClipAnalysis
    identity_distance: float | None = None  # see ClipAnalysis
    unrequested_per_s: float  # detected actions on tracks where nothing was requested at that time


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEditScore:
    """Scores of an annotation with edited actions; both videos are compared with the edited annotation."""

    clip_id: str
    original: tuple[PhaseScore, ...]  # of the video from the unedited annotation: the baseline
    edited: tuple[PhaseScore, ...]  # of the video from the edited annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipEvaluation:
    """Everything that an evaluation keeps of one clip."""

    sample: ClipScore
    ceiling: ClipScore
    requested: tuple[Phase, ...]
    detected: tuple[Phase, ...]
    swap: ActionEditScore | None = None
    replacement: ActionEditScore | None = None


def score_phases(requested: Iterable[Phase], detected: Sequence[Phase]) -> list[PhaseScore]:
    """Score every phase but rests, each by itself: one movement may match two phases of the same kind."""
    return [_score_phase(phase, detected) for phase in requested if phase.action != "rest"]


def unrequested_actions(requested: Sequence[Phase], detected: Iterable[Phase]) -> list[Phase]:
    """Detected actions while no phase of their track is requested; rests do not count."""
    return [
        phase
        for phase in detected
        if phase.action != "rest"
        and not any(one.track == phase.track and one.span.overlap_us(phase.span) for one in requested)
    ]


def position_baseline(
    requested: Sequence[Sequence[Phase]], detected: Sequence[Sequence[Phase]]
) -> list[tuple[PhaseScore, ...]]:
    """Score each clip's phases against the next clip, cyclically, that requests the same action.

    A model that always acts at its usual time scores as well here as on its own videos, so this is a baseline for tIoU
    and start error. Phases whose action no other clip requests are left out.
    """
    names = [{action_label(phase) for phase in phases} for phases in requested]
    scores = []
    for i, phases in enumerate(requested):
        mine: list[PhaseScore] = []
        for phase in phases:
            following = chain(range(i + 1, len(requested)), range(i))
            alike = (detected[j] for j in following if action_label(phase) in names[j])
            for there in islice(alike, 1):
                mine += score_phases([phase], there)
        scores.append(tuple(mine))
    return scores


def action_label(phase: Phase) -> str:
    """Action class and side, which a phase must match."""
    return phase.action if phase.laterality in ("none", "both") else f"{phase.action} {phase.laterality}"


def score_mouth(mouth: Floats, reference: Floats, predicted: Floats, voice: Floats) -> MouthScore:
    """Compare mouth opening, (T,) at 25 fps, with the reference clip's and with the one predicted from audio."""
    both = np.isfinite(mouth) & np.isfinite(reference)
    moves = both.sum() > CLIP_RATE.num and np.std(mouth[both]) > 0 and np.std(reference[both]) > 0
    sync = score_sync(mouth, predicted, voice)
    return MouthScore(
        pearson_r=float(np.corrcoef(mouth[both], reference[both])[0, 1]) if moves else None,
        confidence=sync.confidence,
        offset_frames=sync.offset_frames,
    )


def swapped(annotation: Annotation, tracks: Collection[vocab.Track]) -> Annotation | None:
    """The annotation with two actions on these tracks in reverse order; None without two that differ and fit.

    Each keeps its own length: a model can only be asked for movements that exist, and a nod of .4 s that is stretched
    over the 1.4 s of a turn is none (docs/log/train.md#ablation). The later one starts where the earlier one started,
    and the earlier one ends where both had ended. Only the earliest possible pair is swapped, so that the text changes
    in one place.
    """
    acts = _actions_on(annotation, tracks)
    pairs = ((a, b) for i, a in enumerate(acts) for b in acts[i + 1 :] if action_label(a) != action_label(b))
    for first, second in pairs:
        end_us = max(first.end_us, second.end_us)
        early = _moved(second, first.start_us, first.phase_id)
        late = _moved(first, end_us - first.span.duration_us, second.phase_id)
        if max(_overlap_share(early, second), _overlap_share(late, first)) >= MIN_OVERLAP_SHARE:
            continue  # the unedited video would count as right
        changed = {first.phase_id: early, second.phase_id: late}
        try:
            return replace(annotation, phases=sorted_phases(changed.get(p.phase_id, p) for p in annotation.phases))
        except ValueError:  # another phase on one of the tracks is in the way
            continue
    return None


def replaced_action(annotation: Annotation, other: Annotation, tracks: Collection[vocab.Track]) -> Annotation | None:
    """The annotation with one action on these tracks replaced by one of another; None if none differs and fits.

    The other action keeps its own length and starts where the one that it replaces started, or so early that it ends
    with the clip.
    """
    mine, theirs = _actions_on(annotation, tracks), _actions_on(other, tracks)
    for old, new in ((old, new) for old in mine for new in theirs if action_label(old) != action_label(new)):
        latest_us = annotation.duration_us - new.span.duration_us
        if latest_us < 0:
            continue
        changed = {old.phase_id: _moved(new, min(old.start_us, latest_us), old.phase_id)}
        try:
            return replace(annotation, phases=sorted_phases(changed.get(p.phase_id, p) for p in annotation.phases))
        except ValueError:  # another phase on the new one's track is in the way
            continue
    return None


def changed_phases(before: Annotation, after: Annotation) -> list[Phase]:
    """Phases of `after` whose action differs from the phase of the same id in `before`."""
    names = {phase.phase_id: action_label(phase) for phase in before.phases}
    return [phase for phase in after.phases if names.get(phase.phase_id) != action_label(phase)]


def _actions_on(annotation: Annotation, tracks: Collection[vocab.Track]) -> list[Phase]:
    return [phase for phase in annotation.phases if phase.action != "rest" and phase.track in tracks]


def _moved(action: Phase, start_us: Us, phase_id: str) -> Phase:
    """An action, with its parts, at another start and under another id; the relation to the voice is unknown there."""
    shift_us = start_us - action.start_us
    parts = tuple(
        replace(part, start_us=part.start_us + shift_us, end_us=part.end_us + shift_us) for part in action.kinematics
    )
    return replace(
        action, phase_id=phase_id, start_us=start_us, end_us=action.end_us + shift_us, kinematics=parts, speech=None
    )


def _score_phase(requested: Phase, detected: Sequence[Phase]) -> PhaseScore:
    near = [p for p in detected if p.track == requested.track and _overlap_share(p, requested) >= MIN_OVERLAP_SHARE]
    best = max(near, key=lambda p: p.span.tiou(requested.span), default=None)
    same = max(
        (p for p in near if action_label(p) == action_label(requested)),
        key=lambda p: p.span.tiou(requested.span),
        default=None,
    )
    return PhaseScore(
        requested_action=action_label(requested),
        detected_action=None if best is None else action_label(best),
        hit=same is not None,
        tiou=0.0 if same is None else same.span.tiou(requested.span),
        start_error_s=None if same is None else _seconds_apart(same.start_us, requested.start_us),
        end_error_s=None if same is None else _seconds_apart(same.end_us, requested.end_us),
    )


def _seconds_apart(a_us: int, b_us: int) -> float:
    return abs(seconds_from_us(a_us) - seconds_from_us(b_us))


def _overlap_share(a: Phase, b: Phase) -> float:
    return a.span.overlap_us(b.span) / min(a.span.duration_us, b.span.duration_us)
