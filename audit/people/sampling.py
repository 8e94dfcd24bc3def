"""What to show humans, and what may be concluded from it: stratified samples, sizes, Wilson bounds."""

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
    """A clip for a human to look at. Only those picked at random estimate the whole layer."""

    clip_id: str
    decile: int  # of the score, 0 = the worst tenth
    selection: Literal["random", "stratum"]


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a rate of which `hits` of `looked_at` were seen, two-sided (Wilson, 1927); (0, 1) when none was."""
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= hits <= looked_at, got {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    rate, size = successes / trials, trials + z2
    centre = (successes + z2 / 2) / size
    reach = math.sqrt(z2) / size * math.sqrt(trials * rate * (1 - rate) + z2 / 4)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return low if successes else 0.0, high if successes < trials else 1.0  # else rounding leaves 3e-15


def required_sample_size(max_defect_rate: float, *, allowed_defects: int = 0, confidence: float = 0.95) -> int:
    """Smallest sample in which at most `defects` show that the rate of defects is at most `rate`, one-sided and exact.

    required_sample_size(0.05) is 59: no defect in 59 leaves a chance of 5 % that the rate is above 5 %.
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
    """Clips to look at: a tenth at random from all, the rest in equal numbers from each decile of the score.

    The same clips, scores and seed give the same sample in any order; a clip's luck hangs on its name and the seed.
    Clips come worst first, then by name; all of them when the sample is as large as the layer.
    """
    ranked = sorted(scores, key=lambda clip: (scores[clip], clip))
    decile = {clip: place * DECILES // len(ranked) for place, clip in enumerate(ranked)}
    by_luck = sorted(ranked, key=lambda clip: content_key(seed, clip))
    size = min(size, len(ranked))
    at_random = set(by_luck[: math.ceil(RANDOM_SHARE * size)])
    # In turns, the worst decile first, so that a stratum that runs dry is made up for by the others.
    turn, turns = dict[str, int](), Counter[int]()
    for clip in by_luck:
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
