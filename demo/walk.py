"""`xsheet demo`: the main job on the puppet corpus, as far as the path is built. Every part adds its step here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from pydantic import Field

from xsheet.curate.discover import discover
from xsheet.curate.limits import MediaLimits
from xsheet.curate.sources import probe_sources
from xsheet.demo.corpus import make_corpus
from xsheet.execute import Execution, Progress
from xsheet.schemas import tables
from xsheet.schemas.manifest import manifest
from xsheet.schemas.sets import create_set
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SourceVideo


class DemoSettings(StrictModel):
    """What the demo makes."""

    clips: int = Field(default=20, ge=1, le=100_000, description="films; twenty hold every kind of fault once")
    seed: int = Field(default=0, ge=0, description="what all randomness follows from")
    size: int = Field(default=256, ge=64, le=1024, multiple_of=2, description="picture height in pixels")
    limits: MediaLimits = Field(default=MediaLimits(), description="limits on what is read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What a demo left behind."""

    corpus: Path
    set_folder: Path
    sources: Sequence[SourceVideo]
    seconds: dict[str, float]


def walk(out: Path, settings: DemoSettings, *, how: Execution, shows_progress: bool = True) -> Walked:
    """Make the corpus, probe it into a set, and leave a manifest. What an earlier run finished is kept."""
    started, seconds = datetime.now(UTC), {}
    corpus, set_folder = out / "corpus", out / "set"

    def progress(what: str) -> Progress | None:
        return Progress(what) if shows_progress else None

    begin = perf_counter()
    make_corpus(
        corpus, clips=settings.clips, seed=settings.seed, size=settings.size, how=how, progress=progress("films")
    )
    seconds["corpus"] = perf_counter() - begin

    begin = perf_counter()
    create_set(set_folder, "demo")
    given = discover([str(corpus / "videos")])
    sources = probe_sources(given, out=set_folder, limits=settings.limits, how=how, progress=progress("probe"))
    tables.write_table(set_folder, tables.SOURCES, sources)
    seconds["probe"] = perf_counter() - begin

    counts = {status: sum(row.status == status for row in sources) for status in ("ok", "rejected", "failed")}
    told = manifest(
        "demo", arguments={"out": out, "jobs": how.jobs, "ray": how.ray}, settings=settings,
        distributions=("xsheet", "av", "numpy", "opencv-contrib-python", "pyarrow"), started=started,
        counts=counts, seconds=seconds,
    )  # fmt: skip
    told.write(set_folder)
    return Walked(corpus=corpus, set_folder=set_folder, sources=sources, seconds=seconds)
