"""New people, drawn for the demo, perform new scripts: what a trained model makes of them, measured.

    result = sample_new_people(run_folder, out, NewPeopleSettings(), execution=Execution(jobs=2))

OUT/people-<seed>-<count>/       a set of drawn people with their voices and scripts; none of them is in the corpus
OUT/<clip_id>-drawn.mp4          the person as drawn, through the model's codec
OUT/<clip_id>-generated.mp4      the sample: first picture, voice and script in, video out
OUT/<clip_id>-swapped.mp4        the control: the same picture, voice and noise, two actions in each other's time
OUT/new-people-<key>.json        NewPeople, written last: equal weights and settings are not sampled twice
"""

from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from pydantic import Field, TypeAdapter

from xsheet import __version__
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.writer import write_clip
from xsheet.demo.drawn_set import STRETCH_FRAMES, SetMember, SpreadMix, acting_film, draw_set, spread_actions
from xsheet.demo.puppet.script import PlannedAction
from xsheet.model.conditioning import GuidanceSettings
from xsheet.runtime.executor import Execution
from xsheet.schemas import ids
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.files import write_bytes
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, FrameRate, frame_at, frame_start_us
from xsheet.train.data.cache.build import build_cache
from xsheet.train.evaluate.analyse import analyse_clip
from xsheet.train.evaluate.evaluate import (
    EvaluationSettings,
    evaluate,
    open_reader,
    open_training_cache,
    sample_request,
)
from xsheet.train.evaluate.held_out import HeldOutClip, held_out_clips
from xsheet.train.evaluate.readers import FACE_TRACKS, FaceReader, Pictures
from xsheet.train.evaluate.scores import swapped
from xsheet.train.evaluate.summary import Evaluation
from xsheet.train.loop.stage_weights import WEIGHTS_FILE
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, last_finished_stage, load_trained, run_settings

VideoKind = Literal["drawn", "generated", "swapped"]
SCRIPTS = SpreadMix(
    acts=("nod", "tilt_head", "turn_head"),
    amplitudes=(3,),
    speeds=(1, 2),
    duration_frames=(20, 36),
    max_repetitions=2,
    rest_share=0.0,
)
"""Scripts of large movements of the head of .8 to 1.4 s that start anywhere: what a viewer sees, the reader finds in 64
pixels and the base of the package draws. Of shorter and smaller ones it draws few: a latent frame is .4 s
(docs/log/demo.md#new-people)."""
FILM_PX, VIDEO_PX = 256, 256
"""Height of the drawn films, and of the videos for a player."""
_SEED_OFFSET = 1_000_000  # people of the corpus have seeds below


