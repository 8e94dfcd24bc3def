"""Rules for the face: gaze, lids, brows, smile, and a mouth that opens without voice."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.head_rules import side_of
from xsheet.annotate.motion.segments import MotionEpisode, MotionSegment, find_episodes, find_segments, group_segments
from xsheet.annotate.motion.series import FPS, Floats, finite_median, frames_between, gaussian_smooth, true_ranges
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_USUAL_WIDTH = 0.25  # quantile of the mouth's width over the clip
_LOWERED_LIDS = 0.28  # share of the usual opening from which lids are lowered rather than closed
_OPEN_LIDS = 0.85  # share of the usual opening from which eyes are open
_JAW_SHARE = 0.5  # of a mouth's width: an opening as large as this is made by the jaw
_HELD_FACTOR = 1.5  # × minimum size: an expression without its return counts from here
_SPEECH_FRAMES, _SPEECH_GAP_S = 6, 0.3  # voice so soon after an opening, or the next opening: the mouth speaks


class FaceRuleSettings(StrictModel):
    """Minimum movements of a face. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    min_gaze: float = Field(
        default=0.17, gt=0, le=1, description="minimum gaze shift, half eye widths; glances are half as large"
    )
    min_gaze_s: float = Field(
        default=0.3, ge=0, le=3, description="minimum duration of a gaze shift, seconds; shorter ones are glances"
    )
    closed_eye_openness: float = Field(
        default=0.5, gt=0, lt=1, description="eye opening below which the eye is closed, share of the usual opening"
    )
    min_closed_s: float = Field(
        default=0.18, ge=0, le=3, description="minimum duration of closed eyes, seconds; ordinary blinks are shorter"
    )
    min_look_down_s: float = Field(
        default=0.4, ge=0, le=10, description="minimum duration of lowered lids that look down, seconds"
    )
    min_lowered_deg: float = Field(
        default=3.5,
        ge=0,
        le=90,
        description="pitch below the usual pitch of the clip from which lowered lids look down, degrees",
    )
    min_brow_raise: float = Field(default=0.0125, gt=0, le=0.2, description="minimum rise of the brows, face heights")
    brow_ratio: float = Field(
        default=1.6,
        ge=1,
        le=5,
        description="minimum rise of the brows that is annotated, as a multiple of min_brow_raise",
    )
    max_brows_s: float = Field(
        default=2.5, gt=0, le=10, description="longest raise of the brows, seconds; longer ones are drift"
    )
    min_smile: float = Field(default=0.27, gt=0, le=1, description="minimum rise of the smile series, 0..1")
    min_smile_widening: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="minimum width of a smiling mouth above its usual width in the clip, face heights",
    )
    smile_ratio: float = Field(
        default=1.25,
        ge=1,
        le=5,
        description="minimum smile that is annotated, as a multiple of min_smile; speech and songs spread the lips too",
    )
    min_pursing: float = Field(
        default=0.04, gt=0, le=0.5, description="minimum narrowing of a closed mouth, face heights"
    )
    min_mouth_opening: float = Field(default=0.045, gt=0, le=0.5, description="minimum mouth opening, face heights")
    max_shift_s: float = Field(
        default=0.28, gt=0, le=3, description="longest movement of a gaze shift, seconds; eyes jump"
    )
    max_rise_s: float = Field(
        default=0.9, gt=0, le=5, description="longest rise of the brows, seconds; slower ones are drift"
    )
    max_turning_deg: float = Field(
        default=7.0,
        gt=0,
        le=90,
        description="largest range of a head angle while eyes shift or brows rise: a "
        "turning head changes what the mesh shows of them",
    )
    max_yaw_deg: float = Field(
        default=30.0,
        gt=0,
        le=90,
        description="largest head yaw at which expressions of the mouth are detected, degrees",
    )
    open_mouth_ratio: float = Field(
        default=1.5,
        ge=1,
        le=10,
        description="minimum opening that is annotated, as a multiple of min_mouth_opening; lips part before speech, "
        "and may speak without a voice that is heard",
    )
    max_voiced_share: float = Field(
        default=0.4, ge=0, le=1, description="largest share of frames with voice while the mouth is open"
    )


