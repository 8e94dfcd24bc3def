"""Loss: what did not get through an export or an import. Nothing is lost without one."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_EXAMPLE_CHARS = 160
MAX_KINDS = 500  # field names may come from a file: whoever writes a million columns gets one line for them


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionLoss:
    """One field that was left out or changed, how often, and the first time as an example."""

    field: (
        str  # as in the contract, e.g. 'phases.evidence'; 'file', 'column', ... for what the contract has no word for
    )
    reason: str
    count: int
    example: str


class LossTally:
    """Losses so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], ConversionLoss] = {}

    def add(self, field: str, reason: str, example: object, *, count: int = 1) -> None:
        """Count a loss; only the first example of a field and reason is kept."""
        before = self._found.get((field, reason))
        if before is None:
            if len(self._found) >= MAX_KINDS and field != "more":
                self.add("more", f"losses beyond {MAX_KINDS} kinds", f"{field}: {example}", count=count)
                return
            # One line of visible characters: it may end in a terminal.
            line = " ".join(str(example).split())[:MAX_EXAMPLE_CHARS]
            shown = "".join(c if c.isprintable() else "\ufffd" for c in line)
            self._found[field, reason] = ConversionLoss(field=field, reason=reason, count=count, example=shown)
        else:
            self._found[field, reason] = ConversionLoss(
                field=field, reason=reason, count=before.count + count, example=before.example
            )

    def losses(self) -> tuple[ConversionLoss, ...]:
        """All of them, by field and reason."""
        return tuple(self._found[key] for key in sorted(self._found))


def merge_losses(losses: Iterable[ConversionLoss]) -> tuple[ConversionLoss, ...]:
    """Losses of several exports or imports as one list."""
    tally = LossTally()
    for one in losses:
        tally.add(one.field, one.reason, one.example, count=one.count)
    return tally.losses()
