"""Drift and seams over half a minute: long samples of drawn people, window after window.

    python benchmarks/windows.py RUN [--people 8] [--seconds 30] [--draw PNG]

RUN is a finished run of the tiny size (pretrain.py leaves that of the base in FOLDER/run). Each person is drawn while
speaking and acting for the whole time; the model gets the first picture, the voice and the script. The table compares
ways to continue a window, by thirds of the video; the drawn film through the codec is the ceiling.

    drift       mean colour of the picture in a third against that of the film, levels of 255
    contrast    standard deviation over the film's; below 1 pictures fade or blur
    seam        change from the last frame of a window to the next window over that between other latent frames; 1 =
                not visible
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from xsheet.demo.drawn_set import acting_film, spread_actions
from xsheet.demo.film.render import render_film
from xsheet.demo.film.truth import truth_rows
from xsheet.demo.new_people import SCRIPTS
from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.settings import load_settings
from xsheet.schemas.time import CLIP_RATE, Span, frame_at, frame_start_us
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.evaluate.analyse import analyse_clip
from xsheet.train.evaluate.held_out import HeldOutClip
from xsheet.train.evaluate.readers import FACE_TRACKS, FaceReader
from xsheet.train.evaluate.scores import score_phases
from xsheet.train.evaluate.small_reader import load_shipped_reader
from xsheet.train.sample.long_sample import LongSample
from xsheet.train.sample.portrait import PortraitFace, static_masks
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, load_trained
from xsheet.train.sample.script import ActionScript, ScriptPhase

SEED, FILM_PX, THIRDS = 8_000_000, 128, 3
SAMPLING = ("steps=25", "guidance.scale=3")
CEILING = "drawn film, through the codec"
WAYS: dict[str, tuple[str, ...]] = {
    "portrait, σ .2 (default)": (),
    "portrait, σ 0": ("window.history_sigma=0",),
    "portrait, σ .6": ("window.history_sigma=0.6",),
    "last picture, σ .2": ("window.reference=previous",),
}
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A drawn film as the model is shown it, with its truth."""

    pictures: Pictures  # (T, H, W, 3) at the rate of the model
    held_out: HeldOutClip
    sample: partial[LongSample]
    script: ActionScript


