"""Evaluation of a trained model on held-out clips: do requested actions appear, and when?

    done = evaluate(run_folder, [set_folder], EvaluationSettings())
    print(done.table())

Every held-out clip is sampled from its first picture, its audio and its annotation. The video is then analysed like a
real clip: faces to signals, signals to phases. Each number is reported beside its ceiling: the same analysis of the
real clip after encoding and decoding by the codec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from xsheet import __version__
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.layers import find_layer
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SplitName
from xsheet.schemas.time import Span, seconds_from_us
from xsheet.train.data.cache.build import Cache, open_cache
from xsheet.train.data.cache.fingerprint import cache_spec
from xsheet.train.data.texts import tokenize_texts
from xsheet.train.evaluate.analyse import ClipAnalysis, analyse_clip
from xsheet.train.evaluate.held_out import HeldOutClip, count_held_out, held_out_clips, picture_settings
from xsheet.train.evaluate.likeness import LikenessMeter, open_likeness
from xsheet.train.evaluate.readers import (
    FACE_TRACKS,
    MIN_MESH_HEIGHT_PX,
    FaceReader,
    MeshFaceReader,
    MotionReader,
    Pictures,
)
from xsheet.train.evaluate.score_store import Passes, ScoreStore
from xsheet.train.evaluate.scores import (
    ActionEditScore,
    ClipEvaluation,
    ClipScore,
    changed_phases,
    position_baseline,
    replaced_action,
    score_phases,
    swapped,
    unrequested_actions,
)
from xsheet.train.evaluate.small_reader import FaceReaderSettings, load_or_fit_reader, load_shipped_reader
from xsheet.train.evaluate.summary import Evaluation
from xsheet.train.loop.stage_weights import EMA_WEIGHTS_FILE, WEIGHTS_FILE
from xsheet.train.sample.sampler import SampleRequest, SampleSettings, TrainedModel, load_trained


class EvaluationSettings(StrictModel):
    """Samples of an evaluation and how they are analysed."""

    split: SplitName = Field(default="test", description="split of the clips")
    layer: str | None = Field(
        default=None, description="layer of the requested actions, in a separate cache; null = the training layer"
    )
    max_clips: int = Field(
        default=32, ge=2, le=10_000, description="maximum number of clips; few clips give wide intervals"
    )
    batch_size: int = Field(default=16, ge=1, description="samples generated at once")
    sample: SampleSettings = Field(default=SampleSettings(), description="sampling settings")
    reader: Literal["mesh", "small", "drawn"] | None = Field(
        default=None,
        description="face reader: mesh; small: a network fitted on the train clips, for small pictures; drawn: "
        "the network of the package; null = mesh or small by picture size",
    )
    fitted_reader: FaceReaderSettings = Field(
        default=FaceReaderSettings(), description="fitting of the small face reader"
    )
    likeness: bool | None = Field(
        default=None,
        description="measure how far the face is from the portrait's, with the extra `identity` and pictures of at "
        "least 256 px; null = where both are there",
    )
    edit_actions: bool = Field(
        default=True, description="also sample each annotation with two actions swapped, and with one replaced"
    )


def evaluate(
    run: Path,
    sets: Sequence[Path],
    settings: EvaluationSettings,
    *,
    stage: str | None = None,
    device: str = "cpu",
    parts_file: Path | None = None,
) -> Evaluation:
    """Sample held-out clips, analyse the videos and score them; logs progress and the time left.

    Args:
        run: folder of the run.
        sets: those that it was trained on, or others with caches of the same settings. `max_clips` is shared among
            them evenly; a clip that several hold is taken once; a small face reader is fitted to the first.
        settings: of the evaluation.
        stage: whose weights (default: the last finished).
        device: of the model.
        parts_file: keeps the scores of every finished batch, so that the same evaluation continues after a stop.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    trained = load_trained(run, stage=stage, device=device)
    caches = [open_training_cache(trained, folder, layer=settings.layer) for folder in sets]
    bench = _Bench(
        trained=trained,
        reader=open_reader(caches[0], trained, settings),
        likeness=open_likeness(settings.likeness, side_px=_smallest_side_px(caches[0], trained)),
        settings=settings,
    )
    key = content_key(
        __version__, settings.model_dump(mode="json", exclude={"max_clips"}),
        [cache.spec.fingerprint for cache in caches], _weight_hashes(run, trained),
    )  # fmt: skip
    store = ScoreStore(parts_file, key=key, adapter=TypeAdapter(tuple[ClipEvaluation, ...]))
    clips, clips_in_all = _clips_of_sets(caches, settings)
    passes = Passes(clips_in_all * (3 if settings.edit_actions else 1))
    done: list[ClipEvaluation] = []
    for batch in _batches_of_one_shape(clips, settings.batch_size):
        name = content_key([clip.clip.clip_id for clip in batch])
        scores = store.find(name)
        if scores is None:
            scores = bench.evaluate_batch(batch, passes)
            store.add(name, scores)
        else:
            passes.skip(len(batch) * (3 if settings.edit_actions else 1))
        done += scores
    return Evaluation(
        samples=tuple(one.sample for one in done),
        ceiling=tuple(one.ceiling for one in done),
        swaps=tuple(one.swap for one in done if one.swap is not None),
        replacements=tuple(one.replacement for one in done if one.replacement is not None),
        position_baseline=tuple(position_baseline([one.requested for one in done], [one.detected for one in done])),
    )