def detect_face_actions(curves: MotionCurves, settings: FaceRuleSettings) -> Iterator[DetectedAction]:
    """Gaze shifts, long blinks, raised brows, smiles and silent mouth openings; they may overlap."""
    for episode in _returning_episodes(curves.gaze_x, settings.min_gaze, max_hold_s=2.0):
        is_long = (episode.end - episode.start) / FPS >= settings.min_gaze_s and len(episode.segments) == 2
        jumps = all(segment.seconds <= settings.max_shift_s for segment in episode.segments)
        if is_long and jumps and all(_is_steady(curves, segment, settings) for segment in episode.segments):
            yield detected_action(episode, "look_away", "gaze", side=side_of(episode.peak), min_size=settings.min_gaze)
    for episode in _closed_eyes(curves, settings):
        action: vocab.Action = "look_down" if _looks_down(curves, episode, settings) else "blink_long"
        yield detected_action(episode, action, "gaze", side="both", min_size=1 - settings.closed_eye_openness)
    for episode in _returning_episodes(
        curves.brow_raise, settings.min_brow_raise, max_hold_s=1.2, smoothing_frames=1.5
    ):
        is_brief = (episode.end - episode.start) / FPS <= settings.max_brows_s
        rises = (
            episode.peak >= settings.brow_ratio * settings.min_brow_raise
            and episode.segments[0].seconds <= settings.max_rise_s
        )
        if is_brief and rises and _is_steady(curves, episode.segments[0], settings):
            yield detected_action(episode, "raise_brows", "brows", side="both", min_size=settings.min_brow_raise)
    smiles = [
        episode
        for episode in _returning_episodes(curves.smile, settings.min_smile, max_hold_s=8.0, smoothing_frames=4.0)
        if episode.peak >= settings.min_smile * settings.smile_ratio
        and _faces_camera(curves, episode, settings)
        and _widens(curves, episode, settings)
        and not _drops_jaw(curves, episode)
    ]
    for episode in smiles:
        yield detected_action(episode, "smile", "face", side="none", min_size=settings.min_smile)
    for episode in _pursed_lips(curves, settings):
        yield detected_action(episode, "purse_lips", "mouth", side="none", min_size=settings.min_pursing)
    for episode in _silent_openings(curves, settings):
        laughs = any(smile.start < episode.end and episode.start < smile.end for smile in smiles)
        if not laughs and not _bares_teeth(curves, episode, settings):
            yield detected_action(
                episode, "open_mouth", "mouth", side="none",
                min_size=settings.open_mouth_ratio * settings.min_mouth_opening,
            )  # fmt: skip


def _silent_openings(curves: MotionCurves, settings: FaceRuleSettings) -> Iterator[MotionEpisode]:
    """Openings of a mouth that does not speak: without voice in it or soon after it, and not one after the other.

    Speech moves the mouth all the time, so there is no background test. Smaller openings count as neighbours too; a
    mouth that is opened as wide as no speech opens it needs no distance from its neighbours.
    """
    openings = find_segments(curves.mouth_opening, min_size=settings.min_mouth_opening, smoothing_frames=0.7)
    episodes = list(group_segments(openings, frames=len(curves), max_gap_s=0.0, max_hold_s=3.0))
    for k, episode in enumerate(episodes):
        alone = all(_gap_s(episode, other) > _SPEECH_GAP_S for other in episodes[max(0, k - 1) : k + 2])
        wide = episode.peak >= _JAW_SHARE * finite_median(curves.mouth_width)
        large = episode.peak >= settings.open_mouth_ratio * settings.min_mouth_opening
        if large and episode.returns and (alone or wide) and _is_silent(curves, episode, settings):
            yield episode


def _gap_s(a: MotionEpisode, b: MotionEpisode) -> float:
    """Pause between two episodes; infinite from an episode to itself."""
    return np.inf if a is b else max(b.start - a.end, a.start - b.end) / FPS


def _is_silent(curves: MotionCurves, episode: MotionEpisode, settings: FaceRuleSettings) -> bool:
    """Whether there is little voice in an episode and none that it leads to."""
    soon = curves.voiced[int(np.ceil(episode.end)) :][:_SPEECH_FRAMES]
    return _voiced_share(curves, episode) <= settings.max_voiced_share and float(soon.sum()) <= _SPEECH_FRAMES / 2


def _drops_jaw(curves: MotionCurves, episode: MotionEpisode) -> bool:
    """Whether the mouth is held wide open, as in a shout; False where its width is not measured."""
    frames = _held_frames(episode)
    opening = finite_median(curves.mouth_opening[frames.start : frames.stop])
    return opening >= _JAW_SHARE * finite_median(curves.mouth_width[frames.start : frames.stop])


def _widens(curves: MotionCurves, episode: MotionEpisode, settings: FaceRuleSettings) -> bool:
    """Whether the mouth is wider than usual meanwhile; True where its width is not measured."""
    width = gaussian_smooth(curves.mouth_width, sigma_frames=2.0)
    frames = _held_frames(episode)
    inside, known = finite_median(width[frames.start : frames.stop]), width[np.isfinite(width)]
    return not len(known) or inside - float(np.quantile(known, _USUAL_WIDTH)) >= settings.min_smile_widening