def draw_person(index: int, trained: TrainedModel, *, seconds: float) -> Person:
    """Draw a person who speaks and acts for so long, cut as training cuts its clips."""
    frames = round(seconds * float(CLIP_RATE))
    film = acting_film(index, seed=SEED, frames=frames, actions=partial(spread_actions, mix=SCRIPTS))
    rows = list(truth_rows(film, f"src_{index}"))
    (signals,) = (row for row in rows if isinstance(row, Signals))
    (truth,) = (row for row in rows if isinstance(row, Annotation))
    clip = Clip(
        clip_id=signals.clip_id, source_id=f"src_{index}", start_us=0, end_us=frame_start_us(frames, CLIP_RATE),
        media_path="none", media_sha256="0" * 64, frames=frames, samples=len(film.sound), width=FILM_PX,
        height=FILM_PX,
    )  # fmt: skip
    picture = trained.settings.cache.picture
    x, y, height = (float(np.median(getattr(signals, name))) for name in ("head_x", "head_y", "head_height"))
    fit = fit_to_bucket(clip, picture, face=(x, y, height))
    shown = [frame_start_us(k, picture.rate) for k in range(1 + (frames * picture.fps // 25 - 1) // 4 * 4)]
    wanted = {frame_at(us, CLIP_RATE) for us in shown}
    assert isinstance(fit, BucketFit), fit
    size = fit.scaled_size
    pictures = np.stack(
        [
            fit.crop_picture(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))
            for k, rgb in enumerate(render_film(film, height_px=FILM_PX))
            if k in wanted
        ]
    )
    face = PortraitFace(position=(x, y, height), identity_embedding=())
    masks = static_masks(face, fit, cell=trained.encoders.video.stride[1:])
    latents = 1 + (len(pictures) - 1) // 4
    whole = [mask[:1].expand(latents, -1, -1) for mask in masks]
    held_out = HeldOutClip(
        clip=clip, span=Span(0, clip.end_us), annotation=truth, complete_phase_ids=frozenset(), signals=signals,
        latent_CFHW=torch.zeros(1), audio_TLQ=torch.zeros(1), face_FHW=whole[0], mouth_FHW=whole[1], identity_X=None,
        waveform=film.sound,
    )  # fmt: skip
    sample = partial(
        LongSample, trained=trained, first=pictures[0], masks=masks, frames=fit.bucket.frames, waveform=film.sound
    )
    return Person(pictures=pictures, held_out=held_out, sample=sample, script=script_of(truth))


def script_of(truth: Annotation) -> ActionScript:
    """The drawn actions as a user would ask for them."""
    assert truth.base is not None
    phases = [
        ScriptPhase(
            start_s=p.start_us / 1e6, end_s=p.end_us / 1e6, text=p.text, track=p.track, action=p.action,
            laterality=p.laterality,
        )
        for p in truth.phases
        if p.action != "rest"
    ]  # fmt: skip
    return ActionScript(base=truth.base.text, phases=tuple(phases))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One video: a value per third, and one for the seams."""

    drift: Sequence[float]
    contrast: Sequence[float]
    mouth_r: Sequence[float | None]
    correct: Sequence[Sequence[bool]]
    start_errors_s: Sequence[Sequence[float]]
    seam: float | None


def measure(person: Person, pictures: Pictures, *, starts: Sequence[int], overlap: int, reader: FaceReader) -> Measured:
    """Compare a video with the drawn film, by thirds; `starts` are the first frames of the windows."""
    film, rate = person.pictures, person.sample.keywords["trained"].settings.cache.picture.rate
    parts = np.array_split(np.arange(len(film)), THIRDS)
    found = analyse_clip(person.held_out, pictures, reader=reader, rate=rate)
    end_us = person.held_out.span.end_us
    scores = [(phase, score) for phase in requested_phases(person) for score in score_phases([phase], found.phases)]
    by_third = [
        [score for phase, score in scores if part * end_us <= THIRDS * phase.start_us < (part + 1) * end_us]
        for part in range(THIRDS)
    ]
    mouth, true_mouth = reader(pictures)["mouth_open"], reader(film)["mouth_open"]
    change = np.abs(np.diff(pictures.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
    borders = np.arange(0, len(change), FRAMES_PER_LATENT)  # between latent frames; a window is new after the overlap
    at_seam = np.isin(borders, [start + FRAMES_PER_LATENT * overlap for start in starts[1:]])
    border_change = change[borders]
    return Measured(
        drift=[float(np.abs(colour(pictures[part]) - colour(film[part])).mean()) for part in parts],
        contrast=[float(pictures[part].std(axis=(1, 2)).mean() / film[part].std(axis=(1, 2)).mean()) for part in parts],
        mouth_r=[float(np.corrcoef(mouth[part], true_mouth[part])[0, 1]) for part in parts],
        correct=[[score.is_class_correct for score in third] for third in by_third],
        start_errors_s=[[s.start_error_s for s in third if s.start_error_s is not None] for third in by_third],
        seam=float(border_change[at_seam].mean() / border_change[~at_seam].mean()) if at_seam.any() else None,
    )


def requested_phases(person: Person) -> list[Phase]:
    """The requested actions that a face picture shows."""
    return [p for p in person.held_out.annotation.phases if p.action != "rest" and p.track in FACE_TRACKS]


def colour(pictures: Pictures) -> NDArray[np.float64]:
    """Mean of each channel."""
    return np.asarray(pictures.mean(axis=(0, 1, 2)), np.float64)


def row(name: str, measured: Sequence[Measured]) -> str:
    """One way to continue as a line of the table."""

    def thirds(values: Iterator[Sequence[float | None]]) -> str:
        return ", ".join(f"{value:.2f}" for value in np.nanmean(np.array(list(values), float), axis=0))

    right = [[flag for one in measured for flag in one.correct[k]] for k in range(THIRDS)]
    starts = [[error for one in measured for error in one.start_errors_s[k]] for k in range(THIRDS)]
    seams = [one.seam for one in measured if one.seam is not None]
    cells = (
        thirds(one.drift for one in measured),
        thirds(one.contrast for one in measured),
        thirds(one.mouth_r for one in measured),
        ", ".join(f"{sum(third)} of {len(third)}" for third in right),
        ", ".join(f"{np.median(third):.2f}" if third else "" for third in starts),
        f"{np.mean(seams):.2f}" if seams else "",
    )
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Draw, sample and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--draw", type=Path, metavar="PNG", help="the first person by the default, two frames a second")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    trained = load_trained(given.run)
    people = [draw_person(index, trained, seconds=given.seconds) for index in range(given.people)]
    print("| continued from | drift | contrast | mouth r | actions right | median start error, s | seam |")
    print("|---|---|---|---|---|---|---|")
    reader = load_shipped_reader()
    for name, overrides in {CEILING: (), **WAYS}.items():
        settings = load_settings(SampleSettings, overrides=[*SAMPLING, *overrides])
        measured = []
        for k, person in enumerate(people):
            sample = person.sample(settings=settings)
            if name == CEILING:
                latent = trained.encoders.video.encode(torch.from_numpy(person.pictures)[None])
                shown = trained.decode(latent[0])
            else:
                shown = sample.sample(person.script)[: len(person.pictures)]
            starts, overlap = sample.starts(person.script), settings.window.overlap
            measured.append(measure(person, shown, starts=starts, overlap=overlap, reader=reader))
            if k == 0 and name == next(iter(WAYS)) and given.draw is not None:
                draw(given.draw, trained.enlarge(shown), person.pictures)
        print(row(name, measured), flush=True)


def draw(file: Path, sampled: Pictures, film: Pictures) -> None:
    """Sample above film, two frames a second, a row per ten seconds."""
    size = sampled.shape[1:3]
    other = np.stack([cv2.resize(picture, size[::-1]) for picture in film])
    rows = []
    for start in range(0, len(film) - 99, 100):
        rows += [np.concatenate(list(video[start : start + 100 : 5]), axis=1) for video in (sampled, other)]
    Image.fromarray(np.concatenate(rows).astype(np.uint8)).save(file)


if __name__ == "__main__":
    main()
