"""Audit: every check on every annotation of a layer, in one pass of flat memory; then the gate.

    audited = audit(folder, find_layer(folder, "consensus"), AuditSettings())
    audited.gate.passed, audited.judged[0]            # the worst annotation first

Findings are rows of the set. A check that has nothing to look at is silent: an audit of a set without signals, shots or
samples does what it can, and the gate says what it could not measure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet import __version__
from xsheet.audit.agreement.compare import Agreement, compare
from xsheet.audit.agreement.phase_arrays import layer_units
from xsheet.audit.checks.base import Check, View, finding_of
from xsheet.audit.checks.layer import WholeLayer
from xsheet.audit.checks.motion import GROUNDING, missed_us
from xsheet.audit.checks.samples import OTHERS
from xsheet.audit.checks.speech import SPEECH
from xsheet.audit.checks.structure import STRUCTURE
from xsheet.audit.checks.text import TEXT
from xsheet.audit.checks.timeline import TIMELINE
from xsheet.audit.gate import Gate, Measures, gate_of
from xsheet.audit.layer_profile import Replies, replies
from xsheet.audit.scores import RESPECTS, Answer, Judged, judged_of, mean_scores
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import Views
from xsheet.schemas import ids
from xsheet.schemas.annotation import Scores
from xsheet.schemas.layers import LayerRun, write_findings
from xsheet.schemas.review import Finding
from xsheet.schemas.run import Run
from xsheet.schemas.settings import settings_sha256

CHECKS: tuple[Check, ...] = (*STRUCTURE, *TIMELINE, *OTHERS, *TEXT, *GROUNDING, *SPEECH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How one check ended over a layer."""

    check: Check
    passed: int
    failed: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit came to."""

    run: Run
    layer: LayerRun
    gate: Gate
    scores: Scores  # means over the annotations
    judged: tuple[Judged, ...]  # worst first
    checks: tuple[Counted, ...]
    respects: Mapping[str, int]  # phases refuted, by respect: existence, direction, time, class
    replies: Replies
    agreement: Agreement | None = None

    @property
    def phases(self) -> int:
        """All of the layer."""
        return sum(one.phases for one in self.judged)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Checks that found something: id, severity, failed of asked, open, why; errors first."""
        order = {"error": 0, "warning": 1, "info": 2}
        found = sorted(
            (one for one in self.checks if one.failed), key=lambda one: (order[one.check.severity], -one.failed)
        )
        return [
            (
                one.check.id, one.check.severity, f"{one.failed} of {one.failed + one.passed}", str(one.open),
                one.check.why,
            )
            for one in found
        ]  # fmt: skip

    @property
    def findings(self) -> int:
        """Checks that did not pass, remarks among them."""
        return sum(one.failed for one in self.checks)


def answers_of(view: View, settings: AuditSettings) -> list[Answer]:
    """Every answer of every check to one annotation, those that passed among them."""
    return [(check, outcome) for check in CHECKS for outcome in check.judge(view, settings)]


def audit(
    set_folder: Path,
    layer: LayerRun,
    settings: AuditSettings,
    *,
    against: LayerRun | None = None,
    accepted: float | None = None,
) -> Audited:
    """Check a layer, write its findings, and ask the gate.

    Args:
        set_folder: the set.
        layer: what to check.
        settings: limits.
        against: another layer that the gate may compare with.
        accepted: lower bound of what people accept of a random sample, where people looked.

    Raises:
        ContractError: a table that this code does not read.
        OSError: the set cannot be written.
    """
    run, tally = audit_run(layer, settings, against=against), _Tally(settings)
    write_findings(set_folder, run, tally.findings(Views(set_folder, layer), run_id=run.run_id))
    said = replies(layer)
    agreement = None
    if against is not None:
        agreement = compare(layer_units(against), layer_units(layer), rng=np.random.default_rng(0))
    measures = replace(
        tally.measures(),
        unusable=said.share("truncated", "invalid"),
        f1=None if agreement is None else agreement.tracks.at[1].f1.value,
        accepted=accepted,
    )
    return Audited(
        run=run,
        layer=layer,
        gate=gate_of(measures, settings.gate),
        scores=mean_scores(one.scores for one in tally.judged),
        judged=tuple(sorted(tally.judged, key=lambda one: one.badness)),
        checks=tally.counted(),
        respects=dict(tally.respects),
        replies=said,
        agreement=agreement,
    )


def audit_run(layer: LayerRun, settings: AuditSettings, *, against: LayerRun | None = None, kind: str = "audit") -> Run:
    """The run of an audit: its id hashes the layer, the limits and this version."""
    sha256 = settings_sha256(settings)
    key = ids.content_key(kind, __version__, str(layer), sha256, None if against is None else str(against))
    parents = (layer.run.run_id,) if against is None else (layer.run.run_id, against.run.run_id)
    return Run(
        run_id=f"run_{key[:20]}", kind="audit", tool_version=__version__, model=layer.run.model,
        settings_sha256=sha256, parent_run_ids=parents,
    )  # fmt: skip


class _Tally:
    """Counts while the findings go by."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._counts: Counter[tuple[str, bool | None]] = Counter()
        self._broken = 0  # annotations that fail a structural check
        self._whole = WholeLayer(settings)
        self.judged: list[Judged] = []
        self.respects: Counter[str] = Counter()

    def findings(self, views: Views, *, run_id: str) -> Iterator[Finding]:
        """The findings of every annotation in stored order, then those of the layer as a whole."""
        for view in views:
            answers = answers_of(view, self._settings)
            self._count(view, answers)
            for check, outcome in answers:
                if outcome.passed is False:
                    yield finding_of(check, outcome, view.annotation, run_id=run_id)
        yield from self._whole.findings(run_id=run_id)

    def _count(self, view: View, answers: list[Answer]) -> None:
        self._counts.update((check.id, outcome.passed) for check, outcome in answers)
        failed = [(check, outcome) for check, outcome in answers if outcome.passed is False]
        self.respects.update(RESPECTS[check.id] for check, _ in failed if check.id in RESPECTS)
        self._broken += any(check.family == "structure" and check.severity == "error" for check, _ in failed)
        missed = missed_us([outcome for check, outcome in failed if check.id == "G9"])
        self.judged.append(judged_of(view.annotation, answers, missed_us=missed))
        self._whole.add(view)

    def counted(self) -> tuple[Counted, ...]:
        """How every check ended."""
        return tuple(
            Counted(
                check=check, passed=self._counts[check.id, True], failed=self._counts[check.id, False],
                open=self._counts[check.id, None],
            )
            for check in CHECKS
        )  # fmt: skip

    def measures(self) -> Measures:
        """What the gate asks of the annotations themselves."""
        visible = sum(one.visible for one in self.judged)
        moving = sum(one.moving_us for one in self.judged)
        missed = sum(one.missed_us for one in self.judged)
        phases = sum(one.phases for one in self.judged)
        return Measures(
            structure=_share(self._broken, len(self.judged)),
            hallucinated=_share(sum(one.refuted for one in self.judged), visible),
            missed=_share(missed, missed + moving),
            unusable=None,
            verifiable=_share(visible, phases),
            f1=None,
            accepted=None,
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
