"""What a trained model can do, on clips it never saw: an action bench in our own measure.

    done = evaluate(run_folder, set_folder, EvaluationSettings())
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
from xsheet.train.data.cache.fingerprint import cache_spec
from xsheet.train.data.texts import tokenize_texts
from xsheet.train.evaluate.analyse import ClipAnalysis, analyse_clip
from xsheet.train.evaluate.held_out import HeldOutClip, held_out_clips, picture_settings
from xsheet.train.evaluate.readers import FaceReader, FaceReaderSettings, MeshFaceReader, Pictures, load_or_fit_reader
from xsheet.train.evaluate.scores import (
    MouthScore,
    PhaseScore,
    changed_phases,
    position_baseline,
    replaced_action,
    score_phases,
    swapped,
)
from xsheet.train.sample.sampler import SampleRequest, SampleSettings, TrainedModel, load_trained
from xsheet.train.settings import StageName

log = logging.getLogger(__name__)

T = TypeVar("T")

MIN_MESH_HEIGHT_PX = 256
"""Least height of a picture in which a mesh follows faces; smaller ones want a fitted one (docs/log/train.md#tiny)."""
_BOOTSTRAP_RESAMPLES = 1000  # times the clips are drawn again for an interval


class EvaluationSettings(StrictModel):
    """What is drawn and how it is read."""

    split: SplitName = Field(default="test", description="clips that training did not see")
    max_clips: int = Field(default=32, ge=2, le=10_000, description="at most; a third of them gives wide intervals")
    batch_size: int = Field(default=16, ge=1, description="samples drawn at once")
    sample: SampleSettings = Field(default=SampleSettings(), description="how they are drawn")
    reader: Literal["mesh", "fitted"] | None = Field(
        default=None, description="who reads; null = by the picture's size"
    )
    load_or_fit_reader: FaceReaderSettings = Field(default=FaceReaderSettings(), description="of the fitted reader")
    edit_actions: bool = Field(
        default=True, description="draw each sheet again with two of its actions exchanged, and with one from elsewhere"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """One clip, drawn or real."""

    clip_id: str
    phases: tuple[PhaseScore, ...]
    mouth: MouthScore
    colour_drift: float  # see looking.Looked


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEditScore:
    """One sheet with other actions; both videos are held against the changed sheet."""

    clip_id: str
    original: tuple[PhaseScore, ...]  # of the video from the sheet as it was: what chance and habit give
    edited: tuple[PhaseScore, ...]  # of the video from the changed one


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreValue:
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
    swaps: tuple[ActionEditScore, ...] = ()  # two actions of a sheet in each other's time
    replacements: tuple[ActionEditScore, ...] = ()  # an action of another sheet in place of one
    position_baseline: tuple[
        tuple[PhaseScore, ...], ...
    ] = ()  # per clip, in the video of another sheet with the same action

    def summary(self) -> dict[str, tuple[ScoreValue | None, ScoreValue | None]]:
        """Samples and ceiling by measure."""
        told = {
            name: (_bootstrap_mean(self.samples, of), _bootstrap_mean(self.ceiling, of))
            for name, of in _MEASURES.items()
        }
        for name, changed in (("exchanged", self.swaps), ("recast", self.replacements)):
            told[f"{name}: class right"] = (
                _bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.edited]),
                None,
            )
            told[f"not {name}: class right"] = (
                _bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.original]),
                None,
            )
        told["another sheet's video: tIoU of hits"] = (_bootstrap_mean(self.position_baseline, _hit_tious), None)
        told["another sheet's video: start error of hits, s"] = (
            _bootstrap_mean(self.position_baseline, _hit_start_errors),
            None,
        )
        return told

    def table(self) -> str:
        """The numbers in Markdown."""
        rows = ["| measure | samples | ceiling | of |", "|---|---|---|---|"]
        for name, (ours, best) in self.summary().items():
            rows.append(
                f"| {name} | {_format_value(ours)} | {_format_value(best)} | {0 if ours is None else ours.count} |"
            )
        return "\n".join(rows)

    def write(self, file: Path) -> None:
        """Everything as JSON."""
        numbers = {name: [n and asdict(n) for n in pair] for name, pair in self.summary().items()}
        write_text(file, json.dumps({"numbers": numbers} | asdict(self), indent=1) + "\n")