def _bares_teeth(curves: MotionCurves, episode: MotionEpisode, settings: FaceRuleSettings) -> bool:
    """Whether lips that part are drawn wide: then the teeth show and the jaw stays; False where nothing is measured."""
    frames = _held_frames(episode)
    width = finite_median(curves.mouth_width[frames.start : frames.stop])
    if not np.isfinite(width) or episode.peak >= _JAW_SHARE * width:
        return False
    return _widens(curves, episode, settings)


def _held_frames(episode: MotionEpisode) -> range:
    """Frames between the way there and the way back; to the end of the clip if there is no way back."""
    first, last = episode.segments[0], episode.segments[-1]
    return frames_between(first.end, last.start if len(episode.segments) > 1 else episode.end)


def _is_steady(curves: MotionCurves, movement: MotionSegment, settings: FaceRuleSettings) -> bool:
    return curves.head_turning_deg(frames_between(movement.start, movement.end)) <= settings.max_turning_deg


def _faces_camera(curves: MotionCurves, episode: MotionEpisode, settings: FaceRuleSettings) -> bool:
    frames = frames_between(episode.start, episode.end)
    yaw = curves.yaw_deg[frames.start : frames.stop]
    return bool(np.isfinite(yaw).any()) and float(np.nanmedian(np.abs(yaw))) <= settings.max_yaw_deg


def _returning_episodes(
    values: Floats, min_size: float, *, max_hold_s: float, smoothing_frames: float = 1.0
) -> Iterator[MotionEpisode]:
    """Episodes that return to their start."""
    episodes = find_episodes(
        values, min_size=min_size, max_gap_s=0.0, max_hold_s=max_hold_s, smoothing_frames=smoothing_frames
    )
    # Drift never returns, so an episode still held at the end of the clip must be larger.
    return (
        episode
        for episode in episodes
        if episode.returns and (episode.held_until is None or abs(episode.peak) >= _HELD_FACTOR * min_size)
    )


def _closed_eyes(curves: MotionCurves, settings: FaceRuleSettings) -> Iterator[MotionEpisode]:
    """Stretches of closed eyes with the lids' way down and up; the clip may begin or end with closed eyes."""
    lids = gaussian_smooth(curves.eye_openness, sigma_frames=0.5)
    for closed in true_ranges(np.nan_to_num(lids, nan=1.0) < settings.closed_eye_openness):
        if len(closed) < settings.min_closed_s * FPS:
            continue
        start, end, depth = closed.start, closed.stop, 1 - float(lids[closed.start : closed.stop].min())
        while start > 0 and lids[start] < min(lids[start - 1], _OPEN_LIDS):
            start -= 1
        while end < len(lids) and lids[end - 1] < min(lids[end], _OPEN_LIDS):
            end += 1
        yield MotionEpisode(
            segments=(
                MotionSegment(start=float(start), end=closed.start + 0.5, value=0.0, delta=depth),
                MotionSegment(start=closed.stop - 0.5, end=float(end), value=depth, delta=-depth),
            )
        )


def _looks_down(curves: MotionCurves, episode: MotionEpisode, settings: FaceRuleSettings) -> bool:
    """Whether the lids only follow the eyes down: for a while, not quite closed, with a lowered head."""
    frames = frames_between(episode.segments[0].end, episode.segments[-1].start)
    if len(frames) < settings.min_look_down_s * FPS:
        return False
    lids = finite_median(curves.eye_openness[frames.start : frames.stop])
    lowered = finite_median(curves.pitch_deg) - finite_median(curves.pitch_deg[frames.start : frames.stop])
    return lids >= _LOWERED_LIDS and lowered >= settings.min_lowered_deg


def _pursed_lips(curves: MotionCurves, settings: FaceRuleSettings) -> Iterator[MotionEpisode]:
    """Closed mouths that are narrower than before and after, without voice; speech rounds the lips too."""
    for episode in _returning_episodes(-curves.mouth_width, settings.min_pursing, max_hold_s=8.0, smoothing_frames=2.0):
        frames = frames_between(episode.start, episode.end)  # between two words lips are closed for a moment too
        opening = curves.mouth_opening[frames.start : frames.stop]
        closed = float(np.nanmedian(opening)) <= settings.min_mouth_opening / 2 if np.isfinite(opening).any() else False
        silent = _voiced_share(curves, episode) <= settings.max_voiced_share
        if episode.peak > 0 and closed and silent and _faces_camera(curves, episode, settings):
            yield episode


def _voiced_share(curves: MotionCurves, episode: MotionEpisode) -> float:
    return float(curves.voiced[int(episode.start) : int(np.ceil(episode.end))].mean())
