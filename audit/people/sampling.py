"""Review samples: stratified sampling, sample sizes and Wilson bounds."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from scipy.special import bdtr

from xsheet.schemas.ids import content_key

DECILES = 10
RANDOM_SHARE = 0.1  # of a sample, whatever the score: without it the estimate is of the queue and not of the data


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledClip:
    """A clip for review. Only clips selected at random estimate the whole layer."""

    clip_id: str
    decile: int  # of the score, 0 = the worst tenth
    selection: Literal["random", "stratum"]


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Wilson bounds (1927) of the rate successes / trials; (0, 1) without trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    rate, size = successes / trials, trials + z2
    centre = (successes + z2 / 2) / size
    reach = math.sqrt(z2) / size * math.sqrt(trials * rate * (1 - rate) + z2 / 4)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return low if successes else 0.0, high if successes < trials else 1.0  # else rounding leaves 3e-15


def required_sample_size(max_defect_rate: float, *, allowed_defects: int = 0, confidence: float = 0.95) -> int:
    """Smallest sample in which `allowed_defects` prove a defect rate of at most `max_defect_rate` (exact, one-sided).

    required_sample_size(0.05) is 59: with a defect rate above 5 %, the chance of no defect in 59 is below 5 %.
    """
    if not (0 < max_defect_rate < 1 and 0 < confidence < 1 and allowed_defects >= 0):
        raise ValueError(
            f"expected 0 < rate, confidence < 1 <= 1 + defects, got {max_defect_rate}, {confidence}, {allowed_defects}"
        )
    low, high = allowed_defects, allowed_defects + 1
    while bdtr(allowed_defects, high, max_defect_rate) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if bdtr(allowed_defects, middle, max_defect_rate) <= 1 - confidence else (middle, high)
        )
    return high


def stratified_sample(scores: Mapping[str, float], *, size: int, seed: int) -> tuple[SampledClip, ...]:
    """Clips to review: a tenth at random from all, the rest in equal numbers from each decile of the score.

    The sample depends on the clip ids, scores and seed only, not on their order.
    Clips come worst first, then by name; all of them when the sample is as large as the layer.
    """
    ranked = sorted(scores, key=lambda clip: (scores[clip], clip))
    decile = {clip: place * DECILES // len(ranked) for place, clip in enumerate(ranked)}
    by_hash = sorted(ranked, key=lambda clip: content_key(seed, clip))
    size = min(size, len(ranked))
    at_random = set(by_hash[: math.ceil(RANDOM_SHARE * size)])
    # Round robin, the worst decile first, so that other strata replace an exhausted one.
    turn, turns = dict[str, int](), Counter[int]()
    for clip in by_hash:
        if clip not in at_random:
            turn[clip] = turns[decile[clip]]
            turns[decile[clip]] += 1
    in_turn = sorted(turn, key=lambda clip: (turn[clip], decile[clip]))
    picked = at_random | set(in_turn[: size - len(at_random)])
    return tuple(
        SampledClip(clip_id=clip, decile=decile[clip], selection="random" if clip in at_random else "stratum")
        for clip in ranked
        if clip in picked
    )