def evaluate(
    run: Path, set_folder: Path, settings: EvaluationSettings, *, stage: StageName = "stage2", device: str = "cpu"
) -> Evaluation:
    """Draw held-out sheets, read them, and score them.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    trained = load_trained(run, stage=stage, device=device)
    cache = open_training_cache(trained, set_folder)
    reads = _open_reader(cache, trained, settings)
    rate = trained.settings.cache.picture.rate
    samples: list[ClipScore] = []
    ceiling: list[ClipScore] = []
    exchanges: list[ActionEditScore] = []
    recasts: list[ActionEditScore] = []
    asked: list[list[Phase]] = []
    found: list[tuple[Phase, ...]] = []
    for some in _batches_of_one_shape(
        held_out_clips(cache, split=settings.split, limit=settings.max_clips), settings.batch_size
    ):
        pictures = trained.sample([sample_request(clip, clip.annotation, trained) for clip in some], settings.sample)
        drawn = [analyse_clip(clip, shown, reader=reads, rate=rate) for clip, shown in zip(some, pictures, strict=True)]
        real = [analyse_clip(clip, _decode_real(trained, clip), reader=reads, rate=rate) for clip in some]
        samples += [_score_clip(clip, looked) for clip, looked in zip(some, drawn, strict=True)]
        asked += [_requested_phases(clip) for clip in some]
        found += [looked.phases for looked in drawn]
        ceiling += [_score_clip(clip, looked) for clip, looked in zip(some, real, strict=True)]
        if settings.edit_actions:
            next_ones = [*some[1:], some[0]]
            others = [
                replaced_action(clip.annotation, other.annotation) for clip, other in zip(some, next_ones, strict=True)
            ]
            exchanges += _score_edits(
                trained, some, drawn, [swapped(clip.annotation) for clip in some], reads, settings
            )
            recasts += _score_edits(trained, some, drawn, others, reads, settings)
        log.info("%d clips drawn and read", len(samples))
    return Evaluation(
        samples=tuple(samples), ceiling=tuple(ceiling), swaps=tuple(exchanges), replacements=tuple(recasts),
        position_baseline=tuple(position_baseline(asked, found)),
    )  # fmt: skip


def open_training_cache(trained: TrainedModel, set_folder: Path) -> Cache:
    """The cache that a model was trained from."""
    wanted = trained.settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return open_cache(set_folder, cache_spec(trained.settings.cache, trained.encoders, layer=layer))


def sample_request(clip: HeldOutClip, annotation: Annotation, trained: TrainedModel) -> SampleRequest:
    """A held-out clip's first picture and sound, with what is to happen."""
    shown, cached = trained.settings.stage(trained.stage).dataset, trained.settings.cache
    told = tokenize_texts(
        annotation,
        Span(0, annotation.duration_us),
        forms=(shown.text,),
        encoder=trained.encoders.text,
        policy=cached.text.blocks,
        rate=cached.picture.rate,
    )
    frames = clip.latent_CFHW.shape[1]
    return SampleRequest(
        name=clip.clip.clip_id,
        first_C1HW=clip.latent_CFHW[:, :1],
        audio_TLQ=clip.audio_TLQ,
        text=told[shown.text],
        # Where the face is in the first picture: where it goes is the model's to say.
        face_FHW=clip.face_FHW[:1].expand(frames, -1, -1),
        mouth_FHW=clip.mouth_FHW[:1].expand(frames, -1, -1),
        identity_X=clip.identity_X,
    )


def _decode_real(trained: TrainedModel, clip: HeldOutClip) -> Pictures:
    """The real clip as the codec gives it back."""
    pictures: Pictures = trained.encoders.video.decode(clip.latent_CFHW[None])[0].cpu().numpy()
    return pictures


def _score_clip(clip: HeldOutClip, analysis: ClipAnalysis) -> ClipScore:
    return ClipScore(
        clip_id=clip.clip.clip_id,
        phases=tuple(score_phases(_requested_phases(clip), analysis.phases)),
        mouth=analysis.mouth,
        colour_drift=analysis.colour_drift,
    )


