"""How far two layers agree: which phases both have, how well their boundaries meet, and how much of it is chance.

    found = compare(layer_units(gold), layer_units(consensus), rng=np.random.default_rng(0))
    print(found.tracks.at[1].f1)        # F1 at tIoU 0.5: 0.871 [0.862, 0.879]

a is the reference: errors are b - a, precision is that of b. Everything else is the same in either order. One pass over
both layers, a block of clips in memory at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.alpha import alpha, kappa, length_tally
from xsheet.audit.agreement.bootstrap import (
    Estimate,
    Floats,
    Tally,
    Values,
    estimate,
    per_clip,
    ratio,
    resampled,
    tally,
)
from xsheet.audit.agreement.boundaries import TOLERANCES_US, edge_tally, error_tally, percentile_us
from xsheet.audit.agreement.kappa import link_tally, linked_kappa, linked_share
from xsheet.audit.agreement.matching import Pairs, matched, overlapping
from xsheet.audit.agreement.phase_arrays import TRACKS, Units, first_samples, paired
from xsheet.audit.agreement.ranking import mean_average_precision, ranked_tally
from xsheet.audit.agreement.sequence import edit_tally
from xsheet.schemas import vocab

TIOUS = (0.3, 0.5, 0.7)
SEGMENTAL_OVERLAPS = (0.10, 0.25, 0.50)  # of action segmentation (Lea et al., 2017)
RESAMPLES = 1_000  # the ends of a 95 % interval are then the 25th value from either side


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTiou:
    """Phases found when a match needs this much temporal intersection over union."""

    tiou: float
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Phases of a found in b, matched once by the largest sum of tIoU."""

    at: tuple[AtTiou, ...]
    mean_tiou: Estimate  # a phase without a partner counts 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryError:
    """Times of b less times of a, in µs, over phases matched at the lowest tIoU."""

    bias_us: Estimate
    mean_abs_us: Estimate
    p90_abs_us: Estimate  # in steps of half a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackAgreement:
    """One track, over the time of all clips."""

    track: vocab.Track
    phases_a: int
    phases_b: int
    kappa: Estimate  # Cohen's, per frame; idle is a class
    alpha: Estimate  # Krippendorff's uα
    alpha_binary: Estimate  # |uα: acting or idle, whatever the class


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two layers over the clips that both answered, every number with its interval over clips."""

    clips: int
    clips_a: int
    clips_b: int
    phases_a: int  # in the clips of both
    phases_b: int
    tracks: Detection  # matched by track
    classes: Detection  # matched by track and class
    mean_ap: Estimate  # of b, over tIoU .50:.05:.95; null unless all phases of b state a confidence
    start: BoundaryError
    end: BoundaryError
    boundary_f1: tuple[Estimate, ...]  # at TOLERANCES_US
    gebd_f1: Estimate  # at 5 % of the clip
    segmental_f1: tuple[Estimate, ...]  # at SEGMENTAL_OVERLAPS
    edit: Estimate
    linked_share: Estimate  # phases with a partner that covers 60 % of the longer of both
    linked_kappa: Estimate  # of their classes, those without a partner being disagreements
    alpha: Estimate  # uα over all tracks, chance being that within each track
    alpha_binary: Estimate
    by_track: tuple[TrackAgreement, ...]  # those that either layer uses


def compare(
    a: Iterable[Units], b: Iterable[Units], *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Agreement:
    """Agreement of b with the reference a; of K samples of a clip the first is taken."""
    clips = [0, 0]

    def counted(side: int, blocks: Iterable[Units]) -> Iterator[Units]:
        for block in map(first_samples, blocks):
            clips[side] += block.clips
            yield block

    blocks = (_tally(x, y) for x, y in paired(counted(0, a), counted(1, b)))
    sums = resampled(blocks, resamples=resamples, rng=rng)
    return _agreement(sums, clips_a=clips[0], clips_b=clips[1])


def _tally(a: Units, b: Units) -> Tally:
    """All that the numbers follow from, as sums per clip; row k of both is the same clip."""
    overlaps = overlapping(a, b)
    by_track = matched(overlaps)
    by_class = matched(overlaps.where(np.flatnonzero(a.action[overlaps.a] == b.action[overlaps.b])))
    near = by_track.where(np.flatnonzero(by_track.tiou >= TIOUS[0]))
    return {
        "phases": per_clip(a.clips, *((of, np.ones(len(of))) for of in (np.arange(a.clips), a.of, b.of))),
        "track_a": tally(a.of, a.track, np.ones(len(a)), shape=(a.clips, TRACKS)),
        "track_b": tally(b.of, b.track, np.ones(len(b)), shape=(b.clips, TRACKS)),
        "tracks": _match_tally(a, by_track),
        "classes": _match_tally(a, by_class),
        **error_tally(a, b, near),
        "edges": edge_tally(a, b),
        "edit": edit_tally(a, b),
        **link_tally(a, b, overlaps),
        **length_tally((a, b)),
        "ranked": ranked_tally(b, by_class),
    }


_LEVELS = (*SEGMENTAL_OVERLAPS[:2], *TIOUS)  # .1 .25 .3 .5 .7


def _match_tally(a: Units, found: Pairs) -> csr_array:
    """Per clip: matches, their sum of tIoU, and those at each level."""
    clip = a.of[found.a]
    columns: list[Values] = [np.ones(len(clip)), found.tiou, *(found.tiou >= level for level in _LEVELS)]
    return per_clip(a.clips, *((clip, column) for column in columns))


def _agreement(sums: dict[str, Floats], *, clips_a: int, clips_b: int) -> Agreement:
    """The numbers; each is computed on the plain sums and on every resample at once."""
    clips, phases_a, phases_b = (int(count) for count in sums["phases"][0])
    edges_a, edges_b, *near = sums["edges"].T
    boundary = [estimate(ratio(2 * hits, edges_a + edges_b)) for hits in near]
    both = sums["phases"][:, 1] + sums["phases"][:, 2]
    segmental = [sums["classes"][:, 2 + _LEVELS.index(level)] for level in SEGMENTAL_OVERLAPS]
    return Agreement(
        clips=clips,
        clips_a=clips_a,
        clips_b=clips_b,
        phases_a=phases_a,
        phases_b=phases_b,
        tracks=_detection(sums["phases"], sums["tracks"]),
        classes=_detection(sums["phases"], sums["classes"]),
        mean_ap=estimate(mean_average_precision(sums["ranked"], sums["phases"][:, 1], sums["phases"][:, 2])),
        start=_boundary_error(sums["start"], sums["start_sizes"]),
        end=_boundary_error(sums["end"], sums["end_sizes"]),
        boundary_f1=tuple(boundary[: len(TOLERANCES_US)]),
        gebd_f1=boundary[-1],
        segmental_f1=tuple(estimate(ratio(2 * hits, both)) for hits in segmental),
        edit=estimate(ratio(sums["edit"][:, 1], sums["edit"][:, 0])),
        linked_share=estimate(linked_share(sums)),
        linked_kappa=estimate(linked_kappa(sums)),
        alpha=estimate(alpha(sums, observers=2)[1]),
        alpha_binary=estimate(alpha(sums, observers=2, classes=False)[1]),
        by_track=tuple(_by_track(sums)),
    )


def _detection(phases: Floats, found: Floats) -> Detection:
    _, count_a, count_b = phases.T
    matches, overlap = found[:, 0], found[:, 1]
    at = []
    for level in TIOUS:
        hits = found[:, 2 + _LEVELS.index(level)]
        precision, recall, f1 = ratio(hits, count_b), ratio(hits, count_a), ratio(2 * hits, count_a + count_b)
        at.append(AtTiou(tiou=level, precision=estimate(precision), recall=estimate(recall), f1=estimate(f1)))
    return Detection(at=tuple(at), mean_tiou=estimate(ratio(overlap, count_a + count_b - matches)))


def _boundary_error(errors: Floats, sizes: Floats) -> BoundaryError:
    pairs, late, size = errors.T
    return BoundaryError(
        bias_us=estimate(ratio(late, pairs)),
        mean_abs_us=estimate(ratio(size, pairs)),
        p90_abs_us=estimate(percentile_us(sizes, 0.9)),
    )


def _by_track(sums: dict[str, Floats]) -> Iterator[TrackAgreement]:
    phases_a, phases_b = sums["track_a"][0], sums["track_b"][0]
    kappas, alphas = kappa(sums), alpha(sums, observers=2)[0]
    binary = alpha(sums, observers=2, classes=False)[0]
    for k in np.flatnonzero(phases_a + phases_b):
        yield TrackAgreement(
            track=vocab.TRACKS[k],
            phases_a=int(phases_a[k]),
            phases_b=int(phases_b[k]),
            kappa=estimate(kappas[:, k]),
            alpha=estimate(alphas[:, k]),
            alpha_binary=estimate(binary[:, k]),
        )
