"""Gate: the criteria that a layer must meet before it is used for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xsheet.audit.settings import GateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One gate criterion: a measured value and its limit."""

    name: str
    description: str
    value: float | None  # None: not measured, so it fails
    comparator: Literal["<=", ">="]
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.comparator == "<=" else self.value >= self.limit

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3f}"
        return f"{'pass' if self.passed else 'FAIL'}  {self.name} {value} {self.comparator} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The criteria whose limit is set."""

    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether every criterion passes."""
        return all(one.passed for one in self.criteria)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """Values of the criteria, each 0..1; None if not measurable."""

    structural_error_rate: float | None  # share of annotations that fail a structure check
    movement_not_visible_rate: float | None
    missed_motion_share: float | None
    unusable_response_rate: float | None
    verifiable_share: float | None
    agreement_f1: float | None
    acceptance_rate: float | None


_CRITERIA: Sequence[tuple[str, str, Literal["<=", ">="], str]] = (
    (
        "structural_error_rate",
        "Share of annotations that fail a structure check (A)",
        "<=",
        "max_structural_error_rate",
    ),
    (
        "movement_not_visible_rate",
        "Share of verifiable phases whose claimed movement is not visible (G1, G4)",
        "<=",
        "max_movement_not_visible_rate",
    ),
    ("missed_motion_share", "Share of moving time that no phase covers (G9)", "<=", "max_missed_motion_share"),
    ("unusable_response_rate", "Share of responses that are truncated or invalid", "<=", "max_unusable_response_rate"),
    ("verifiable_share", "Share of phases whose body part is visible", ">=", "min_verifiable_share"),
    ("agreement_f1", "F1 at tIoU 0.5 against the reference layer", ">=", "min_agreement_f1"),
    (
        "acceptance_rate",
        "Acceptance rate of a random sample by reviewers, lower Wilson bound",
        ">=",
        "min_acceptance_rate",
    ),
)


def evaluate_gate(inputs: GateInputs, limits: GateLimits) -> Gate:
    """Compare the inputs with every limit that is set."""
    return Gate(
        criteria=tuple(
            Criterion(
                name=name, description=description, value=getattr(inputs, name), comparator=comparator, limit=limit
            )
            for name, description, comparator, field in _CRITERIA
            if (limit := getattr(limits, field)) is not None
        )
    )
