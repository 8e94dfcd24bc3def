"""What a film of the corpus tells: takes with their heads, the edit between them, and the sound. No pixels yet.

A film is a function of (seed, index). Its kind says which fault or edit is planted in it; everything about the fault is
here, so the truth of a film follows from its story alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xsheet.demo.film import sounds, voice
from xsheet.demo.film.voice import Speech
from xsheet.demo.puppet.act import motion_curves
from xsheet.demo.puppet.pose import Motion
from xsheet.demo.puppet.script import PlannedAction, plan_actions
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, Span, frame_start_us, span_of_frames

FilmKind = Literal[
    "talk", "offset", "far_offset", "swapped", "silence", "music", "voice_over", "still", "two_heads",
    "hard_cut", "jump_cut", "dissolve", "flash",
]  # fmt: skip
Sound = NDArray[np.float32]

# Twenty films hold every kind: seven without a fault, two with an offset that can be mended, one of each other kind.
KIND_CYCLE: tuple[FilmKind, ...] = (
    *("talk",) * 7, *("offset",) * 2, "far_offset", "swapped", "silence", "music", "voice_over", "still", "two_heads",
    "hard_cut", "jump_cut", "dissolve", "flash",
)  # fmt: skip
SHOT_FRAMES = (100, 176)  # 4 to 7 s: a canonical clip holds 3 to 10 s
CORRECTABLE_OFFSET_FRAMES = (1, 6)  # what curation mends by shifting the sound
UNCORRECTABLE_OFFSET_FRAMES = (8, 15)  # beyond that, and inside what a scorer searches
DISSOLVE_FRAMES = (12, 25)
JUMP_SHARE = (0.03, 0.06)  # of the picture's height, by which a head sits elsewhere after a jump cut
JUMP_DEG = (2.0, 5.0)  # and by which it is tilted
SAMPLES_PER_FRAME = AUDIO_RATE.num // CLIP_RATE.num


@dataclass(frozen=True, slots=True, kw_only=True)
class CastMember:
    """One puppet in one take."""

    identity: int  # seed of its looks
    motion: Motion
    actions: tuple[PlannedAction, ...]
    speech: Speech | None  # what its mouth says, heard or not


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotPlan:
    """One shot. Its heads stand side by side, in the order of the picture from the left."""

    frames: range  # of the film
    opens_with: Literal["start", "cut", "gradual"]
    cast_members: tuple[CastMember, ...]
    speaker: int | None = None  # the head whose speech is in the sound
    backdrop_identity: int = 0  # whose wall is seen when there is no head
    flash: bool = False

    @property
    def span(self) -> Span:
        """Span in the film."""
        return span_of_frames(self.frames, CLIP_RATE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmPlan:
    """A film before it is drawn. Frames between two takes belong to a dissolve."""

    index: int
    seed: int
    kind: FilmKind
    shots: tuple[ShotPlan, ...]
    sound: Sound  # (640 frames,) at 16 kHz
    offset_frames: int = 0  # positive = the voice is late

    @property
    def frames(self) -> int:
        """Length of the film."""
        return self.shots[-1].frames.stop

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.index:04d}-{self.kind.replace('_', '-')}.mp4"


def film_kind(index: int, *, seed: int) -> FilmKind:
    """The kind of a film: every run of twenty holds all of them, each run in an order of its own."""
    cycle, place = divmod(index, len(KIND_CYCLE))
    order = np.random.default_rng((seed, cycle, 0xC1C)).permutation(len(KIND_CYCLE))
    return KIND_CYCLE[int(order[place])]


def plan_film(index: int, *, seed: int, kind: FilmKind | None = None) -> FilmPlan:
    """The story of a film; the same for the same numbers."""
    kind = kind or film_kind(index, seed=seed)
    rng = np.random.default_rng((seed, index, 0x5701))
    match kind:
        case "hard_cut" | "jump_cut" | "flash" | "dissolve":
            return _multi_shot(rng, index, seed, kind)
        case "two_heads":
            return _two_heads(rng, index, seed)
        case _:
            return _single_shot(rng, index, seed, kind)


def _single_shot(rng: Generator, index: int, seed: int, kind: FilmKind) -> FilmPlan:
    frames = _random_length(rng)
    head = _random_cast_member(rng, frames)
    assert head.speech is not None
    offset = 0
    match kind:
        case "offset" | "far_offset":
            low, high = CORRECTABLE_OFFSET_FRAMES if kind == "offset" else UNCORRECTABLE_OFFSET_FRAMES
            offset = int(rng.integers(low, high + 1) * rng.choice((-1, 1)))
            sound = sounds.shift_audio(head.speech.sound, frame_start_us(offset, CLIP_RATE), rng=rng)
        case "swapped":
            sound = voice.synthesise_speech(rng, frames).sound
        case "silence":
            sound = sounds.silence(frames)
        case "music":
            sound = sounds.music(rng, frames)
        case _:
            sound = head.speech.sound
    take = ShotPlan(
        frames=range(frames),
        opens_with="start",
        cast_members={"voice_over": (), "still": (_without_motion(head),)}.get(kind, (head,)),
        speaker=0 if kind in ("talk", "offset", "far_offset") else None,
        backdrop_identity=head.identity,
    )
    return FilmPlan(index=index, seed=seed, kind=kind, shots=(take,), sound=sound, offset_frames=offset)


def _two_heads(rng: Generator, index: int, seed: int) -> FilmPlan:
    frames = _random_length(rng)
    heads = (_random_cast_member(rng, frames), _random_cast_member(rng, frames))
    heard = int(rng.integers(2))
    if rng.random() < 0.5:  # else both mouths talk, and only the sound tells whose voice it is
        listener = _random_cast_member(rng, frames, speaks=False)
        heads = (heads[0], listener) if heard == 0 else (listener, heads[1])
    speech = heads[heard].speech
    assert speech is not None
    take = ShotPlan(frames=range(frames), opens_with="start", cast_members=heads, speaker=heard)
    return FilmPlan(index=index, seed=seed, kind="two_heads", shots=(take,), sound=speech.sound)


def _multi_shot(rng: Generator, index: int, seed: int, kind: FilmKind) -> FilmPlan:
    gap = {"flash": 1, "dissolve": int(rng.integers(*DISSOLVE_FRAMES))}.get(kind, 0)
    lengths = _random_length(rng), _random_length(rng)
    first = _random_cast_member(rng, lengths[0])
    second = _random_cast_member(rng, lengths[1], identity=None if kind in ("hard_cut", "dissolve") else first.identity)
    if kind == "jump_cut":
        second = _check_displacement(rng, second)
    assert first.speech is not None
    assert second.speech is not None
    middle = range(lengths[0], lengths[0] + gap)
    takes = [
        ShotPlan(frames=range(lengths[0]), opens_with="start", cast_members=(first,), speaker=0),
        ShotPlan(
            frames=range(middle.stop, middle.stop + lengths[1]),
            opens_with="gradual" if kind == "dissolve" else "cut",
            cast_members=(second,),
            speaker=0,
        ),
    ]
    if kind == "flash":
        takes.insert(1, ShotPlan(frames=middle, opens_with="cut", cast_members=(), flash=True))
    between = sounds.room_noise(rng, gap, level_db=sounds.FLOOR_DB) if gap else sounds.silence(0)
    sound = np.concatenate([first.speech.sound, between, second.speech.sound])
    return FilmPlan(index=index, seed=seed, kind=kind, shots=tuple(takes), sound=sound)


def _random_cast_member(rng: Generator, frames: int, *, identity: int | None = None, speaks: bool = True) -> CastMember:
    speech = voice.synthesise_speech(rng, frames) if speaks else None
    planned = plan_actions(rng, frames, speech=speech)
    motion = motion_curves(planned, frames, speech=speech, rng=rng)
    seed = int(rng.integers(2**31)) if identity is None else identity
    return CastMember(identity=seed, motion=motion, actions=planned, speech=speech)


def _without_motion(head: CastMember) -> CastMember:
    motion = Motion.rest(len(head.motion))
    return replace(head, motion=motion, actions=())


def _check_displacement(rng: Generator, head: CastMember) -> CastMember:
    """The same head sitting a little elsewhere, as it does when a piece of a take is cut out."""
    aside, turned = (rng.uniform(low, high) * rng.choice((-1, 1)) for low, high in (JUMP_SHARE, JUMP_DEG))
    motion = head.motion
    return replace(
        head,
        motion=replace(
            motion,
            shift_x=(motion.shift_x + aside).astype(np.float32),
            roll_deg=(motion.roll_deg + turned).astype(np.float32),
        ),
    )


def _random_length(rng: Generator) -> int:
    return int(rng.integers(*SHOT_FRAMES))