def _weight_hashes(run: Path, trained: TrainedModel) -> list[str]:
    """Hashes of the weights of this stage and those before it."""
    stages = [*(one.name for one in trained.settings.previous_stages(trained.stage)), trained.stage]
    files = [run / name / file for name in stages for file in (WEIGHTS_FILE, EMA_WEIGHTS_FILE)]
    return [file_sha256(file) for file in files if file.is_file()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What every batch needs."""

    trained: TrainedModel
    reader: FaceReader
    likeness: LikenessMeter | None
    settings: EvaluationSettings

    def evaluate_batch(self, batch: Sequence[HeldOutClip], passes: Passes) -> tuple[ClipEvaluation, ...]:
        """Sample, analyse and score clips of one shape."""
        sampled = self._sample_and_analyse([(clip, clip.annotation) for clip in batch])
        real = [self._analyse(clip, self.trained.decode(clip.latent_CFHW)) for clip in batch]
        passes.add(len(batch))
        none: list[ActionEditScore | None] = [None] * len(batch)
        swaps, replacements = none, none
        if self.settings.edit_actions:
            swaps = self._score_edits(batch, sampled, [swapped(clip.annotation, FACE_TRACKS) for clip in batch])
            passes.add(len(batch))
            others = [
                replaced_action(clip.annotation, other.annotation, FACE_TRACKS)
                for clip, other in zip(batch, [*batch[1:], batch[0]], strict=True)
            ]
            replacements = self._score_edits(batch, sampled, others)
            passes.add(len(batch))
        return tuple(
            ClipEvaluation(
                sample=_score_clip(clip, found),
                ceiling=_score_clip(clip, best),
                requested=tuple(_requested_phases(clip)),
                detected=found.phases,
                swap=swap,
                replacement=replacement,
            )
            for clip, found, best, swap, replacement in zip(batch, sampled, real, swaps, replacements, strict=True)
        )

    def _sample_and_analyse(self, requested: Sequence[tuple[HeldOutClip, Annotation]]) -> list[ClipAnalysis]:
        if not requested:
            return []
        requests = [sample_request(clip, annotation, self.trained) for clip, annotation in requested]
        pictures = self.trained.sample(requests, self.settings.sample)
        return [self._analyse(clip, shown) for (clip, _), shown in zip(requested, pictures, strict=True)]

    def _analyse(self, clip: HeldOutClip, pictures: Pictures) -> ClipAnalysis:
        rate = self.trained.settings.cache.picture.rate
        return analyse_clip(clip, pictures, reader=self.reader, rate=rate, likeness=self.likeness)

    def _score_edits(
        self,
        clips: Sequence[HeldOutClip],
        analyses: Sequence[ClipAnalysis],
        edited_annotations: Sequence[Annotation | None],
    ) -> list[ActionEditScore | None]:
        """Sample with edited annotations and the same noise, picture and audio; None for a clip without an edit."""
        requested = [(clip, edit) for clip, edit in zip(clips, edited_annotations, strict=True) if edit is not None]
        found = iter(self._sample_and_analyse(requested))
        scores: list[ActionEditScore | None] = []
        for clip, before, edited in zip(clips, analyses, edited_annotations, strict=True):
            if edited is None:
                scores.append(None)
                continue
            changed = changed_phases(clip.annotation, edited)
            scores.append(
                ActionEditScore(
                    clip_id=clip.clip.clip_id,
                    original=tuple(score_phases(changed, before.phases)),
                    edited=tuple(score_phases(changed, next(found).phases)),
                )
            )
        return scores


def open_training_cache(trained: TrainedModel, set_folder: Path, *, layer: str | None = None) -> Cache:
    """The cache of a set with a model's settings; `layer` in place of the one that it was trained on."""
    wanted = layer or trained.settings.cache.text.layer
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
        # Only the position in the first picture is given; the model decides how the face moves.
        face_FHW=clip.face_FHW[:1].expand(frames, -1, -1),
        mouth_FHW=clip.mouth_FHW[:1].expand(frames, -1, -1),
        identity_X=clip.identity_X,
    )


