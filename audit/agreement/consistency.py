"""Self-consistency: agreement of K samples of one annotator, per phase and per clip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.audit.agreement.bootstrap import (
    IntervalEstimate,
    bootstrap_sums,
    percentile_interval,
    safe_ratio,
    sum_by_clip,
)
from xsheet.audit.agreement.matching import optimal_matching, overlapping_pairs
from xsheet.audit.agreement.phase_arrays import ACTION_COUNT, Floats, Ints, PhaseArrays, concatenated_ranges

MIN_MATCH_TIOU = 0.5  # from which two phases are the same


@dataclass(frozen=True, slots=True, eq=False)
class SampleConsistency:
    """N phases in all samples of C clips; a phase is the same in another sample on the same track at tIoU 0.5."""

    support: Floats  # (N,) share of the clip's samples that have the phase, its own among them
    start_sd_us: Floats  # (N,) spread of its start over those samples; NaN where it stands alone
    end_sd_us: Floats  # (N,)
    class_entropy: Floats  # (N,) nats, of its class over those samples; 0 = all agree
    clip_ids: NDArray[np.str_]  # (C,)
    sample_counts: Ints  # (C,) samples that answered
    f1: Floats  # (C,) mean F1 over pairs of samples; NaN where there is one only, 1 where none saw anything

    def mean_f1(self, rng: np.random.Generator, *, resamples: int = 1_000) -> IntervalEstimate:
        """Mean over the clips with two samples or more."""
        clip = np.flatnonzero(np.isfinite(self.f1))
        rows = sum_by_clip(len(self.f1), (clip, np.ones(len(clip))), (clip, self.f1[clip]))
        sums = bootstrap_sums([{"f1": rows}], resamples=resamples, rng=rng)["f1"]
        return percentile_interval(safe_ratio(sums[:, 1], sums[:, 0]))


def sample_consistency(table: PhaseArrays) -> SampleConsistency:
    """Consistency of the samples of a layer; `table` holds all samples of a clip, in any order."""
    clip_ids, clip, samples = np.unique(table.clip_ids, return_inverse=True, return_counts=True)
    one, other = _ordered_pairs(clip)
    a, b = table.take(one), table.take(other)
    phase = table.phase_rows(one)[0]  # phases of a, as rows of `table`
    overlaps = overlapping_pairs(a, b)
    alike = overlaps.select(np.flatnonzero(overlaps.tiou >= MIN_MATCH_TIOU))
    alike = alike.select(np.unique(alike.a, return_index=True)[1])  # two halves of one phase are one partner
    here, found = phase[alike.a], np.bincount(phase[alike.a], minlength=len(table))
    late_start = b.start_us[alike.b] - a.start_us[alike.a]
    late_end = b.end_us[alike.b] - a.end_us[alike.a]
    return SampleConsistency(
        support=(1 + found) / samples[clip[table.annotation_index]],
        start_sd_us=_boundary_sd(late_start, here, found),
        end_sd_us=_boundary_sd(late_end, here, found),
        class_entropy=_class_entropy(
            np.append(np.arange(len(table)), here), np.append(table.action, b.action[alike.b])
        ),
        clip_ids=clip_ids,
        sample_counts=samples,
        f1=_pairwise_f1(a, b, clip=clip[one], clips=len(clip_ids)),
    )


def _ordered_pairs(clip: Ints) -> tuple[Ints, Ints]:
    """(P,), (P,) all pairs of two different samples of one clip, both ways round."""
    order = np.argsort(clip, kind="stable")
    first = np.searchsorted(clip[order], clip, "left")
    count = np.searchsorted(clip[order], clip, "right") - first
    one, other = np.repeat(np.arange(len(clip)), count), order[concatenated_ranges(first, count)]
    return one[one != other], other[one != other]


def _pairwise_f1(a: PhaseArrays, b: PhaseArrays, *, clip: Ints, clips: int) -> Floats:
    pairs = optimal_matching(overlapping_pairs(a, b))
    hits = np.bincount(a.annotation_index[pairs.a[pairs.tiou >= MIN_MATCH_TIOU]], minlength=a.annotation_count)
    phases = np.bincount(a.annotation_index, minlength=a.annotation_count) + np.bincount(
        b.annotation_index, minlength=b.annotation_count
    )
    f1 = np.where(phases > 0, safe_ratio(2.0 * hits, phases), 1.0)
    return safe_ratio(np.bincount(clip, weights=f1, minlength=clips), np.bincount(clip, minlength=clips))


def _boundary_sd(offset_us: Ints, phase: Ints, match_counts: Ints) -> Floats:
    """(N,) standard deviation over a phase (at 0) and those like it, of which there are `found`."""
    total = np.bincount(phase, weights=offset_us, minlength=len(match_counts))
    squares = np.bincount(phase, weights=offset_us.astype(np.float64) ** 2, minlength=len(match_counts))
    return np.asarray(np.sqrt(np.maximum(safe_ratio(squares - total**2 / (1 + match_counts), match_counts), 0)))


def _class_entropy(phase: Ints, action: Ints) -> Floats:
    """(N,) nats of the classes that layers give each phase."""
    kind, count = np.unique(phase * ACTION_COUNT + action, return_counts=True)
    share = count / np.bincount(phase)[kind // ACTION_COUNT]
    # 0.0 + turns the -0.0 of certainty into 0.
    return np.asarray(0.0 + np.bincount(kind // ACTION_COUNT, weights=-share * np.log(share)), np.float64)
