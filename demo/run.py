"""`xsheet demo`: the whole path on a corpus whose truth is known, and the page that tells how it went."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from pydantic import Field

from xsheet.curate.discover import discover
from xsheet.curate.pipeline import Where
from xsheet.demo.corpus import make_corpus
from xsheet.demo.held_out_samples import Unseen, UnseenSettings, draw_unseen
from xsheet.demo.page.page import write_page
from xsheet.demo.page.report_data import gather
from xsheet.runtime.executor import Execution, Progress
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import write_text
from xsheet.workflow import Step, Walked, Ways, steps_to, walk

log = logging.getLogger(__name__)

DemoStep = Literal["films", "samples", "page"] | Step
STEPS: tuple[DemoStep, ...] = ("films", *steps_to("train"), "samples", "page")


class DemoSettings(StrictModel):
    """What the demo makes. The path over it has settings of its own."""

    clips: int = Field(default=20, ge=1, le=100_000, description="films; twenty hold every kind of fault once")
    seed: int = Field(default=0, ge=0, description="what all randomness follows from")
    size: int = Field(
        default=384, ge=64, le=1024, multiple_of=2, description="picture height in pixels; below it faces are too small"
    )
    unseen: UnseenSettings = Field(default=UnseenSettings(), description="what the trained model draws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a demo left behind."""

    corpus: Path
    walked: Walked
    unseen: Unseen | None  # None: nothing was trained, or nothing held out
    page: Path
    seconds: dict[str, float]  # by step, of this run and those before it


def show(
    out: Path,
    settings: DemoSettings,
    ways: Ways,
    *,
    how: Execution,
    shows_progress: bool = True,
    tell: Callable[[DemoStep], None] = lambda _: None,
) -> Shown:
    """Make the corpus, walk the path over it, draw, and write the page. What an earlier run finished is kept.

    Args:
        out: folder for corpus/, set/, samples/ and demo.html.
        settings: what is made.
        ways: settings of the path.
        how: workers of all but training.
        shows_progress: whether the steps show theirs.
        tell: called with every step as it begins.

    Raises:
        XsheetError: what the parts raise; what is finished is kept.
    """
    corpus, samples, page = out / "corpus", out / "samples", out / "demo.html"
    with _timed(out / "seconds.json", tell) as (step, seconds):
        step("films")
        bar = Progress("films") if shows_progress else None
        make_corpus(corpus, clips=settings.clips, seed=settings.seed, size=settings.size, how=how, progress=bar)
        where = Where(set_folder=out / "set", how=how, shows_progress=shows_progress)
        walked = walk(discover([str(corpus / "videos")]), ways, where, until="train", tell=step)
        step("samples")
        unseen = _draw(walked, samples, settings.unseen)
        step("page")
        write_page(gather(corpus, walked, unseen, samples=samples, seconds=seconds), page)
    return Shown(corpus=corpus, walked=walked, unseen=unseen, page=page, seconds=seconds)


def _draw(walked: Walked, samples: Path, settings: UnseenSettings) -> Unseen | None:
    if walked.trained is None:
        return None
    try:
        return draw_unseen(walked.trained.folder, walked.set_folder, samples, settings)
    except ConfigError as error:  # a small corpus may have nothing to hold out; the rest of it can be told
        log.warning("nothing is drawn: %s", error)
        return None


@contextmanager
def _timed(
    file: Path, tell: Callable[[DemoStep], None]
) -> Iterator[tuple[Callable[[DemoStep], None], dict[str, float]]]:
    """Begins a step where the last one ends, and sums up in a file the seconds of all runs, stopped ones too."""
    seconds: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    running: list[tuple[DemoStep, float]] = []

    def end() -> None:
        for name, began in running:
            seconds[name] = round(seconds.get(name, 0.0) + perf_counter() - began, 2)
        running.clear()
        write_text(file, json.dumps(seconds) + "\n")

    def begin(name: DemoStep) -> None:
        end()
        tell(name)
        running.append((name, perf_counter()))

    try:
        yield begin, seconds
    finally:
        end()
