"""Gate: what a layer must keep before anyone trains on it. Each criterion stands beside its limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xsheet.audit.settings import GateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One number that decides, and its limit."""

    name: str
    description: str
    value: float | None  # None: it could not be measured, which does not pass
    comparator: Literal["<=", ">="]
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the number keeps the limit."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.comparator == "<=" else self.value >= self.limit

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3f}"
        return f"{'pass' if self.passed else 'FAIL'}  {self.name} {value} {self.comparator} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All criteria that were asked for."""

    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether every criterion is kept."""
        return all(one.passed for one in self.criteria)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """What the criteria are about, each 0..1; None where nothing could tell."""

    structural_error_rate: float | None  # share of annotations that fail a structural check
    hallucination_rate: float | None
    missed_motion_share: float | None
    unusable_response_rate: float | None
    verifiable_share: float | None
    agreement_f1: float | None
    acceptance_rate: float | None


_CRITERIA: Sequence[tuple[str, str, Literal["<=", ">="], str]] = (
    ("structural_error_rate", "Share of annotations that fail a structure check (A)", "<=", "max_structural_error_rate"),
    ("hallucination_rate", "Share of verifiable phases that motion refutes (G1, G4)", "<=", "max_hallucination_rate"),
    ("missed_motion_share", "Share of moving time that no phase covers (G9)", "<=", "max_missed_motion_share"),
    ("unusable_response_rate", "Share of responses that are truncated or invalid", "<=", "max_unusable_response_rate"),
    ("verifiable_share", "Share of phases whose body part is visible", ">=", "min_verifiable_share"),
    ("agreement_f1", "F1 at tIoU 0.5 against the reference layer", ">=", "min_agreement_f1"),
    ("acceptance_rate", "Acceptance rate of a random sample by reviewers, lower Wilson bound", ">=", "min_acceptance_rate"),
)


def evaluate_gate(inputs: GateInputs, limits: GateLimits) -> Gate:
    """The criteria whose limit is set."""
    return Gate(
        criteria=tuple(
            Criterion(name=name, description=why, value=getattr(inputs, name), comparator=sense, limit=limit)
            for name, why, sense, field in _CRITERIA
            if (limit := getattr(limits, field)) is not None
        )
    )
