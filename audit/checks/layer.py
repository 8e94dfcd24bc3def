"""A layer as a whole: wording that repeats itself, and stated sizes that do not follow the measured ones.

Texts and sizes come from a sample of the annotations, drawn by their ids: flat in memory, and the same in every order.
"""

import gzip
import heapq
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from xsheet.audit.checks.base import Check, Outcome, View, finding_id
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import ids, vocab
from xsheet.schemas.review import Finding, Number

_SAMPLE = 2_000  # annotations; more change no share by a hundredth
_LEAST_LEVELS = 30  # phases of several sizes from which a rank correlation means something
_TOP = 20
_Size = tuple[vocab.Action, int, float]  # class, stated level, measured strength


class WholeLayer:
    """Collects what the layer-wide checks need."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._sample: list[tuple[int, str, list[str], list[_Size]]] = []  # a heap, the largest key first

    def add(self, view: View) -> None:
        """One annotation."""
        annotation = view.annotation
        luck = -int(ids.content_key("sample", annotation.annotation_id)[:12], 16)
        if len(self._sample) >= _SAMPLE and luck <= self._sample[0][0]:
            return
        texts = [phase.text for phase in annotation.phases]
        sizes: list[_Size] = [
            (claim.phase.action, claim.phase.amplitude, abs(claim.strength))
            for claim in view.claims
            if claim.phase.amplitude and claim.strength is not None
            and (claim.seen or 0) >= self._settings.motion.min_seen
        ]  # fmt: skip
        one = (luck, annotation.annotation_id, texts, sizes)
        if len(self._sample) < _SAMPLE:
            heapq.heappush(self._sample, one)
        else:
            heapq.heappushpop(self._sample, one)

    def outcomes(self) -> Iterator[tuple[Check, Outcome]]:
        """The answers of the layer-wide checks."""
        in_order = sorted(self._sample, key=lambda one: one[1])
        texts = [text for one in in_order for text in one[2]]
        limits = self._settings.text
        if texts:
            distinct, top, compression = distinct_2(texts), top_share(texts), compression_ratio(texts)
            yield F11, Outcome(distinct >= limits.min_distinct_2, distinct, limits.min_distinct_2)
            yield F12, Outcome(top <= limits.max_top_20, top, limits.max_top_20)
            yield F13, Outcome(compression <= limits.max_compression, compression, limits.max_compression)
        rho, limit = level_rho([size for one in in_order for size in one[3]]), self._settings.motion.min_level_rho
        yield G10, Outcome(None if rho is None else rho >= limit, rho, limit)

    def findings(self, *, run_id: str) -> Iterator[Finding]:
        """Those that did not pass; they are about no single annotation."""
        for check, outcome in self.outcomes():
            if outcome.passed is False:
                numbers = ((check.number, outcome.value), ("limit", outcome.limit))
                yield Finding(
                    finding_id=finding_id(check.id, run_id), run_id=run_id, check=check.id, severity=check.severity,
                    message=check.says(outcome),
                    evidence=tuple(Number(name=name, value=value) for name, value in numbers if value is not None),
                )  # fmt: skip


def distinct_2(texts: list[str]) -> float:
    """Pairs of neighbouring words that differ, by all pairs (Li et al., 2016); 1 without any."""
    pairs = [pair for text in texts for pair in pairwise(_words(text))]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def top_share(texts: list[str]) -> float:
    """Share of the texts that are one of the 20 most frequent."""
    counts = Counter(" ".join(_words(text)) for text in texts)
    return sum(count for _, count in counts.most_common(_TOP)) / len(texts)


def compression_ratio(texts: list[str]) -> float:
    """Size of all texts by their gzip size: repetition compresses (Shaib et al., 2024)."""
    joined = "\n".join(texts).encode()
    return len(joined) / len(gzip.compress(joined, mtime=0))


def level_rho(sizes: list[_Size]) -> float | None:
    """Spearman's rho of stated levels with measured sizes, ranked within each class; None for too few of them."""
    ranks, levels = [], []
    for action in sorted({size[0] for size in sizes}):
        of_class = [(level, strength) for name, level, strength in sizes if name == action]
        ranks.append(rankdata([strength for _, strength in of_class]) / len(of_class))
        levels.append([level for level, _ in of_class])
    if len(sizes) < _LEAST_LEVELS or len({size[1] for size in sizes}) == 1:
        return None
    # On two columns of ranks it is Pearson's r.
    return float(np.corrcoef(np.concatenate(ranks), rankdata(np.concatenate(levels)))[0, 1])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _nobody(_: View, __: AuditSettings) -> Iterator[Outcome]:
    """These checks ask the layer, not one annotation."""
    return iter(())


F11 = Check(
    id="F11", why="a layer has more to say than a few phrases", severity="info", number="distinct_2", sense=">=",
    judge=_nobody, formula="different pairs of words / pairs of words, of 2 000 annotations (§9-F)",
)  # fmt: skip
F12 = Check(
    id="F12", why="no few texts stand for all", severity="info", number="top_20_share", sense="<=", judge=_nobody,
    formula="share of the 20 most frequent texts (§9-F)",
)  # fmt: skip
F13 = Check(
    id="F13", why="text that repeats itself compresses", severity="info", number="compression", sense="<=",
    judge=_nobody, formula="bytes / gzip bytes (§9-F)",
)  # fmt: skip
G10 = Check(
    id="G10", why="what is called large is larger than what is called small", severity="warning", number="level_rho",
    sense=">=", judge=_nobody, formula="Spearman's rho of amplitude with measured size, ranked within classes (§9-G10)",
)  # fmt: skip