class NewPeopleSettings(StrictModel):
    """Settings of the people, scripts and samples."""

    people: int = Field(
        default=12, ge=2, le=1000, description="number of people, each with a script of two actions or more"
    )
    videos: int = Field(default=4, ge=1, le=16, description="number of people whose videos are kept")
    seed: int = Field(default=0, ge=0, lt=_SEED_OFFSET, description="seed of people, voices and scripts")
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(
            max_clips=1000,
            sample=SampleSettings(steps=25, guidance=GuidanceSettings(scale=3)),
        ),
        description="evaluation settings; fewer steps than the paper's 40 and weaker guidance, for cleaner pictures "
        "(docs/log/demo.md#new-people)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """One person: the script, and the phases detected in the sample, in the control and in the drawn film."""

    clip_id: str
    annotation: Annotation
    swapped_annotation: Annotation | None  # None where the script has no two different actions
    text: str  # the text input of the model
    generated_phases: tuple[Phase, ...]
    swapped_phases: tuple[Phase, ...]
    drawn_phases: tuple[Phase, ...]  # in the drawn film, reconstructed by the codec


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPeople:
    """The people whose videos are kept, and the evaluation of all."""

    people: tuple[NewPerson, ...]
    evaluation: Evaluation


_JSON = TypeAdapter(NewPeople)


def sample_new_people(run: Path, out: Path, settings: NewPeopleSettings, *, execution: Execution) -> NewPeople:
    """Draw the people, sample their scripts with the last finished stage and score them; a stored result is read.

    Raises:
        ConfigError: no finished stage.
    """
    weights = ids.file_sha256(run / last_finished_stage(run, run_settings(run)) / WEIGHTS_FILE)
    key = ids.content_key("new_people", __version__, weights, settings.model_dump())
    file = out / f"new-people-{key[:16]}.json"
    if file.is_file():
        return _JSON.validate_json(file.read_bytes())
    # The truth of the drawing is requested, and these are drawn people.
    how = settings.evaluation.model_copy(update={"layer": "gold", "reader": "drawn"})
    trained, people = load_trained(run), out / f"people-{settings.seed}-{settings.people}"
    draw_set(
        people,
        partial(_member, seed=_SEED_OFFSET + settings.seed),
        count=settings.people,
        name="new-people",
        size_px=FILM_PX,
        jobs=execution.jobs,
    )
    cache_settings = trained.settings.cache
    text = cache_settings.text.model_copy(update={"layer": how.layer})
    build_cache(people, cache_settings.model_copy(update={"text": text}), execution=execution, shows_progress=False)
    evaluation = evaluate(run, [people], how)
    cache = open_training_cache(trained, people, layer=how.layer)
    reader = open_reader(cache, trained, how)
    clips = islice(held_out_clips(cache, split="test", limit=settings.videos), settings.videos)
    shown = tuple(_person(clip, trained, reader, out, how.sample) for clip in clips)
    result = NewPeople(people=shown, evaluation=evaluation)
    write_bytes(file, _JSON.dump_json(result, indent=1))
    return result


def video_path(out: Path, clip_id: str, kind: VideoKind) -> Path:
    """Path of a video of one person."""
    return out / f"{clip_id}-{kind}.mp4"


def _member(index: int, *, seed: int) -> SetMember:
    film = acting_film(index, seed=seed, frames=STRETCH_FRAMES, actions=_two_actions)
    return SetMember(film=film, split="test")


def _two_actions(rng: Generator, frames: int) -> tuple[PlannedAction, ...]:
    """A script with two different actions, so that the control can swap them."""
    while True:
        planned = spread_actions(rng, frames, SCRIPTS)
        if len({(one.action, one.laterality) for one in planned}) > 1:
            return planned


def _person(
    clip: HeldOutClip, trained: TrainedModel, reader: FaceReader, out: Path, settings: SampleSettings
) -> NewPerson:
    """Sample with the noise of the evaluation, so that these are exactly the pictures that it scores."""
    other = swapped(clip.annotation, FACE_TRACKS)
    (generated,) = trained.sample([sample_request(clip, clip.annotation, trained)], settings)
    pictures: dict[VideoKind, Pictures] = {"drawn": trained.decode(clip.latent_CFHW), "generated": generated}
    if other is not None:
        (pictures["swapped"],) = trained.sample([sample_request(clip, other, trained)], settings)
    rate = trained.settings.cache.picture.rate
    for kind, shown in pictures.items():
        _write(video_path(out, clip.clip.clip_id, kind), trained.enlarge(shown), clip.waveform, rate=rate)
    found = {kind: analyse_clip(clip, shown, reader=reader, rate=rate).phases for kind, shown in pictures.items()}
    return NewPerson(
        clip_id=clip.clip.clip_id,
        annotation=clip.annotation,
        swapped_annotation=other,
        text=sample_request(clip, clip.annotation, trained).text.text,
        generated_phases=found["generated"],
        swapped_phases=found.get("swapped", ()),
        drawn_phases=found["drawn"],
    )


def _write(file: Path, pictures: Pictures, sound: Samples, *, rate: FrameRate) -> None:
    frames = range(len(sound) // SAMPLES_PER_FRAME)
    size = (VIDEO_PX * pictures.shape[2] // pictures.shape[1], VIDEO_PX)
    large = [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8) for picture in pictures]
    resampled = (large[min(frame_at(frame_start_us(k, CLIP_RATE), rate), len(large) - 1)] for k in frames)
    write_clip(file, frames=resampled, sound=sound)
