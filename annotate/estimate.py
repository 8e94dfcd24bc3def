"""What a run would ask, before it asks: calls, tokens, time. Arithmetic from the clips' table; nothing is loaded."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from xsheet.annotate.settings import AnnotateSettings
from xsheet.annotate.vlm.qwen.cost import CostEstimate, estimate_cost
from xsheet.annotate.vlm.qwen.folder import QwenFolder
from xsheet.annotate.vlm.qwen.tokens import QWEN3
from xsheet.schemas import tables
from xsheet.schemas.time import seconds_from_us


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationPlan:
    """What would be asked. Without an estimate no model is asked."""

    annotator: str
    clips: int
    hours: float
    samples: int
    estimate: CostEstimate | None
    family: str | None

    def rows(self) -> list[tuple[str, object]]:
        """Name and value, for a terminal or JSON."""
        rows: list[tuple[str, object]] = [
            ("annotator", self.annotator),
            ("clips", self.clips),
            ("hours", round(self.hours, 3)),
            ("samples per clip", self.samples),
        ]
        if self.estimate is None:
            return [*rows, ("calls of a model", 0)]
        tokens = self.estimate.tokens
        return [
            *rows,
            ("calls", tokens.calls),
            ("vision tokens", tokens.vision),
            ("prompt tokens, vision included", tokens.prompt),
            ("reply tokens, assumed", tokens.reply),
            (f"GPU hours of {self.family} 8B, by arithmetic", round(self.estimate.gpu_seconds / 3600, 2)),
        ]


def plan_annotation(set_folder: Path, settings: AnnotateSettings, *, limit: int | None = None) -> AnnotationPlan:
    """The plan for the clips of a set.

    Raises:
        ConfigError: a folder that holds no model.
    """
    clips = list(islice(tables.iter_records(set_folder, tables.CLIPS), limit))
    hours = seconds_from_us(sum(clip.duration_us for clip in clips)) / 3600
    if not settings.uses_vlm:
        return AnnotationPlan(annotator="motion", clips=len(clips), hours=hours, samples=1, estimate=None, family=None)
    # Which family a server runs is not known; Qwen3-VL is the newer one.
    family = QwenFolder.from_path(settings.qwen.model).family if settings.qwen is not None else QWEN3
    return AnnotationPlan(
        annotator="qwen" if settings.qwen is not None else "endpoint",
        clips=len(clips),
        hours=hours,
        samples=settings.samples,
        estimate=estimate_cost(
            clips, settings.vlm, samples=settings.samples, family=family, as_images=settings.endpoint is not None
        ),
        family=family.name,
    )
