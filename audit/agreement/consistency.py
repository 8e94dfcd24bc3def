"""Self-consistency: what K samples of one annotator have in common, phase by phase and clip by clip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.audit.agreement.bootstrap import Estimate, estimate, per_clip, ratio, resampled
from xsheet.audit.agreement.matching import matched, overlapping
from xsheet.audit.agreement.phase_arrays import ACTIONS, Floats, Ints, Units, ranges

MIN_TIOU = 0.5  # of a phase that is said to be the same


@dataclass(frozen=True, slots=True, eq=False)
class Consistency:
    """N phases in all samples of C clips; a phase is the same in another sample on the same track at tIoU 0.5."""

    support: Floats  # (N,) share of the clip's samples that have the phase, its own among them
    start_sd_us: Floats  # (N,) spread of its start over those samples; NaN where it stands alone
    end_sd_us: Floats  # (N,)
    class_entropy: Floats  # (N,) nats, of its class over those samples; 0 = all agree
    clip_ids: NDArray[np.str_]  # (C,)
    samples: Ints  # (C,) samples that answered
    f1: Floats  # (C,) mean F1 over pairs of samples; NaN where there is one only, 1 where none saw anything

    def mean_f1(self, rng: np.random.Generator, *, resamples: int = 1_000) -> Estimate:
        """Mean over the clips with two samples or more."""
        clip = np.flatnonzero(np.isfinite(self.f1))
        rows = per_clip(len(self.f1), (clip, np.ones(len(clip))), (clip, self.f1[clip]))
        sums = resampled([{"f1": rows}], resamples=resamples, rng=rng)["f1"]
        return estimate(ratio(sums[:, 1], sums[:, 0]))


def consistency(units: Units) -> Consistency:
    """Consistency of the samples of a layer; `units` holds all samples of a clip, in any order."""
    clip_ids, clip, samples = np.unique(units.clip_ids, return_inverse=True, return_counts=True)
    one, other = _ordered_pairs(clip)
    a, b = units.take(one), units.take(other)
    phase = units.rows(one)[0]  # phases of a, as rows of `units`
    overlaps = overlapping(a, b)
    alike = overlaps.where(np.flatnonzero(overlaps.tiou >= MIN_TIOU))
    alike = alike.where(np.unique(alike.a, return_index=True)[1])  # two halves of one phase are one partner
    here, found = phase[alike.a], np.bincount(phase[alike.a], minlength=len(units))
    late_start = b.start_us[alike.b] - a.start_us[alike.a]
    late_end = b.end_us[alike.b] - a.end_us[alike.a]
    return Consistency(
        support=(1 + found) / samples[clip[units.of]],
        start_sd_us=_spread(late_start, here, found),
        end_sd_us=_spread(late_end, here, found),
        class_entropy=_entropy(np.append(np.arange(len(units)), here), np.append(units.action, b.action[alike.b])),
        clip_ids=clip_ids,
        samples=samples,
        f1=_pairwise_f1(a, b, clip=clip[one], clips=len(clip_ids)),
    )


def _ordered_pairs(clip: Ints) -> tuple[Ints, Ints]:
    """(P,), (P,) all pairs of two different samples of one clip, both ways round."""
    order = np.argsort(clip, kind="stable")
    first = np.searchsorted(clip[order], clip, "left")
    count = np.searchsorted(clip[order], clip, "right") - first
    one, other = np.repeat(np.arange(len(clip)), count), order[ranges(first, count)]
    return one[one != other], other[one != other]


def _pairwise_f1(a: Units, b: Units, *, clip: Ints, clips: int) -> Floats:
    pairs = matched(overlapping(a, b))
    hits = np.bincount(a.of[pairs.a[pairs.tiou >= MIN_TIOU]], minlength=a.clips)
    phases = np.bincount(a.of, minlength=a.clips) + np.bincount(b.of, minlength=b.clips)
    f1 = np.where(phases > 0, ratio(2.0 * hits, phases), 1.0)
    return ratio(np.bincount(clip, weights=f1, minlength=clips), np.bincount(clip, minlength=clips))


def _spread(late_us: Ints, phase: Ints, found: Ints) -> Floats:
    """(N,) standard deviation over a phase (at 0) and those like it, of which there are `found`."""
    total = np.bincount(phase, weights=late_us, minlength=len(found))
    squares = np.bincount(phase, weights=late_us.astype(np.float64) ** 2, minlength=len(found))
    return np.asarray(np.sqrt(np.maximum(ratio(squares - total**2 / (1 + found), found), 0)))


def _entropy(phase: Ints, action: Ints) -> Floats:
    """(N,) nats of the classes said of each phase."""
    kind, count = np.unique(phase * ACTIONS + action, return_counts=True)
    share = count / np.bincount(phase)[kind // ACTIONS]
    # 0.0 + turns the -0.0 of certainty into 0.
    return np.asarray(0.0 + np.bincount(kind // ACTIONS, weights=-share * np.log(share)), np.float64)
