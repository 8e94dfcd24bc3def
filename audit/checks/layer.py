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

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult, finding_id
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import EvidenceValue, Finding

_MAX_SAMPLED_ANNOTATIONS = 2_000  # annotations; more change no share by a hundredth
_MIN_CORRELATION_PHASES = 30  # phases of several sizes from which a rank correlation means something
_TOP_TEXTS = 20
_AmplitudeSample = tuple[vocab.Action, int, float]  # class, stated level, measured strength


class LayerStatistics:
    """Collects what the layer-wide checks need."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._sample: list[tuple[int, str, list[str], list[_AmplitudeSample]]] = []  # a heap, the largest key first

    def add(self, view: AnnotationView) -> None:
        """One annotation."""
        annotation = view.annotation
        luck = -int(ids.content_key("sample", annotation.annotation_id)[:12], 16)
        if len(self._sample) >= _MAX_SAMPLED_ANNOTATIONS and luck <= self._sample[0][0]:
            return
        texts = [phase.text for phase in annotation.phases]
        sizes: list[_AmplitudeSample] = [
            (claim.phase.action, claim.phase.amplitude, abs(claim.class_strength))
            for claim in view.measured_phases
            if claim.phase.amplitude and claim.class_strength is not None
            and (claim.visible_share or 0) >= self._settings.motion.min_visible_share
        ]  # fmt: skip
        one = (luck, annotation.annotation_id, texts, sizes)
        if len(self._sample) < _MAX_SAMPLED_ANNOTATIONS:
            heapq.heappush(self._sample, one)
        else:
            heapq.heappushpop(self._sample, one)

    def results(self) -> Iterator[tuple[Check, CheckResult]]:
        """The answers of the layer-wide checks."""
        in_order = sorted(self._sample, key=lambda one: one[1])
        texts = [text for one in in_order for text in one[2]]
        limits = self._settings.text
        if texts:
            distinct, top, compression = distinct_2(texts), top_text_share(texts), compression_ratio(texts)
            yield DISTINCT_BIGRAMS, CheckResult(distinct >= limits.min_distinct_2, distinct, limits.min_distinct_2)
            yield TOP_TEXT_SHARE, CheckResult(top <= limits.max_top_20_share, top, limits.max_top_20_share)
            yield (
                TEXT_COMPRESSION,
                CheckResult(compression <= limits.max_compression_ratio, compression, limits.max_compression_ratio),
            )
        rho, limit = (
            amplitude_correlation([size for one in in_order for size in one[3]]),
            self._settings.motion.min_amplitude_correlation,
        )
        yield AMPLITUDE_CORRELATION, CheckResult(None if rho is None else rho >= limit, rho, limit)

    def findings(self, *, run_id: str) -> Iterator[Finding]:
        """Those that did not pass; they are about no single annotation."""
        for check, outcome in self.results():
            if outcome.passed is False:
                numbers = ((check.metric, outcome.value), ("limit", outcome.limit))
                yield Finding(
                    finding_id=finding_id(check.id, run_id),
                    run_id=run_id,
                    check=check.id,
                    severity=check.severity,
                    message=check.message(outcome),
                    evidence=tuple(
                        EvidenceValue(name=name, value=value) for name, value in numbers if value is not None
                    ),
                )


def distinct_2(texts: list[str]) -> float:
    """Pairs of neighbouring words that differ, by all pairs (Li et al., 2016); 1 without any."""
    pairs = [pair for text in texts for pair in pairwise(_words(text))]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def top_text_share(texts: list[str]) -> float:
    """Share of the texts that are one of the 20 most frequent."""
    counts = Counter(" ".join(_words(text)) for text in texts)
    return sum(count for _, count in counts.most_common(_TOP_TEXTS)) / len(texts)


def compression_ratio(texts: list[str]) -> float:
    """Size of all texts by their gzip size: repetition compresses (Shaib et al., 2024)."""
    joined = "\n".join(texts).encode()
    return len(joined) / len(gzip.compress(joined, mtime=0))


def amplitude_correlation(samples: list[_AmplitudeSample]) -> float | None:
    """Spearman's rho of stated levels with measured sizes, ranked within each class; None for too few of them."""
    ranks, levels = [], []
    for action in sorted({size[0] for size in samples}):
        of_class = [(level, strength) for name, level, strength in samples if name == action]
        ranks.append(rankdata([strength for _, strength in of_class]) / len(of_class))
        levels.append([level for level, _ in of_class])
    if len(samples) < _MIN_CORRELATION_PHASES or len({size[1] for size in samples}) == 1:
        return None
    # On two columns of ranks it is Pearson's r.
    return float(np.corrcoef(np.concatenate(ranks), rankdata(np.concatenate(levels)))[0, 1])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _no_results(_: AnnotationView, __: AuditSettings) -> Iterator[CheckResult]:
    """These checks ask the layer, not one annotation."""
    return iter(())


DISTINCT_BIGRAMS = Check(
    id="F11",
    requirement="The phase texts of a layer are diverse",
    severity="info",
    metric="distinct_2_ratio",
    comparator=">=",
    evaluate=_no_results,
    formula="distinct-2: distinct bigrams / bigrams, over a sample of 2,000 annotations (arXiv:1510.03055)",
)
TOP_TEXT_SHARE = Check(
    id="F12",
    requirement="No small set of texts dominates the layer",
    severity="info",
    metric="top_20_share",
    comparator="<=",
    evaluate=_no_results,
    formula="share of the 20 most frequent phase texts",
)
TEXT_COMPRESSION = Check(
    id="F13",
    requirement="The phase texts of a layer are not repetitive",
    severity="info",
    metric="compression_ratio",
    comparator="<=",
    evaluate=_no_results,
    formula="uncompressed bytes / gzip bytes (arXiv:2403.00553)",
)
AMPLITUDE_CORRELATION = Check(
    id="G10",
    requirement="Stated amplitudes correlate with measured amplitudes",
    severity="warning",
    metric="amplitude_correlation",
    comparator=">=",
    evaluate=_no_results,
    formula="Spearman's rho of stated amplitude level and measured amplitude, ranked within each class",
)