def _requested_phases(clip: HeldOutClip) -> list[Phase]:
    """What the sheet asks for and the pictures show whole."""
    return [phase for phase in clip.annotation.phases if phase.phase_id in clip.complete_phase_ids]


def _score_edits(
    trained: TrainedModel,
    clips: Sequence[HeldOutClip],
    analyses: Sequence[ClipAnalysis],
    edited_annotations: Sequence[Annotation | None],
    reader: FaceReader,
    settings: EvaluationSettings,
) -> Iterator[ActionEditScore]:
    """The same noise, picture and sound; only the sheet is another. Clips without another sheet are left out."""
    triples = zip(clips, analyses, edited_annotations, strict=True)
    asked = [(clip, before, said) for clip, before, said in triples if said is not None]
    if not asked:
        return
    pictures = trained.sample([sample_request(clip, said, trained) for clip, _, said in asked], settings.sample)
    rate = trained.settings.cache.picture.rate
    for (clip, before, said), shown in zip(asked, pictures, strict=True):
        changed = changed_phases(clip.annotation, said)
        after = analyse_clip(clip, shown, reader=reader, rate=rate)
        yield ActionEditScore(
            clip_id=clip.clip.clip_id,
            original=tuple(score_phases(changed, before.phases)),
            edited=tuple(score_phases(changed, after.phases)),
        )


def _open_reader(cache: Cache, trained: TrainedModel, settings: EvaluationSettings) -> FaceReader:
    picture = picture_settings(cache)
    who = settings.reader or (
        "mesh" if min(min(size) for size in picture.resolutions) >= MIN_MESH_HEIGHT_PX else "fitted"
    )
    if who == "mesh":
        return MeshFaceReader(picture.rate)
    return load_or_fit_reader(cache, trained.encoders.video, settings.load_or_fit_reader)


def _batches_of_one_shape(clips: Iterator[HeldOutClip], batch_size: int) -> Iterator[list[HeldOutClip]]:
    """Clips of one size of picture and length, some at a time."""
    waiting: dict[tuple[int, ...], list[HeldOutClip]] = {}
    for clip in clips:
        alike = waiting.setdefault(tuple(clip.latent_CFHW.shape), [])
        alike.append(clip)
        if len(alike) == batch_size:
            yield waiting.pop(tuple(clip.latent_CFHW.shape))
    yield from waiting.values()


Values = Sequence[float | None]
_MEASURES: dict[str, Callable[[ClipScore], Values]] = {
    "class right": lambda clip: [p.is_class_correct for p in clip.phases],
    "hit (H@S)": lambda clip: [p.hit for p in clip.phases],
    "tIoU of hits": lambda clip: _hit_tious(clip.phases),
    "start error of hits, s": lambda clip: _hit_start_errors(clip.phases),
    "mouth r": lambda clip: [clip.mouth.pearson_r],
    "lips and sound agree, deviations": lambda clip: [clip.mouth.confidence],
    "offset within 3 frames": lambda clip: [clip.mouth.in_sync],
    "colour drift, levels": lambda clip: [clip.colour_drift],
}


def _hit_tious(phases: Sequence[PhaseScore]) -> Values:
    return [p.tiou for p in phases if p.hit]


def _hit_start_errors(phases: Sequence[PhaseScore]) -> Values:
    return [p.start_error_s for p in phases]


def _bootstrap_mean(items: Sequence[T], values_of: Callable[[T], Values]) -> ScoreValue | None:
    """Over all values of all clips; None without one. Clips are drawn again whole, for their phases hang together."""
    per_clip = [[float(value) for value in values_of(one) if value is not None] for one in items]
    sums = np.array([[sum(values), len(values)] for values in per_clip], np.float64).reshape(-1, 2)
    if not sums[:, 1].any():
        return None
    rng = np.random.default_rng(0)
    again = sums[rng.integers(len(sums), size=(_BOOTSTRAP_RESAMPLES, len(sums)))].sum(1)
    again = again[again[:, 1] > 0]
    low, high = np.quantile(again[:, 0] / again[:, 1], (0.025, 0.975))
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return ScoreValue(mean=float(mean), low=float(low), high=float(high), count=int(sums[:, 1].sum()))


def _format_value(value: ScoreValue | None) -> str:
    return "" if value is None else f"{value.mean:.2f} ({value.low:.2f}..{value.high:.2f})"
