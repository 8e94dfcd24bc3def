"""What a trained model makes of sheets that it never saw: films with sound, what is read in them, and the evaluation.

unseen = generate_held_out_samples(run_folder, set_folder, out, HeldOutSampleSettings())

OUT/<clip_id>-drawn.mp4    the sample, with the sound that it was given
OUT/<clip_id>-real.mp4     the real clip, as sharp as the model's codec shows it
OUT/unseen-<key>.json      all of Unseen, written last: the same weights and settings are not drawn twice
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
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, load_trained

VIDEO_HEIGHT_PX = 256
"""Height of the films: pictures of 64 pixels are enlarged, so that a player shows something."""


class HeldOutSampleSettings(StrictModel):
    """What is drawn."""

    videos: int = Field(default=3, ge=1, le=16, description="sheets whose films are kept; all of the split are scored")
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(sample=SampleSettings(steps=25, guidance=GuidanceSettings(scale=3))),
        description="sampling at less than the paper's 40 steps and scale 5, which were chosen for 5 billion weights",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSample:
    """One sheet: what was asked for, and what a reader finds."""

    clip_id: str
    annotation: Annotation
    text: str  # the text as the model took it
    generated_phases: tuple[Phase, ...]  # read in the sample
    real_phases: tuple[Phase, ...]  # read in the real clip, through the codec


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSamples:
    """All that was drawn."""

    samples: tuple[HeldOutSample, ...]
    evaluation: Evaluation


_JSON = TypeAdapter(HeldOutSamples)


def generate_held_out_samples(
    run: Path, set_folder: Path, out: Path, settings: HeldOutSampleSettings
) -> HeldOutSamples:
    """Evaluate the second stage on its held-out clips, and keep the films of a few; as it was, where it was done.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    weights = ids.file_sha256(run / "stage2" / WEIGHTS_FILE)
    file = out / f"unseen-{ids.content_key('unseen', __version__, weights, settings.model_dump())[:16]}.json"
    if file.is_file():
        return _JSON.validate_json(file.read_bytes())
    evaluation = evaluate(run, set_folder, settings.evaluation)
    trained = load_trained(run)
    cache = open_training_cache(trained, set_folder)
    reads = load_or_fit_reader(cache, trained.encoders.video, settings.evaluation.load_or_fit_reader)
    clips = islice(held_out_clips(cache, split=settings.evaluation.split, limit=settings.videos), settings.videos)
    films = tuple(_sample(clip, trained, reads, out, settings.evaluation.sample) for clip in clips)
    unseen = HeldOutSamples(samples=films, evaluation=evaluation)
    write_bytes(file, _JSON.dump_json(unseen, indent=1))
    return unseen


def video_path(out: Path, clip_id: str, *, generated: bool) -> Path:
    """Where a film lies."""
    return out / f"{clip_id}-{'drawn' if generated else 'real'}.mp4"


def _sample(
    clip: HeldOutClip, trained: TrainedModel, reads: FaceReader, out: Path, settings: SampleSettings
) -> HeldOutSample:
    """Drawn with the noise of the evaluation, so these are the very pictures that it scored."""
    wish, rate = sample_request(clip, clip.annotation, trained), trained.settings.cache.picture.rate
    drawn = trained.sample([wish], settings)[0]
    real: Pictures = trained.encoders.video.decode(clip.latent_CFHW[None])[0].cpu().numpy()
    for pictures, is_drawn in ((drawn, True), (real, False)):
        _write(video_path(out, clip.clip.clip_id, generated=is_drawn), pictures, clip.waveform, rate=rate)
    found = (analyse_clip(clip, pictures, reader=reads, rate=rate).phases for pictures in (drawn, real))
    seen, there = found
    return HeldOutSample(
        clip_id=clip.clip.clip_id,
        annotation=clip.annotation,
        text=wish.text.text,
        generated_phases=seen,
        real_phases=there,
    )


def _write(file: Path, pictures: Pictures, sound: Samples, *, rate: FrameRate) -> None:
    frames = range(len(sound) // SAMPLES_PER_FRAME)
    size = (VIDEO_HEIGHT_PX * pictures.shape[2] // pictures.shape[1], VIDEO_HEIGHT_PX)
    large = [np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_CUBIC), np.uint8) for one in pictures]
    shown = (large[min(frame_at(frame_start_us(k, CLIP_RATE), rate), len(large) - 1)] for k in frames)
    write_clip(file, frames=shown, sound=sound)
