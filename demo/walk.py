"""`xsheet demo`: the whole path on a corpus whose truth is known."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pydantic import Field

from xsheet.curate.discover import discover
from xsheet.curate.pipeline import Where
from xsheet.demo.corpus import make_corpus
from xsheet.execute import Execution, Progress
from xsheet.path import Walked, Ways, walk
from xsheet.schemas.settings import StrictModel


class DemoSettings(StrictModel):
    """What the demo makes."""

    clips: int = Field(default=20, ge=1, le=100_000, description="films; twenty hold every kind of fault once")
    seed: int = Field(default=0, ge=0, description="what all randomness follows from")
    size: int = Field(
        default=384, ge=64, le=1024, multiple_of=2, description="picture height in pixels; below it faces are too small"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a demo left behind."""

    corpus: Path
    corpus_s: float
    walked: Walked


def show(out: Path, settings: DemoSettings, ways: Ways, *, how: Execution, shows_progress: bool = True) -> Shown:
    """Make the corpus and walk the path over it. What an earlier run finished is kept."""
    corpus, begin = out / "corpus", perf_counter()
    bar = Progress("films") if shows_progress else None
    make_corpus(corpus, clips=settings.clips, seed=settings.seed, size=settings.size, how=how, progress=bar)
    corpus_s = perf_counter() - begin
    where = Where(set_folder=out / "set", how=how, shows_progress=shows_progress)
    walked = walk(discover([str(corpus / "videos")]), ways, where, until="train")
    return Shown(corpus=corpus, corpus_s=corpus_s, walked=walked)
