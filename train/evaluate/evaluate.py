"""Evaluation of a trained model on held-out clips: an action benchmark with measures of our own.

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

log = logging.getLogger(__name__)

T = TypeVar("T")

MIN_MESH_HEIGHT_PX = 256
"""Least height of a picture in which a mesh follows faces; smaller ones want a fitted one (docs/log/train.md#tiny)."""
_BOOTSTRAP_RESAMPLES = 1000  # times the clips are drawn again for an interval


class EvaluationSettings(StrictModel):
    """Samples of an evaluation and how they are analysed."""

    split: SplitName = Field(default="test", description="split of the clips")
    max_clips: int = Field(default=32, ge=2, le=10_000, description="at most; few clips give wide intervals")
    batch_size: int = Field(default=16, ge=1, description="samples drawn at once")
    sample: SampleSettings = Field(default=SampleSettings(), description="sampling")
    reader: Literal["mesh", "fitted"] | None = Field(default=None, description="face reader; null = by picture size")
    fitted_reader: FaceReaderSettings = Field(
        default=FaceReaderSettings(), description="fitting of the small face reader"
    )
    edit_actions: bool = Field(
        default=True, description="also sample each annotation with two actions swapped, and with one replaced"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """Scores of one sampled or real clip."""

    clip_id: str
    phases: tuple[PhaseScore, ...]
    mouth: MouthScore
    colour_drift: float  # see looking.Looked


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEditScore:
    """Scores of an annotation with edited actions; both videos are compared with the edited annotation."""

    clip_id: str
    original: tuple[PhaseScore, ...]  # of the video from the sheet as it was: what chance and habit give
    edited: tuple[PhaseScore, ...]  # of the video from the changed one


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreValue:
    """Mean over phases or clips with its 95 % interval from a bootstrap over clips."""

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
        summary = {
            name: (_bootstrap_mean(self.samples, of), _bootstrap_mean(self.ceiling, of))
            for name, of in _MEASURES.items()
        }
        for name, changed in (("swapped", self.swaps), ("replaced", self.replacements)):
            summary[f"{name}: class accuracy"] = (
                _bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.edited]),
                None,
            )
            summary[f"not {name}: class accuracy"] = (
                _bootstrap_mean(changed, lambda e: [p.is_class_correct for p in e.original]),
                None,
            )
        summary["position baseline: tIoU of hits"] = (_bootstrap_mean(self.position_baseline, _hit_tious), None)
        summary["position baseline: start error of hits, s"] = (
            _bootstrap_mean(self.position_baseline, _hit_start_errors),
            None,
        )
        return summary

    def table(self) -> str:
        """The measures as a Markdown table."""
        rows = ["| measure | samples | ceiling | of |", "|---|---|---|---|"]
        for name, (ours, best) in self.summary().items():
            rows.append(
                f"| {name} | {_format_value(ours)} | {_format_value(best)} | {0 if ours is None else ours.count} |"
            )
        return "\n".join(rows)

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        numbers = {name: [n and asdict(n) for n in pair] for name, pair in self.summary().items()}
        write_text(file, json.dumps({"numbers": numbers} | asdict(self), indent=1) + "\n")


