"""Checks of a whole layer: diversity of the text (F11-F13), stated against measured amplitudes (G10).

They use a sample of the annotations, drawn by annotation id, so that memory is bounded and the order does not matter.
"""

import gzip
import heapq
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult, finding_id
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import EvidenceValue, Finding

_MAX_SAMPLED_ANNOTATIONS = 2_000  # more annotations change no value by 0.01
_MIN_CORRELATION_PHASES = 30  # fewest phases for a meaningful rank correlation
_TOP_TEXTS = 20
_AmplitudeSample = tuple[vocab.Action, int, float]  # class, stated level, measured strength


class LayerStatistics:
    """Collects the input of the layer checks."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._sample: list[tuple[int, str, list[str], list[_AmplitudeSample]]] = []  # heap, largest key first

    def add(self, view: AnnotationView) -> None:
        """Add one annotation."""
        annotation = view.annotation
        sample_key = -int(ids.content_key("sample", annotation.annotation_id)[:12], 16)
        if len(self._sample) >= _MAX_SAMPLED_ANNOTATIONS and sample_key <= self._sample[0][0]:
            return
        texts = [phase.text for phase in annotation.phases]
        sizes: list[_AmplitudeSample] = [
            (claim.phase.action, claim.phase.amplitude, abs(claim.class_strength))
            for claim in view.measured_phases
            if claim.phase.amplitude and claim.class_strength is not None
            and (claim.visible_share or 0) >= self._settings.motion.min_visible_share
        ]  # fmt: skip
        one = (sample_key, annotation.annotation_id, texts, sizes)
        if len(self._sample) < _MAX_SAMPLED_ANNOTATIONS:
            heapq.heappush(self._sample, one)
        else:
            heapq.heappushpop(self._sample, one)

    def results(self) -> Iterator[tuple[Check, CheckResult]]:
        """Results of the layer checks."""
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
        """Findings of the failed layer checks; they belong to no single annotation."""
        for check, result in self.results():
            if result.passed is False:
                numbers = ((check.metric, result.value), ("limit", result.limit))
                yield Finding(
                    finding_id=finding_id(check.id, run_id),
                    run_id=run_id,
                    check=check.id,
                    severity=check.severity,
                    message=check.message(result),
                    evidence=tuple(
                        EvidenceValue(name=name, value=value) for name, value in numbers if value is not None
                    ),
                )


def distinct_2(texts: list[str]) -> float:
    """Distinct bigrams / bigrams (arXiv:1510.03055); 1 without any."""
    pairs = [pair for text in texts for pair in pairwise(_words(text))]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def top_text_share(texts: list[str]) -> float:
    """Share of the texts that are among the 20 most frequent."""
    counts = Counter(" ".join(_words(text)) for text in texts)
    return sum(count for _, count in counts.most_common(_TOP_TEXTS)) / len(texts)


def compression_ratio(texts: list[str]) -> float:
    """Bytes of all texts / their gzip bytes (arXiv:2403.00553)."""
    joined = "\n".join(texts).encode()
    return len(joined) / len(gzip.compress(joined, mtime=0))


def amplitude_correlation(samples: list[_AmplitudeSample]) -> float | None:
    """Spearman's rho of stated levels and measured amplitudes, ranked within each class; None for too few phases."""
    if len(samples) < _MIN_CORRELATION_PHASES or len({size[1] for size in samples}) == 1:
        return None
    from scipy.stats import rankdata  # noqa: PLC0415 - a second of CPU, for layers that state amplitudes only

    ranks, levels = [], []
    for action in sorted({size[0] for size in samples}):
        of_class = [(level, strength) for name, level, strength in samples if name == action]
        ranks.append(rankdata([strength for _, strength in of_class]) / len(of_class))
        levels.append([level for level, _ in of_class])
    # Spearman's rho is Pearson's r of the ranks.
    return float(np.corrcoef(np.concatenate(ranks), rankdata(np.concatenate(levels)))[0, 1])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _no_results(_: AnnotationView, __: AuditSettings) -> Iterator[CheckResult]:
    """Layer checks yield nothing for a single annotation."""
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
