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

from xsheet.curate.shots.scores import BLEND_REACH, HISTOGRAM_REACH
from xsheet.schemas import ids
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import CutScore, Shot
from xsheet.schemas.time import CLIP_RATE, span_of_frames
from xsheet.schemas.timeline import Timeline

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LARGEST_RATIO = 255.0  # PySceneDetect's, where everything around a change stands still


class CutSettings(StrictModel):
    """From which scores a frame opens a shot, and which frames belong to a transition."""

    adaptive: float = Field(
        default=3.5,
        ge=1,
        description="content score by the mean around it; best over BBC, AutoShot and ClipShots in PySceneDetect's own "
        "benchmark",
    )
    adaptive_frames: int = Field(
        default=3, ge=1, le=25, description="frames before and after in that mean; same source"
    )
    adaptive_content: float = Field(
        default=15.0, ge=0, le=255, description="least content score of an adaptive cut; PySceneDetect's default"
    )
    content: float = Field(
        default=31.0, ge=0, le=255, description="content score of a cut by itself; PySceneDetect's own benchmark"
    )
    content_adaptive: float = Field(
        default=2.0, ge=0, description="least ratio of such a cut: somebody who walks past the lens scores 38 at 1.7"
    )
    jump: float = Field(
        default=2.3, ge=1, description="jump score by the largest around it; recall in docs/log/curate.md#cuts"
    )
    jump_frames: int = Field(
        default=5, ge=1, le=25, description="frames before and after; a step twice as long comes every 5 in 30 → 25 fps"
    )
    jump_floor: float = Field(
        default=0.7,
        ge=0,
        le=255,
        description="levels; smaller changes around count as this much; below it captions show",
    )
    blend: float = Field(
        default=0.66,
        ge=0,
        le=1,
        description="blend score of a dissolve or fade; at most 0.59 in steady shots, and what stays below in a "
        "dissolve (0.64 once) the histogram finds (docs/log/curate.md#cuts)",
    )
    blend_edge: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="a transition goes on where the blend score is this share of its peak; talk has 0.1 to 0.3",
    )
    histogram: float = Field(
        default=0.12,
        ge=0,
        le=1,
        description="histogram distance of other transitions (pushes, whip pans); at most 0.04 in shots, 0.3 in pushes",
    )
    gradual_frames: int = Field(
        default=4, ge=1, le=25, description="frames that either holds; what passes the lens peaks for fewer"
    )


def find_shots(timeline: Timeline, settings: CutSettings | None = None) -> list[Shot]:
    """The shots of a source in order. Frames of gradual transitions are in none; a flash is a shot of its own.

    A score that was not measured finds nothing; without any, the source is one shot.
    """
    settings = settings or CutSettings()
    if timeline.frames == 0:
        return []
    scores = _Scores.of(timeline, settings)
    cuts = scores.cuts(settings)
    between = scores.gradual(cuts, settings)
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
                cut_scores=scores.said(start, opens_with, settings) if start else (),
            )
        )
    return shots


