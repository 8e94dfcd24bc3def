"""`xsheet demo`: the main job on the puppet corpus, as far as the path is built. Every part adds its step here."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pydantic import Field

from xsheet.annotate.audit.accept import Accepted, accept
from xsheet.annotate.audit.report.page import write_report as write_audit
from xsheet.annotate.audit.settings import AuditSettings
from xsheet.annotate.pipeline import Annotated, annotate
from xsheet.annotate.settings import AnnotateSettings
from xsheet.curate.discover import discover
from xsheet.curate.pipeline import Curated, Where, curate
from xsheet.curate.report.page import write_report
from xsheet.curate.settings import CurateSettings
from xsheet.demo.corpus import make_corpus
from xsheet.execute import Execution, Progress
from xsheet.schemas.settings import StrictModel


class DemoSettings(StrictModel):
    """What the demo makes."""

    clips: int = Field(default=20, ge=1, le=100_000, description="films; twenty hold every kind of fault once")
    seed: int = Field(default=0, ge=0, description="what all randomness follows from")
    size: int = Field(
        default=384, ge=64, le=1024, multiple_of=2, description="picture height in pixels; below it faces are too small"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What a demo left behind."""

    corpus: Path
    set_folder: Path
    page: Path
    curated: Curated
    annotated: Annotated | None  # None: no clip was kept
    accepted: Accepted | None
    audit_page: Path | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Settings of every part."""

    demo: DemoSettings
    curation: CurateSettings
    annotation: AnnotateSettings
    audit: AuditSettings


def walk(out: Path, ways: Ways, *, how: Execution, shows_progress: bool = True) -> Walked:
    """Make the corpus, curate it, annotate what is kept, audit that. What an earlier run finished is kept."""
    corpus, set_folder = out / "corpus", out / "set"
    begin, settings = perf_counter(), ways.demo
    bar = Progress("films") if shows_progress else None
    make_corpus(corpus, clips=settings.clips, seed=settings.seed, size=settings.size, how=how, progress=bar)
    seconds = {"corpus": perf_counter() - begin}
    where = Where(set_folder=set_folder, how=how, shows_progress=shows_progress)
    curated = curate(discover([str(corpus / "videos")]), ways.curation, where)
    seconds |= curated.seconds
    page = set_folder / "report.html"
    write_report(set_folder, page)
    annotated = accepted = audit_page = None
    if curated.counts["clips"]:
        annotated = annotate(set_folder, ways.annotation, how=how, shows_progress=shows_progress)
        begin = perf_counter()
        accepted = accept(set_folder, annotated.consensus, ways.audit)
        audit_page = write_audit(set_folder, accepted.audited, set_folder / "audit.html", how=how)
        seconds |= {"annotate": annotated.seconds, "audit": perf_counter() - begin}
    return Walked(
        corpus=corpus, set_folder=set_folder, page=page, curated=curated, annotated=annotated, accepted=accepted,
        audit_page=audit_page, seconds=seconds,
    )  # fmt: skip
