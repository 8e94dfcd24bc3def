"""What a trained model can do, on clips it never saw: an action bench in our own measure.

    done = evaluate(run_folder, set_folder, EvaluateSettings())
    print(done.table())

Every held-out clip is drawn anew from its first picture, its sound and its sheet, and read as real clips are: faces to
signals, signals to phases. Beside each number stands the ceiling: what the same reader says of the real clip after it
went through the codec alone.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.layers import find_layer
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SplitName
from xsheet.schemas.tables import write_text
from xsheet.schemas.time import Span
from xsheet.train.data.cache.build import Cache, open_cache
from xsheet.train.data.cache.fingerprint import recipe_of
from xsheet.train.data.texts import tell
from xsheet.train.evaluate.analyse import Looked, look
from xsheet.train.evaluate.held_out import HeldOut, held_out, pictures_of
from xsheet.train.evaluate.readers import MeshReader, Pictures, ReaderSettings, Reads, fitted_reader
from xsheet.train.evaluate.scores import (
    MouthScore,
    PhaseScore,
    by_habit,
    changed_phases,
    exchanged,
    recast,
    score_phases,
)
from xsheet.train.sample.sampler import SampleSettings, Trained, Wish, open_trained
from xsheet.train.settings import StageName

log = logging.getLogger(__name__)

T = TypeVar("T")

MESH_PX = 256
"""Least height of a picture in which a mesh follows faces; smaller ones want a fitted one (docs/log/train.md#tiny)."""
_RESAMPLED = 1000  # times the clips are drawn again for an interval


class EvaluateSettings(StrictModel):
    """What is drawn and how it is read."""

    split: SplitName = Field(default="test", description="clips that training did not see")
    clips: int = Field(default=32, ge=2, le=10_000, description="at most; a third of them gives wide intervals")
    batch: int = Field(default=16, ge=1, description="samples drawn at once")
    sample: SampleSettings = Field(default=SampleSettings(), description="how they are drawn")
    reader: Literal["mesh", "fitted"] | None = Field(
        default=None, description="who reads; null = by the picture's size"
    )
    fitting: ReaderSettings = Field(default=ReaderSettings(), description="of the fitted reader")
    exchange: bool = Field(
        default=True, description="draw each sheet again with two of its actions exchanged, and with one from elsewhere"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """One clip, drawn or real."""

    clip_id: str
    phases: tuple[PhaseScore, ...]
    mouth: MouthScore
    drift: float  # see looking.Looked


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One sheet with other actions; both videos are held against the changed sheet."""

    clip_id: str
    kept: tuple[PhaseScore, ...]  # of the video from the sheet as it was: what chance and habit give
    moved: tuple[PhaseScore, ...]  # of the video from the changed one


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A mean over phases or clips with its 95 % interval, clips drawn again with replacement."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation."""

    samples: tuple[ClipScore, ...]
    ceiling: tuple[ClipScore, ...]
    exchanges: tuple[Exchange, ...] = ()  # two actions of a sheet in each other's time
    recasts: tuple[Exchange, ...] = ()  # an action of another sheet in place of one
    habits: tuple[tuple[PhaseScore, ...], ...] = ()  # per clip, in the video of another sheet with the same action

    def numbers(self) -> dict[str, tuple[Number | None, Number | None]]:
        """Samples and ceiling by measure."""
        told = {name: (_mean(self.samples, of), _mean(self.ceiling, of)) for name, of in _MEASURES.items()}
        for name, changed in (("exchanged", self.exchanges), ("recast", self.recasts)):
            told[f"{name}: class right"] = (_mean(changed, lambda e: [p.named for p in e.moved]), None)
            told[f"not {name}: class right"] = (_mean(changed, lambda e: [p.named for p in e.kept]), None)
        told["another sheet's video: tIoU of hits"] = (_mean(self.habits, _tious), None)
        told["another sheet's video: start error of hits, s"] = (_mean(self.habits, _start_errors), None)
        return told

    def table(self) -> str:
        """The numbers in Markdown."""
        rows = ["| measure | samples | ceiling | of |", "|---|---|---|---|"]
        for name, (ours, best) in self.numbers().items():
            rows.append(f"| {name} | {_told(ours)} | {_told(best)} | {0 if ours is None else ours.count} |")
        return "\n".join(rows)

    def write(self, file: Path) -> None:
        """Everything as JSON."""
        numbers = {name: [n and asdict(n) for n in pair] for name, pair in self.numbers().items()}
        write_text(file, json.dumps({"numbers": numbers} | asdict(self), indent=1) + "\n")


def evaluate(
    run: Path, set_folder: Path, settings: EvaluateSettings, *, stage: StageName = "stage2", device: str = "cpu"
) -> Evaluation:
    """Draw held-out sheets, read them, and score them.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    trained = open_trained(run, stage=stage, device=device)
    cache = cache_of(trained, set_folder)
    reads = _reads(cache, trained, settings)
    rate = trained.settings.cache.picture.rate
    samples: list[ClipScore] = []
    ceiling: list[ClipScore] = []
    exchanges: list[Exchange] = []
    recasts: list[Exchange] = []
    asked: list[list[Phase]] = []
    found: list[tuple[Phase, ...]] = []
    for some in _chunks(held_out(cache, split=settings.split, limit=settings.clips), settings.batch):
        pictures = trained.draw([wish_for(clip, clip.said, trained) for clip in some], settings.sample)
        drawn = [look(clip, shown, reads=reads, rate=rate) for clip, shown in zip(some, pictures, strict=True)]
        real = [look(clip, _decoded(trained, clip), reads=reads, rate=rate) for clip in some]
        samples += [_score(clip, looked) for clip, looked in zip(some, drawn, strict=True)]
        asked += [_asked(clip) for clip in some]
        found += [looked.phases for looked in drawn]
        ceiling += [_score(clip, looked) for clip, looked in zip(some, real, strict=True)]
        if settings.exchange:
            next_ones = [*some[1:], some[0]]
            others = [recast(clip.said, other.said) for clip, other in zip(some, next_ones, strict=True)]
            exchanges += _changed(trained, some, drawn, [exchanged(clip.said) for clip in some], reads, settings)
            recasts += _changed(trained, some, drawn, others, reads, settings)
        log.info("%d clips drawn and read", len(samples))
    return Evaluation(
        samples=tuple(samples), ceiling=tuple(ceiling), exchanges=tuple(exchanges), recasts=tuple(recasts),
        habits=tuple(by_habit(asked, found)),
    )  # fmt: skip


def cache_of(trained: Trained, set_folder: Path) -> Cache:
    """The cache that a model was trained from."""
    wanted = trained.settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return open_cache(set_folder, recipe_of(trained.settings.cache, trained.encoders, layer=layer))


def wish_for(clip: HeldOut, said: Annotation, trained: Trained) -> Wish:
    """A held-out clip's first picture and sound, with what is to happen."""
    shown, cached = trained.settings.stage(trained.stage).shown, trained.settings.cache
    told = tell(
        said, Span(0, said.duration_us), forms=(shown.text,), encoder=trained.encoders.text, policy=cached.text.blocks,
        rate=cached.picture.rate,
    )  # fmt: skip
    frames = clip.latent_CFHW.shape[1]
    return Wish(
        name=clip.clip.clip_id,
        first_C1HW=clip.latent_CFHW[:, :1],
        audio_TLQ=clip.audio_TLQ,
        told=told[shown.text],
        # Where the face is in the first picture: where it goes is the model's to say.
        face_FHW=clip.face_FHW[:1].expand(frames, -1, -1),
        mouth_FHW=clip.mouth_FHW[:1].expand(frames, -1, -1),
        identity_X=clip.identity_X,
    )


def _decoded(trained: Trained, clip: HeldOut) -> Pictures:
    """The real clip as the codec gives it back."""
    pictures: Pictures = trained.encoders.video.decode(clip.latent_CFHW[None])[0].cpu().numpy()
    return pictures


def _score(clip: HeldOut, looked: Looked) -> ClipScore:
    return ClipScore(
        clip_id=clip.clip.clip_id,
        phases=tuple(score_phases(_asked(clip), looked.phases)),
        mouth=looked.mouth,
        drift=looked.drift,
    )


def _asked(clip: HeldOut) -> list[Phase]:
    """What the sheet asks for and the pictures show whole."""
    return [phase for phase in clip.said.phases if phase.phase_id in clip.whole]


def _changed(
    trained: Trained,
    clips: Sequence[HeldOut],
    drawn: Sequence[Looked],
    sheets: Sequence[Annotation | None],
    reads: Reads,
    settings: EvaluateSettings,
) -> Iterator[Exchange]:
    """The same noise, picture and sound; only the sheet is another. Clips without another sheet are left out."""
    triples = zip(clips, drawn, sheets, strict=True)
    asked = [(clip, before, said) for clip, before, said in triples if said is not None]
    if not asked:
        return
    pictures = trained.draw([wish_for(clip, said, trained) for clip, _, said in asked], settings.sample)
    rate = trained.settings.cache.picture.rate
    for (clip, before, said), shown in zip(asked, pictures, strict=True):
        changed = changed_phases(clip.said, said)
        after = look(clip, shown, reads=reads, rate=rate)
        yield Exchange(
            clip_id=clip.clip.clip_id,
            kept=tuple(score_phases(changed, before.phases)),
            moved=tuple(score_phases(changed, after.phases)),
        )


def _reads(cache: Cache, trained: Trained, settings: EvaluateSettings) -> Reads:
    picture = pictures_of(cache)
    who = settings.reader or ("mesh" if min(min(size) for size in picture.sizes) >= MESH_PX else "fitted")
    if who == "mesh":
        return MeshReader(picture.rate)
    return fitted_reader(cache, trained.encoders.video, settings.fitting)


def _chunks(clips: Iterator[HeldOut], size: int) -> Iterator[list[HeldOut]]:
    """Clips of one size of picture and length, some at a time."""
    waiting: dict[tuple[int, ...], list[HeldOut]] = {}
    for clip in clips:
        alike = waiting.setdefault(tuple(clip.latent_CFHW.shape), [])
        alike.append(clip)
        if len(alike) == size:
            yield waiting.pop(tuple(clip.latent_CFHW.shape))
    yield from waiting.values()


Values = Sequence[float | None]
_MEASURES: dict[str, Callable[[ClipScore], Values]] = {
    "class right": lambda clip: [p.named for p in clip.phases],
    "hit (H@S)": lambda clip: [p.hit for p in clip.phases],
    "tIoU of hits": lambda clip: _tious(clip.phases),
    "start error of hits, s": lambda clip: _start_errors(clip.phases),
    "mouth r": lambda clip: [clip.mouth.r],
    "lips and sound agree, deviations": lambda clip: [clip.mouth.confidence],
    "offset within 3 frames": lambda clip: [clip.mouth.in_sync],
    "colour drift, levels": lambda clip: [clip.drift],
}


def _tious(phases: Sequence[PhaseScore]) -> Values:
    return [p.tiou for p in phases if p.hit]


def _start_errors(phases: Sequence[PhaseScore]) -> Values:
    return [p.start_error_s for p in phases]


def _mean(scored: Sequence[T], of: Callable[[T], Values]) -> Number | None:
    """Over all values of all clips; None without one. Clips are drawn again whole, for their phases hang together."""
    per_clip = [[float(value) for value in of(one) if value is not None] for one in scored]
    sums = np.array([[sum(values), len(values)] for values in per_clip], np.float64).reshape(-1, 2)
    if not sums[:, 1].any():
        return None
    rng = np.random.default_rng(0)
    again = sums[rng.integers(len(sums), size=(_RESAMPLED, len(sums)))].sum(1)
    again = again[again[:, 1] > 0]
    low, high = np.quantile(again[:, 0] / again[:, 1], (0.025, 0.975))
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return Number(mean=float(mean), low=float(low), high=float(high), count=int(sums[:, 1].sum()))


def _told(number: Number | None) -> str:
    return "" if number is None else f"{number.mean:.2f} ({number.low:.2f}..{number.high:.2f})"