def evaluate(
    run: Path, set_folder: Path, settings: EvaluationSettings, *, stage: str | None = None, device: str = "cpu"
) -> Evaluation:
    """Sample held-out clips, analyse the videos and score them.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    trained = load_trained(run, stage=stage, device=device)
    cache = open_training_cache(trained, set_folder)
    reader = _open_reader(cache, trained, settings)
    rate = trained.settings.cache.picture.rate
    samples: list[ClipScore] = []
    ceiling: list[ClipScore] = []
    swaps: list[ActionEditScore] = []
    replacements: list[ActionEditScore] = []
    requested: list[list[Phase]] = []
    detected: list[tuple[Phase, ...]] = []
    for batch in _batches_of_one_shape(
        held_out_clips(cache, split=settings.split, limit=settings.max_clips), settings.batch_size
    ):
        pictures = trained.sample([sample_request(clip, clip.annotation, trained) for clip in batch], settings.sample)
        sampled = [
            analyse_clip(clip, shown, reader=reader, rate=rate) for clip, shown in zip(batch, pictures, strict=True)
        ]
        real = [analyse_clip(clip, _decode_real(trained, clip), reader=reader, rate=rate) for clip in batch]
        samples += [_score_clip(clip, analysis) for clip, analysis in zip(batch, sampled, strict=True)]
        requested += [_requested_phases(clip) for clip in batch]
        detected += [analysis.phases for analysis in sampled]
        ceiling += [_score_clip(clip, analysis) for clip, analysis in zip(batch, real, strict=True)]
        if settings.edit_actions:
            next_ones = [*batch[1:], batch[0]]
            others = [
                replaced_action(clip.annotation, other.annotation) for clip, other in zip(batch, next_ones, strict=True)
            ]
            swaps += _score_edits(
                trained, batch, sampled, [swapped(clip.annotation) for clip in batch], reader, settings
            )
            replacements += _score_edits(trained, batch, sampled, others, reader, settings)
        log.info("%d clips drawn and read", len(samples))
    return Evaluation(
        samples=tuple(samples), ceiling=tuple(ceiling), swaps=tuple(swaps), replacements=tuple(replacements),
        position_baseline=tuple(position_baseline(requested, detected)),
    )  # fmt: skip


def open_training_cache(trained: TrainedModel, set_folder: Path) -> Cache:
    """The cache that a model was trained on."""
    wanted = trained.settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return open_cache(set_folder, cache_spec(trained.settings.cache, trained.encoders, layer=layer))


def sample_request(clip: HeldOutClip, annotation: Annotation, trained: TrainedModel) -> SampleRequest:
    """First picture, audio and text of a held-out clip as a sample request."""
    shown, cached = trained.settings.stage(trained.stage).dataset, trained.settings.cache
    summary = tokenize_texts(
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
        text=summary[shown.text],
        # Where the face is in the first picture: where it goes is the model's to say.
        face_FHW=clip.face_FHW[:1].expand(frames, -1, -1),
        mouth_FHW=clip.mouth_FHW[:1].expand(frames, -1, -1),
        identity_X=clip.identity_X,
    )


def _decode_real(trained: TrainedModel, clip: HeldOutClip) -> Pictures:
    """The real clip after the codec."""
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
    """Phases of the annotation that lie completely in the video."""
    return [phase for phase in clip.annotation.phases if phase.phase_id in clip.complete_phase_ids]


def _score_edits(
    trained: TrainedModel,
    clips: Sequence[HeldOutClip],
    analyses: Sequence[ClipAnalysis],
    edited_annotations: Sequence[Annotation | None],
    reader: FaceReader,
    settings: EvaluationSettings,
) -> Iterator[ActionEditScore]:
    """Sample with edited annotations and the same noise, picture and audio; clips without an edit are left out."""
    triples = zip(clips, analyses, edited_annotations, strict=True)
    requested = [(clip, before, edited) for clip, before, edited in triples if edited is not None]
    if not requested:
        return
    pictures = trained.sample([sample_request(clip, edited, trained) for clip, _, edited in requested], settings.sample)
    rate = trained.settings.cache.picture.rate
    for (clip, before, edited), shown in zip(requested, pictures, strict=True):
        changed = changed_phases(clip.annotation, edited)
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
    return load_or_fit_reader(cache, trained.encoders.video, settings.fitted_reader)


def _batches_of_one_shape(clips: Iterator[HeldOutClip], batch_size: int) -> Iterator[list[HeldOutClip]]:
    """Batches of clips of one size and length."""
    waiting: dict[tuple[int, ...], list[HeldOutClip]] = {}
    for clip in clips:
        alike = waiting.setdefault(tuple(clip.latent_CFHW.shape), [])
        alike.append(clip)
        if len(alike) == batch_size:
            yield waiting.pop(tuple(clip.latent_CFHW.shape))
    yield from waiting.values()


Values = Sequence[float | None]
_MEASURES: dict[str, Callable[[ClipScore], Values]] = {
    "class accuracy": lambda clip: [p.is_class_correct for p in clip.phases],
    "hit (H@S)": lambda clip: [p.hit for p in clip.phases],
    "tIoU of hits": lambda clip: _hit_tious(clip.phases),
    "start error of hits, s": lambda clip: _hit_start_errors(clip.phases),
    "mouth correlation": lambda clip: [clip.mouth.pearson_r],
    "lip-sync confidence, standard deviations": lambda clip: [clip.mouth.confidence],
    "lip-sync offset within 3 frames": lambda clip: [clip.mouth.in_sync],
    "colour drift, levels": lambda clip: [clip.colour_drift],
}


def _hit_tious(phases: Sequence[PhaseScore]) -> Values:
    return [p.tiou for p in phases if p.hit]


def _hit_start_errors(phases: Sequence[PhaseScore]) -> Values:
    return [p.start_error_s for p in phases]


def _bootstrap_mean(items: Sequence[T], values_of: Callable[[T], Values]) -> ScoreValue | None:
    """Mean over all values of all clips; None without any. Clips are resampled whole: their phases are dependent."""
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