def _score_clip(clip: HeldOutClip, analysis: ClipAnalysis) -> ClipScore:
    return ClipScore(
        clip_id=clip.clip.clip_id,
        phases=tuple(score_phases(_requested_phases(clip), analysis.phases)),
        mouth=analysis.mouth,
        colour_drift=analysis.colour_drift,
        identity_distance=analysis.identity_distance,
        unrequested_per_s=len(unrequested_actions(clip.annotation.phases, analysis.phases))
        / seconds_from_us(clip.span.duration_us),
    )


def _requested_phases(clip: HeldOutClip) -> list[Phase]:
    """Phases of the annotation that are completely inside the video, on tracks that are visible in a face picture."""
    complete = (phase for phase in clip.annotation.phases if phase.phase_id in clip.complete_phase_ids)
    return [phase for phase in complete if phase.track in FACE_TRACKS]


def open_reader(cache: Cache, trained: TrainedModel, settings: EvaluationSettings) -> FaceReader:
    """The face reader of an evaluation; a fitted one is loaded, or fitted now."""
    if trained.settings.cache.encoders.video == "motion":
        return MotionReader()
    who = settings.reader or ("mesh" if _smallest_side_px(cache, trained) >= MIN_MESH_HEIGHT_PX else "small")
    if who == "mesh":
        return MeshFaceReader(picture_settings(cache).rate)
    if who == "drawn":
        return load_shipped_reader()
    return load_or_fit_reader(cache, trained.encoders.video, settings.fitted_reader)


def _smallest_side_px(cache: Cache, trained: TrainedModel) -> int:
    """Of the pictures; 0 for a model of motion, which has none."""
    if trained.settings.cache.encoders.video == "motion":
        return 0
    return min(min(size) for size in picture_settings(cache).resolutions)


def _clips_of_sets(caches: Sequence[Cache], settings: EvaluationSettings) -> tuple[Iterator[HeldOutClip], int]:
    """The clips of an evaluation, each once, and how many they are at most."""
    shares = [len(range(k, settings.max_clips, len(caches))) for k in range(len(caches))]
    limits = [(cache, share) for cache, share in zip(caches, shares, strict=True) if share]

    def clips() -> Iterator[HeldOutClip]:
        known: set[str] = set()
        for cache, share in limits:
            for clip in held_out_clips(cache, split=settings.split, limit=share):
                if clip.clip.clip_id not in known:
                    known.add(clip.clip.clip_id)
                    yield clip

    return clips(), sum(count_held_out(cache, split=settings.split, limit=share) for cache, share in limits)


def _batches_of_one_shape(clips: Iterator[HeldOutClip], batch_size: int) -> Iterator[list[HeldOutClip]]:
    """Batches of clips of one size and length."""
    waiting: dict[tuple[int, ...], list[HeldOutClip]] = {}
    for clip in clips:
        alike = waiting.setdefault(tuple(clip.latent_CFHW.shape), [])
        alike.append(clip)
        if len(alike) == batch_size:
            yield waiting.pop(tuple(clip.latent_CFHW.shape))
    yield from waiting.values()
