"""Find shots from cut scores: hard cuts, jump cuts and gradual transitions. Pure; reads no pixels.

Hard cuts: PySceneDetect's adaptive rule, or its content rule for strong changes. Jump cuts (same person, same
background): a small change that is large relative to its neighbours. Dissolves and fades: most of the picture changes
evenly. Other gradual transitions: the colours differ before and after, and no cut explains it. Frames of gradual
transitions belong to no shot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.series import series_to_array, true_runs
from xsheet.curate.shots.scores import BLEND_RADIUS, HISTOGRAM_RADIUS
from xsheet.schemas import ids
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import CutScore, Shot, Timeline
from xsheet.schemas.time import CLIP_RATE, span_of_frames

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MAX_RATIO = 255.0  # PySceneDetect's value for a change gradual static frames


class ShotSettings(StrictModel):
    """Thresholds on the cut scores."""

    adaptive_threshold: float = Field(
        default=3.5,
        ge=1,
        description="content score / mean of its neighbours; best over BBC, AutoShot and ClipShots in PySceneDetect's "
        "benchmark",
    )
    adaptive_window_frames: int = Field(
        default=3, ge=1, le=25, description="frames before and after in that mean; same source"
    )
    adaptive_min_content: float = Field(
        default=15.0, ge=0, le=255, description="minimum content score of an adaptive cut; PySceneDetect's default"
    )
    content_threshold: float = Field(
        default=31.0, ge=0, le=255, description="content score of a cut by the content rule; PySceneDetect's benchmark"
    )
    content_min_adaptive: float = Field(
        default=2.0,
        ge=0,
        description="minimum adaptive ratio of such a cut: a person who walks past the lens scores 38 at 1.7",
    )
    jump_threshold: float = Field(
        default=2.3, ge=1, description="jump score / largest neighbour; recall in docs/log/curate.md#cuts"
    )
    jump_window_frames: int = Field(
        default=5,
        ge=1,
        le=25,
        description="neighbours before and after; in 30 → 25 fps every fifth step is twice as long",
    )
    min_jump_reference: float = Field(
        default=0.7,
        ge=0,
        le=255,
        description="luma levels; lower bound of the largest neighbour; below it captions count as jumps",
    )
    blend_threshold: float = Field(
        default=0.66,
        ge=0,
        le=1,
        description="blend score of a dissolve or fade; at most 0.59 inside shots; the histogram finds dissolves "
        "below it (0.64 once) (docs/log/curate.md#cuts)",
    )
    blend_edge_share: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="share of the peak blend score down to which a transition extends; talk has 0.1 to 0.3",
    )
    histogram_threshold: float = Field(
        default=0.12,
        ge=0,
        le=1,
        description="histogram distance of other transitions (pushes, whip pans); at most 0.04 in shots, 0.3 in pushes",
    )
    min_shot_frames: int = Field(
        default=5, ge=1, le=250, description="0.2 s; shorter scraps, as flashes and ends of files have, are no shots"
    )
    min_gradual_frames: int = Field(
        default=4,
        ge=1,
        le=25,
        description="minimum frames of a gradual transition; a person passing the lens peaks for fewer",
    )


def find_shots(timeline: Timeline, settings: ShotSettings | None = None) -> list[Shot]:
    """Find the shots of a source, in order. Frames of gradual transitions and scraps (flashes) are in none.

    Without any score the source is one shot.
    """
    settings = settings or ShotSettings()
    if timeline.frames == 0:
        return []
    scores = _FrameScores.from_timeline(timeline, settings)
    cuts = scores.cut_mask(settings)
    gradual = scores.gradual_mask(cuts, settings)
    after_gradual = np.concatenate([[True], gradual[:-1]])
    starts = np.flatnonzero(~gradual & (cuts | after_gradual))
    # A shot ends where the next shot or a transition begins.
    ends = np.flatnonzero(np.concatenate([gradual | cuts, [True]]))
    shots = []
    for start in starts.tolist():
        frames = range(start, int(ends[np.searchsorted(ends, start, side="right")]))
        if len(frames) < min(settings.min_shot_frames, timeline.frames):
            continue
        span = span_of_frames(frames, CLIP_RATE)
        opens_with: Literal["start", "cut", "gradual"] = "gradual" if after_gradual[start] else "cut"
        shots.append(
            Shot(
                shot_id=ids.shot_id(timeline.source_id, span),
                source_id=timeline.source_id,
                start_us=span.start_us,
                end_us=span.end_us,
                opens_with="start" if start == 0 else opens_with,
                cut_scores=scores.opening_scores(start, opens_with, settings) if start else (),
            )
        )
    return shots


@dataclass(frozen=True, slots=True)
class _FrameScores:
    """Scores of every frame, (frames,) each."""

    content: Floats
    adaptive: Floats
    jump: Floats
    histogram: Floats
    blend: Floats

    @classmethod
    def from_timeline(cls, timeline: Timeline, settings: ShotSettings) -> Self:
        content, jump, histogram, blend = (
            series_to_array(series) if series else np.zeros(timeline.frames)
            for series in (timeline.cut_content, timeline.cut_jump, timeline.cut_histogram, timeline.cut_blend)
        )
        return cls(
            content=content,
            adaptive=adaptive_ratio(
                content, radius=settings.adaptive_window_frames, min_content=settings.adaptive_min_content
            ),
            jump=peak_ratio(jump, radius=settings.jump_window_frames, floor=settings.min_jump_reference),
            histogram=histogram,
            blend=blend,
        )

    def cut_mask(self, settings: ShotSettings) -> Flags:
        """Frames at which a cut opens a shot."""
        adaptive = (self.adaptive >= settings.adaptive_threshold) & (self.content >= settings.adaptive_min_content)
        content = (self.content >= settings.content_threshold) & (self.adaptive >= settings.content_min_adaptive)
        return np.asarray(adaptive | content | (self.jump >= settings.jump_threshold))

    def gradual_mask(self, cuts: Flags, settings: ShotSettings) -> Flags:
        """Frames of gradual transitions.

        A cut or dissolve between two histograms explains their distance, so it is not counted again.
        """
        explained = np.zeros(len(cuts), bool)
        for cut in np.flatnonzero(cuts):
            explained[max(0, cut - HISTOGRAM_RADIUS) : cut + HISTOGRAM_RADIUS] = True
        gradual = np.zeros(len(cuts), bool)
        for span in self._transition_spans(self.blend >= settings.blend_threshold, settings):
            gradual[span.start : span.stop] = True
            explained[max(0, span.start - HISTOGRAM_RADIUS) : span.stop + HISTOGRAM_RADIUS] = True
        for span in self._transition_spans((self.histogram >= settings.histogram_threshold) & ~explained, settings):
            gradual[span.start : span.stop] = True
        return gradual

    def _transition_spans(self, flags: Flags, settings: ShotSettings) -> Iterator[range]:
        """Runs that are long enough, extended by the rise and fall of the blend score around them."""
        for core in (run for run in true_runs(flags) if len(run) >= settings.min_gradual_frames):
            peak = max(settings.blend_threshold, float(self.blend[core.start : core.stop].max()))
            is_rising = self.blend >= settings.blend_edge_share * peak
            start, stop = core.start, core.stop
            while is_rising[start - 1 : start].any() and start > core.start - 2 * BLEND_RADIUS:
                start -= 1
            while is_rising[stop : stop + 1].any() and stop < core.stop + 2 * BLEND_RADIUS:
                stop += 1
            yield range(start, stop)

    def opening_scores(self, start: int, opens_with: str, settings: ShotSettings) -> tuple[CutScore, ...]:
        """Scores of the cut or transition that opens a shot."""
        if opens_with == "gradual":
            preceding = slice(max(0, start - 2 * HISTOGRAM_RADIUS), start)
            return (
                CutScore(detector=f"blend@{settings.blend_threshold:g}", score=float(self.blend[preceding].max())),
                CutScore(
                    detector=f"histogram@{settings.histogram_threshold:g}", score=float(self.histogram[preceding].max())
                ),
            )
        return (
            CutScore(detector=f"adaptive@{settings.adaptive_threshold:g}", score=float(self.adaptive[start])),
            CutScore(detector=f"content@{settings.content_threshold:g}", score=float(self.content[start])),
            CutScore(detector=f"jump@{settings.jump_threshold:g}", score=float(self.jump[start])),
        )


def adaptive_ratio(content: Floats, *, radius: int, min_content: float) -> Floats:
    """PySceneDetect's adaptive ratio: each score divided by the mean of `radius` scores on both sides.

    At the ends the mean is over the existing neighbours. Between static frames the ratio is 255 for scores of at least
    `min_content`, else 0.
    """
    mean = _neighbours(content, radius).mean(axis=1).filled(0.0)
    still = mean < 1e-5
    ratio = np.minimum(content / np.where(still, 1.0, mean), _MAX_RATIO)
    return np.asarray(np.where(still, np.where(content >= min_content, _MAX_RATIO, 0.0), ratio))


def peak_ratio(scores: Floats, *, radius: int, floor: float) -> Floats:
    """Each score divided by the largest of `radius` scores on both sides, at least `floor`."""
    largest = _neighbours(scores, radius).max(axis=1).filled(0.0)
    return np.asarray(np.minimum(scores / np.maximum(largest, max(floor, 1e-6)), _MAX_RATIO))


def _neighbours(scores: Floats, radius: int) -> "np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]":
    """(frames, 2 × radius) scores on both sides of each frame, masked beyond the ends."""
    padded = np.pad(scores, radius, constant_values=np.nan)
    return np.ma.masked_invalid(np.delete(sliding_window_view(padded, 2 * radius + 1), radius, axis=1))
