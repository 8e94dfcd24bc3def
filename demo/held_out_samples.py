"""Generate videos for held-out annotations with a trained model, detect their actions and evaluate them.

samples = generate_held_out_samples(run_folder, set_folder, out, HeldOutSampleSettings())

OUT/<clip_id>-generated.mp4    the sample, with its conditioning audio
OUT/<clip_id>-real.mp4         the real clip, reconstructed by the model's codec
OUT/held-out-<key>.json        HeldOutSamples, written last: equal weights and settings are not sampled twice
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field, TypeAdapter

from xsheet import __version__
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.writer import write_clip
from xsheet.model.conditioning import GuidanceSettings
from xsheet.schemas import ids
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import write_bytes
from xsheet.schemas.time import CLIP_RATE, FrameRate, frame_at, frame_start_us
from xsheet.train.evaluate.analyse import analyse_clip
from xsheet.train.evaluate.evaluate import Evaluation, EvaluationSettings, evaluate, open_training_cache, sample_request
from xsheet.train.evaluate.held_out import HeldOutClip, held_out_clips
from xsheet.train.evaluate.readers import FaceReader, Pictures, load_or_fit_reader
from xsheet.train.loop.stage_weights import WEIGHTS_FILE
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, last_finished_stage, load_trained, run_settings

VIDEO_HEIGHT_PX = 256
"""Height of the videos: pictures of 64 pixels are enlarged for the player."""


class HeldOutSampleSettings(StrictModel):
    """Settings of the samples."""

    videos: int = Field(default=3, ge=1, le=16, description="clips whose videos are kept; the whole split is evaluated")
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(sample=SampleSettings(steps=25, guidance=GuidanceSettings(scale=3))),
        description="fewer steps and less guidance than the 40 and 5 of the paper, which are for 5 billion weights",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSample:
    """One held-out clip: the annotation, and the phases detected in the sample and in the real clip."""

    clip_id: str
    annotation: Annotation
    text: str  # the text input of the model
    generated_phases: tuple[Phase, ...]  # detected in the sample
    real_phases: tuple[Phase, ...]  # detected in the real clip, reconstructed by the codec


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSamples:
    """All samples and their evaluation."""

    samples: tuple[HeldOutSample, ...]
    evaluation: Evaluation


_JSON = TypeAdapter(HeldOutSamples)


def generate_held_out_samples(
    run: Path, set_folder: Path, out: Path, settings: HeldOutSampleSettings
) -> HeldOutSamples:
    """Evaluate the last finished stage on held-out clips and keep a few videos; returns a stored result if any.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    weights = ids.file_sha256(run / last_finished_stage(run, run_settings(run)) / WEIGHTS_FILE)
    file = (
        out / f"held-out-{ids.content_key('held_out_samples', __version__, weights, settings.model_dump())[:16]}.json"
    )
    if file.is_file():
        return _JSON.validate_json(file.read_bytes())
    evaluation = evaluate(run, set_folder, settings.evaluation)
    trained = load_trained(run)
    cache = open_training_cache(trained, set_folder)
    reader = load_or_fit_reader(cache, trained.encoders.video, settings.evaluation.fitted_reader)
    clips = islice(held_out_clips(cache, split=settings.evaluation.split, limit=settings.videos), settings.videos)
    samples = tuple(_sample(clip, trained, reader, out, settings.evaluation.sample) for clip in clips)
    result = HeldOutSamples(samples=samples, evaluation=evaluation)
    write_bytes(file, _JSON.dump_json(result, indent=1))
    return result


def video_path(out: Path, clip_id: str, *, generated: bool) -> Path:
    """Return the path of a sample video, generated or real."""
    return out / f"{clip_id}-{'generated' if generated else 'real'}.mp4"


def _sample(
    clip: HeldOutClip, trained: TrainedModel, reader: FaceReader, out: Path, settings: SampleSettings
) -> HeldOutSample:
    """Sample with the noise of the evaluation, so that these are exactly the pictures that it scores."""
    request, rate = sample_request(clip, clip.annotation, trained), trained.settings.cache.picture.rate
    generated = trained.sample([request], settings)[0]
    real: Pictures = trained.encoders.video.decode(clip.latent_CFHW[None])[0].cpu().numpy()
    for pictures, is_generated in ((generated, True), (real, False)):
        _write(video_path(out, clip.clip.clip_id, generated=is_generated), pictures, clip.waveform, rate=rate)
    generated_phases, real_phases = (
        analyse_clip(clip, pictures, reader=reader, rate=rate).phases for pictures in (generated, real)
    )
    return HeldOutSample(
        clip_id=clip.clip.clip_id,
        annotation=clip.annotation,
        text=request.text.text,
        generated_phases=generated_phases,
        real_phases=real_phases,
    )


def _write(file: Path, pictures: Pictures, sound: Samples, *, rate: FrameRate) -> None:
    frames = range(len(sound) // SAMPLES_PER_FRAME)
    size = (VIDEO_HEIGHT_PX * pictures.shape[2] // pictures.shape[1], VIDEO_HEIGHT_PX)
    large = [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8) for picture in pictures]
    resampled = (large[min(frame_at(frame_start_us(k, CLIP_RATE), rate), len(large) - 1)] for k in frames)
    write_clip(file, frames=resampled, sound=sound)
