"""Shots out of cut scores: hard cuts, jump cuts and gradual transitions. Pure: no pictures, no second decode.

A hard cut is found by PySceneDetect's adaptive rule, or by its content rule where the change stands out a good deal. A
jump cut (the same person against the same wall) is small, but stands out among all changes around it. In a dissolve or
a fade most of the picture changes evenly; any other gradual transition ends with other colours than it began with, and
no cut explains why. Frames of transitions belong to no shot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.shots.scores import BLEND_RADIUS, HISTOGRAM_RADIUS
from xsheet.schemas import ids
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import CutScore, Shot, Timeline
from xsheet.schemas.time import CLIP_RATE, span_of_frames

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MAX_RATIO = 255.0  # PySceneDetect's, where everything around a change stands still


class ShotSettings(StrictModel):
    """From which scores a frame opens a shot, and which frames belong to a transition."""

    adaptive_threshold: float = Field(
        default=3.5,
        ge=1,
        description="content score by the mean around it; best over BBC, AutoShot and ClipShots in PySceneDetect's own "
        "benchmark",
    )
    adaptive_window_frames: int = Field(
        default=3, ge=1, le=25, description="frames before and after in that mean; same source"
    )
    adaptive_min_content: float = Field(
        default=15.0, ge=0, le=255, description="least content score of an adaptive cut; PySceneDetect's default"
    )
    content_threshold: float = Field(
        default=31.0, ge=0, le=255, description="content score of a cut by itself; PySceneDetect's own benchmark"
    )
    content_min_adaptive: float = Field(
        default=2.0, ge=0, description="least ratio of such a cut: somebody who walks past the lens scores 38 at 1.7"
    )
    jump_threshold: float = Field(
        default=2.3, ge=1, description="jump score by the largest around it; recall in docs/log/curate.md#cuts"
    )
    jump_window_frames: int = Field(
        default=5, ge=1, le=25, description="frames before and after; a step twice as long comes every 5 in 30 → 25 fps"
    )
    min_jump_reference: float = Field(
        default=0.7,
        ge=0,
        le=255,
        description="levels; smaller changes around count as this much; below it captions show",
    )
    blend_threshold: float = Field(
        default=0.66,
        ge=0,
        le=1,
        description="blend score of a dissolve or fade; at most 0.59 in steady shots, and what stays below in a "
        "dissolve (0.64 once) the histogram finds (docs/log/curate.md#cuts)",
    )
    blend_edge_share: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="a transition goes on where the blend score is this share of its peak; talk has 0.1 to 0.3",
    )
    histogram_threshold: float = Field(
        default=0.12,
        ge=0,
        le=1,
        description="histogram distance of other transitions (pushes, whip pans); at most 0.04 in shots, 0.3 in pushes",
    )
    min_gradual_frames: int = Field(
        default=4, ge=1, le=25, description="frames that either holds; what passes the lens peaks for fewer"
    )


def find_shots(timeline: Timeline, settings: ShotSettings | None = None) -> list[Shot]:
    """The shots of a source in order. Frames of gradual transitions are in none; a flash is a shot of its own.

    A score that was not measured finds nothing; without any, the source is one shot.
    """
    settings = settings or ShotSettings()
    if timeline.frames == 0:
        return []
    scores = _FrameScores.from_timeline(timeline, settings)
    cuts = scores.cut_mask(settings)
    between = scores.gradual_mask(cuts, settings)
    after_between = np.concatenate([[True], between[:-1]])
    starts = np.flatnonzero(~between & (cuts | after_between))
    # A shot ends where the next one or a transition begins.
    ends = np.flatnonzero(np.concatenate([between | cuts, [True]]))
    shots = []
    for start in starts.tolist():
        frames = range(start, int(ends[np.searchsorted(ends, start, side="right")]))
        span = span_of_frames(frames, CLIP_RATE)
        opens_with: Literal["start", "cut", "gradual"] = "gradual" if after_between[start] else "cut"
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
    """What every detector says of every frame, (frames,) each."""

    content: Floats
    adaptive: Floats
    jump: Floats
    histogram: Floats
    blend: Floats

    @classmethod
    def from_timeline(cls, timeline: Timeline, settings: ShotSettings) -> Self:
        content, jump, histogram, blend = (
            np.array(series, np.float64) if series else np.zeros(timeline.frames)
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
        """Frames that a cut opens."""
        adaptive = (self.adaptive >= settings.adaptive_threshold) & (self.content >= settings.adaptive_min_content)
        content = (self.content >= settings.content_threshold) & (self.adaptive >= settings.content_min_adaptive)
        return np.asarray(adaptive | content | (self.jump >= settings.jump_threshold))

    def gradual_mask(self, cuts: Flags, settings: ShotSettings) -> Flags:
        """Frames of gradual transitions.

        Where a cut or a dissolve lies between the two histograms, it explains their distance.
        """
        explained = np.zeros(len(cuts), bool)
        for cut in np.flatnonzero(cuts):
            explained[max(0, cut - HISTOGRAM_RADIUS) : cut + HISTOGRAM_RADIUS] = True
        between = np.zeros(len(cuts), bool)
        for span in self._transition_spans(self.blend >= settings.blend_threshold, settings):
            between[span.start : span.stop] = True
            explained[max(0, span.start - HISTOGRAM_RADIUS) : span.stop + HISTOGRAM_RADIUS] = True
        for span in self._transition_spans((self.histogram >= settings.histogram_threshold) & ~explained, settings):
            between[span.start : span.stop] = True
        return between

    def _transition_spans(self, flags: Flags, settings: ShotSettings) -> Iterator[range]:
        """Runs that hold long enough, with what leads up to them and away from them in the blend score."""
        for core in (run for run in true_runs(flags) if len(run) >= settings.min_gradual_frames):
            peak = max(settings.blend_threshold, float(self.blend[core.start : core.stop].max()))
            near = self.blend >= settings.blend_edge_share * peak
            start, stop = core.start, core.stop
            while near[start - 1 : start].any() and start > core.start - 2 * BLEND_RADIUS:
                start -= 1
            while near[stop : stop + 1].any() and stop < core.stop + 2 * BLEND_RADIUS:
                stop += 1
            yield range(start, stop)

    def opening_scores(self, start: int, opens_with: str, settings: ShotSettings) -> tuple[CutScore, ...]:
        """Scores of what opens a shot, whichever of them decided."""
        if opens_with == "gradual":
            before = slice(max(0, start - 2 * HISTOGRAM_RADIUS), start)
            return (
                CutScore(detector=f"blend@{settings.blend_threshold:g}", score=float(self.blend[before].max())),
                CutScore(
                    detector=f"histogram@{settings.histogram_threshold:g}", score=float(self.histogram[before].max())
                ),
            )
        return (
            CutScore(detector=f"adaptive@{settings.adaptive_threshold:g}", score=float(self.adaptive[start])),
            CutScore(detector=f"content@{settings.content_threshold:g}", score=float(self.content[start])),
            CutScore(detector=f"jump@{settings.jump_threshold:g}", score=float(self.jump[start])),
        )


def adaptive_ratio(content: Floats, *, radius: int, min_content: float) -> Floats:
    """PySceneDetect's adaptive ratio: each score by the mean of `reach` scores on both sides.

    Near the ends, where PySceneDetect finds no cut, the mean is over those that exist. Where all around is still, the
    ratio of a score from `least` on is 255, of any other 0.
    """
    mean = _neighbours(content, radius).mean(axis=1).filled(0.0)
    still = mean < 1e-5
    ratio = np.minimum(content / np.where(still, 1.0, mean), _MAX_RATIO)
    return np.asarray(np.where(still, np.where(content >= min_content, _MAX_RATIO, 0.0), ratio))


def peak_ratio(scores: Floats, *, radius: int, floor: float) -> Floats:
    """Each score by the largest of `reach` scores on both sides, which counts as at least `floor`."""
    largest = _neighbours(scores, radius).max(axis=1).filled(0.0)
    return np.asarray(np.minimum(scores / np.maximum(largest, max(floor, 1e-6)), _MAX_RATIO))


def _neighbours(scores: Floats, radius: int) -> "np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]":
    """The `reach` scores on both sides of each, without itself, (frames, 2 × reach); masked where there are none."""
    padded = np.pad(scores, radius, constant_values=np.nan)
    return np.ma.masked_invalid(np.delete(sliding_window_view(padded, 2 * radius + 1), radius, axis=1))


def true_runs(flags: Flags) -> list[range]:
    """Unbroken runs of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]