@dataclass(frozen=True, slots=True)
class _Scores:
    """What every detector says of every frame, (frames,) each."""

    content: Floats
    adaptive: Floats
    jump: Floats
    histogram: Floats
    blend: Floats

    @classmethod
    def of(cls, timeline: Timeline, settings: CutSettings) -> Self:
        content, jump, histogram, blend = (
            np.array(series, np.float64) if series else np.zeros(timeline.frames)
            for series in (timeline.cut_content, timeline.cut_jump, timeline.cut_histogram, timeline.cut_blend)
        )
        return cls(
            content=content,
            adaptive=adaptive_ratio(content, reach=settings.adaptive_frames, least=settings.adaptive_content),
            jump=peak_ratio(jump, reach=settings.jump_frames, floor=settings.jump_floor),
            histogram=histogram,
            blend=blend,
        )

    def cuts(self, settings: CutSettings) -> Flags:
        """Frames that a cut opens."""
        adaptive = (self.adaptive >= settings.adaptive) & (self.content >= settings.adaptive_content)
        content = (self.content >= settings.content) & (self.adaptive >= settings.content_adaptive)
        return np.asarray(adaptive | content | (self.jump >= settings.jump))

    def gradual(self, cuts: Flags, settings: CutSettings) -> Flags:
        """Frames of gradual transitions.

        Where a cut or a dissolve lies between the two histograms, it explains their distance.
        """
        explained = np.zeros(len(cuts), bool)
        for cut in np.flatnonzero(cuts):
            explained[max(0, cut - HISTOGRAM_REACH) : cut + HISTOGRAM_REACH] = True
        between = np.zeros(len(cuts), bool)
        for span in self._spans(self.blend >= settings.blend, settings):
            between[span.start : span.stop] = True
            explained[max(0, span.start - HISTOGRAM_REACH) : span.stop + HISTOGRAM_REACH] = True
        for span in self._spans((self.histogram >= settings.histogram) & ~explained, settings):
            between[span.start : span.stop] = True
        return between

    def _spans(self, flags: Flags, settings: CutSettings) -> Iterator[range]:
        """Runs that hold long enough, with what leads up to them and away from them in the blend score."""
        for core in (run for run in runs(flags) if len(run) >= settings.gradual_frames):
            peak = max(settings.blend, float(self.blend[core.start : core.stop].max()))
            near = self.blend >= settings.blend_edge * peak
            start, stop = core.start, core.stop
            while near[start - 1 : start].any() and start > core.start - 2 * BLEND_REACH:
                start -= 1
            while near[stop : stop + 1].any() and stop < core.stop + 2 * BLEND_REACH:
                stop += 1
            yield range(start, stop)

    def said(self, start: int, opens_with: str, settings: CutSettings) -> tuple[CutScore, ...]:
        """Scores of what opens a shot, whichever of them decided."""
        if opens_with == "gradual":
            before = slice(max(0, start - 2 * HISTOGRAM_REACH), start)
            return (
                CutScore(detector=f"blend@{settings.blend:g}", score=float(self.blend[before].max())),
                CutScore(detector=f"histogram@{settings.histogram:g}", score=float(self.histogram[before].max())),
            )
        return (
            CutScore(detector=f"adaptive@{settings.adaptive:g}", score=float(self.adaptive[start])),
            CutScore(detector=f"content@{settings.content:g}", score=float(self.content[start])),
            CutScore(detector=f"jump@{settings.jump:g}", score=float(self.jump[start])),
        )


def adaptive_ratio(content: Floats, *, reach: int, least: float) -> Floats:
    """PySceneDetect's adaptive ratio: each score by the mean of `reach` scores on both sides.

    Near the ends, where PySceneDetect finds no cut, the mean is over those that exist. Where all around is still, the
    ratio of a score from `least` on is 255, of any other 0.
    """
    mean = _around(content, reach).mean(axis=1).filled(0.0)
    still = mean < 1e-5
    ratio = np.minimum(content / np.where(still, 1.0, mean), _LARGEST_RATIO)
    return np.asarray(np.where(still, np.where(content >= least, _LARGEST_RATIO, 0.0), ratio))


def peak_ratio(scores: Floats, *, reach: int, floor: float) -> Floats:
    """Each score by the largest of `reach` scores on both sides, which counts as at least `floor`."""
    largest = _around(scores, reach).max(axis=1).filled(0.0)
    return np.asarray(np.minimum(scores / np.maximum(largest, max(floor, 1e-6)), _LARGEST_RATIO))


def _around(scores: Floats, reach: int) -> "np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]":
    """The `reach` scores on both sides of each, without itself, (frames, 2 × reach); masked where there are none."""
    padded = np.pad(scores, reach, constant_values=np.nan)
    return np.ma.masked_invalid(np.delete(sliding_window_view(padded, 2 * reach + 1), reach, axis=1))


def runs(flags: Flags) -> list[range]:
    """Unbroken runs of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]
