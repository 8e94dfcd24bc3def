"""What a trained model makes of sheets that it never saw: films with sound, what is read in them, and the evaluation.

unseen = draw_unseen(run_folder, set_folder, out, UnseenSettings())

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
from xsheet.train.evaluate.analyse import look
from xsheet.train.evaluate.evaluate import EvaluateSettings, Evaluation, cache_of, evaluate, wish_for
from xsheet.train.evaluate.held_out import HeldOut, held_out
from xsheet.train.evaluate.readers import Pictures, Reads, fitted_reader
from xsheet.train.loop.stage_weights import WEIGHTS
from xsheet.train.sample.sampler import SampleSettings, Trained, open_trained

SIDE_PX = 256
"""Height of the films: pictures of 64 pixels are enlarged, so that a player shows something."""


class UnseenSettings(StrictModel):
    """What is drawn."""

    films: int = Field(default=3, ge=1, le=16, description="sheets whose films are kept; all of the split are scored")
    evaluation: EvaluateSettings = Field(
        default=EvaluateSettings(sample=SampleSettings(steps=25, guidance=GuidanceSettings(scale=3))),
        description="sampling at less than the paper's 40 steps and scale 5, which were chosen for 5 billion weights",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sheet: what was asked for, and what a reader finds."""

    clip_id: str
    said: Annotation
    told: str  # the text as the model took it
    drawn: tuple[Phase, ...]  # read in the sample
    real: tuple[Phase, ...]  # read in the real clip, through the codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """All that was drawn."""

    films: tuple[Sample, ...]
    evaluation: Evaluation


_JSON = TypeAdapter(Unseen)


def draw_unseen(run: Path, set_folder: Path, out: Path, settings: UnseenSettings) -> Unseen:
    """Evaluate the second stage on its held-out clips, and keep the films of a few; as it was, where it was done.

    Raises:
        ConfigError: no finished stage, no cache of its settings, or no held-out clip with phases.
    """
    weights = ids.file_sha256(run / "stage2" / WEIGHTS)
    file = out / f"unseen-{ids.content_key('unseen', __version__, weights, settings.model_dump())[:16]}.json"
    if file.is_file():
        return _JSON.validate_json(file.read_bytes())
    evaluation = evaluate(run, set_folder, settings.evaluation)
    trained = open_trained(run)
    cache = cache_of(trained, set_folder)
    reads = fitted_reader(cache, trained.encoders.video, settings.evaluation.fitting)
    clips = islice(held_out(cache, split=settings.evaluation.split, limit=settings.films), settings.films)
    films = tuple(_sample(clip, trained, reads, out, settings.evaluation.sample) for clip in clips)
    unseen = Unseen(films=films, evaluation=evaluation)
    write_bytes(file, _JSON.dump_json(unseen, indent=1))
    return unseen


def film_path(out: Path, clip_id: str, *, drawn: bool) -> Path:
    """Where a film lies."""
    return out / f"{clip_id}-{'drawn' if drawn else 'real'}.mp4"


def _sample(clip: HeldOut, trained: Trained, reads: Reads, out: Path, how: SampleSettings) -> Sample:
    """Drawn with the noise of the evaluation, so these are the very pictures that it scored."""
    wish, rate = wish_for(clip, clip.said, trained), trained.settings.cache.picture.rate
    drawn = trained.draw([wish], how)[0]
    real: Pictures = trained.encoders.video.decode(clip.latent_CFHW[None])[0].cpu().numpy()
    for pictures, is_drawn in ((drawn, True), (real, False)):
        _write(film_path(out, clip.clip.clip_id, drawn=is_drawn), pictures, clip.sound, rate=rate)
    found = (look(clip, pictures, reads=reads, rate=rate).phases for pictures in (drawn, real))
    seen, there = found
    return Sample(clip_id=clip.clip.clip_id, said=clip.said, told=wish.told.text, drawn=seen, real=there)


def _write(file: Path, pictures: Pictures, sound: Samples, *, rate: FrameRate) -> None:
    frames = range(len(sound) // SAMPLES_PER_FRAME)
    size = (SIDE_PX * pictures.shape[2] // pictures.shape[1], SIDE_PX)
    large = [np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_CUBIC), np.uint8) for one in pictures]
    shown = (large[min(frame_at(frame_start_us(k, CLIP_RATE), rate), len(large) - 1)] for k in frames)
    write_clip(file, frames=shown, sound=sound)
