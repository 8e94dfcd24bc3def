"""Plan a film: shots and their puppets, the edit between shots, and the sound. Rendering comes later.

A film plan is a function of (seed, index). Its kind names the planted fault or edit, so the ground truth follows from
the plan alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xsheet.demo.film import sounds, voice
from xsheet.demo.film.voice import Speech
from xsheet.demo.puppet.act import motion_curves
from xsheet.demo.puppet.identity import WAIST_SCALE, Identity, from_further_away, random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.demo.puppet.script import PlannedAction, plan_actions
from xsheet.schemas import vocab
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, Span, frame_start_us, span_of_frames

FilmKind = Literal[
    "talk", "offset", "far_offset", "swapped", "silence", "music", "voice_over", "still", "two_heads",
    "hard_cut", "jump_cut", "dissolve", "flash",
]  # fmt: skip
Sound = NDArray[np.float32]

# Twenty films hold every kind: seven without a fault, two with a correctable offset, one of each other kind.
KIND_CYCLE: tuple[FilmKind, ...] = (
    *("talk",) * 7, *("offset",) * 2, "far_offset", "swapped", "silence", "music", "voice_over", "still", "two_heads",
    "hard_cut", "jump_cut", "dissolve", "flash",
)  # fmt: skip
SHOT_FRAMES = (100, 176)  # 4 to 7 s: a canonical clip holds 3 to 10 s
CORRECTABLE_OFFSET_FRAMES = (1, 6)  # curation corrects these by shifting the sound
UNCORRECTABLE_OFFSET_FRAMES = (8, 15)  # beyond that, and inside the search range of a scorer
DISSOLVE_FRAMES = (12, 25)
JUMP_SHARE = (0.03, 0.06)  # picture heights: shift of the head at a jump cut
JUMP_DEG = (2.0, 5.0)  # tilt of the head at a jump cut
SAMPLES_PER_FRAME = AUDIO_RATE.num // CLIP_RATE.num


@dataclass(frozen=True, slots=True, kw_only=True)
class CastMember:
    """One puppet in one shot."""

    identity: int  # seed of its appearance
    motion: Motion
    actions: tuple[PlannedAction, ...]
    speech: Speech | None  # drives the mouth, whether or not it is in the sound


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotPlan:
    """One shot. Its puppets stand side by side, from the left of the picture."""

    frames: range  # of the film
    opens_with: Literal["start", "cut", "gradual"]
    cast_members: tuple[CastMember, ...]
    speaker: int | None = None  # index of the cast member whose speech is in the sound
    backdrop_identity: int = 0  # identity whose background is drawn when there is no puppet
    flash: bool = False
    framing: vocab.Framing = "head_shoulders"  # or upper_body: hands are in the picture

    @property
    def span(self) -> Span:
        """Time span in the film."""
        return span_of_frames(self.frames, CLIP_RATE)

    def identity(self, member: CastMember) -> Identity:
        """The puppet of a cast member, in the framing of the shot."""
        near = random_identity(member.identity)
        return from_further_away(near) if self.framing == "upper_body" else near


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmPlan:
    """A film before rendering. Frames between two shots belong to a dissolve."""

    index: int
    seed: int
    kind: FilmKind
    shots: tuple[ShotPlan, ...]
    sound: Sound  # (640 frames,) at 16 kHz
    offset_frames: int = 0  # positive = the voice is late

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self.shots[-1].frames.stop

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.index:04d}-{self.kind.replace('_', '-')}.mp4"


def film_kind(index: int, *, seed: int) -> FilmKind:
    """Return the kind of a film; every twenty consecutive films contain every kind, in a random order."""
    cycle, position = divmod(index, len(KIND_CYCLE))
    order = np.random.default_rng((seed, cycle, 0xC1C)).permutation(len(KIND_CYCLE))
    return KIND_CYCLE[int(order[position])]


def plan_film(index: int, *, seed: int, kind: FilmKind | None = None) -> FilmPlan:
    """Plan one film; deterministic in index, seed and kind."""
    kind = kind or film_kind(index, seed=seed)
    rng = np.random.default_rng((seed, index, 0x5701))
    match kind:
        case "hard_cut" | "jump_cut" | "flash" | "dissolve":
            return _multi_shot(rng, index, seed, kind)
        case "two_heads":
            return _two_heads(rng, index, seed)
        case _:
            return _single_shot(rng, index, seed, kind)


def with_arms_in_picture(film: FilmPlan) -> FilmPlan:
    """The same film seen to the waist if one person talks and moves an arm; else the film itself."""
    if film.kind != "talk":
        return film
    (shot,) = film.shots
    (member,) = shot.cast_members
    if not any(action.track in ("arm_left", "arm_right") for action in member.actions):
        return film
    motion = member.motion  # shifts are shares of the picture's height, so they shrink with the person
    moved = replace(motion, shift_x=motion.shift_x * WAIST_SCALE, shift_y=motion.shift_y * WAIST_SCALE)
    return replace(film, shots=(replace(shot, cast_members=(replace(member, motion=moved),), framing="upper_body"),))


def _single_shot(rng: Generator, index: int, seed: int, kind: FilmKind) -> FilmPlan:
    frames = _random_length(rng)
    member = _random_cast_member(rng, frames)
    assert member.speech is not None
    offset = 0
    match kind:
        case "offset" | "far_offset":
            low, high = CORRECTABLE_OFFSET_FRAMES if kind == "offset" else UNCORRECTABLE_OFFSET_FRAMES
            offset = int(rng.integers(low, high + 1) * rng.choice((-1, 1)))
            sound = sounds.shift_audio(member.speech.sound, frame_start_us(offset, CLIP_RATE), rng=rng)
        case "swapped":
            sound = voice.synthesise_speech(rng, frames).sound
        case "silence":
            sound = sounds.silence(frames)
        case "music":
            sound = sounds.music(rng, frames)
        case _:
            sound = member.speech.sound
    shot = ShotPlan(
        frames=range(frames),
        opens_with="start",
        cast_members={"voice_over": (), "still": (_without_motion(member),)}.get(kind, (member,)),
        speaker=0 if kind in ("talk", "offset", "far_offset") else None,
        backdrop_identity=member.identity,
    )
    return FilmPlan(index=index, seed=seed, kind=kind, shots=(shot,), sound=sound, offset_frames=offset)


def _two_heads(rng: Generator, index: int, seed: int) -> FilmPlan:
    frames = _random_length(rng)
    members = (_random_cast_member(rng, frames), _random_cast_member(rng, frames))
    speaker = int(rng.integers(2))
    if rng.random() < 0.5:  # else both mouths move, and only lip-audio agreement identifies the speaker
        listener = _random_cast_member(rng, frames, speaks=False)
        members = (members[0], listener) if speaker == 0 else (listener, members[1])
    speech = members[speaker].speech
    assert speech is not None
    shot = ShotPlan(frames=range(frames), opens_with="start", cast_members=members, speaker=speaker)
    return FilmPlan(index=index, seed=seed, kind="two_heads", shots=(shot,), sound=speech.sound)


def _multi_shot(rng: Generator, index: int, seed: int, kind: FilmKind) -> FilmPlan:
    gap = {"flash": 1, "dissolve": int(rng.integers(*DISSOLVE_FRAMES))}.get(kind, 0)
    lengths = _random_length(rng), _random_length(rng)
    first = _random_cast_member(rng, lengths[0])
    second = _random_cast_member(rng, lengths[1], identity=None if kind in ("hard_cut", "dissolve") else first.identity)
    if kind == "jump_cut":
        second = _displaced(rng, second)
    assert first.speech is not None
    assert second.speech is not None
    middle = range(lengths[0], lengths[0] + gap)
    shots = [
        ShotPlan(frames=range(lengths[0]), opens_with="start", cast_members=(first,), speaker=0),
        ShotPlan(
            frames=range(middle.stop, middle.stop + lengths[1]),
            opens_with="gradual" if kind == "dissolve" else "cut",
            cast_members=(second,),
            speaker=0,
        ),
    ]
    if kind == "flash":
        shots.insert(1, ShotPlan(frames=middle, opens_with="cut", cast_members=(), flash=True))
    between = sounds.room_noise(rng, gap, level_db=sounds.FLOOR_DB) if gap else sounds.silence(0)
    sound = np.concatenate([first.speech.sound, between, second.speech.sound])
    return FilmPlan(index=index, seed=seed, kind=kind, shots=tuple(shots), sound=sound)


def _random_cast_member(rng: Generator, frames: int, *, identity: int | None = None, speaks: bool = True) -> CastMember:
    speech = voice.synthesise_speech(rng, frames) if speaks else None
    planned = plan_actions(rng, frames, speech=speech)
    motion = motion_curves(planned, frames, speech=speech, rng=rng)
    seed = int(rng.integers(2**31)) if identity is None else identity
    return CastMember(identity=seed, motion=motion, actions=planned, speech=speech)


def _without_motion(member: CastMember) -> CastMember:
    return replace(member, motion=Motion.rest(len(member.motion)), actions=())


def _displaced(rng: Generator, member: CastMember) -> CastMember:
    """Shift and tilt the head a little, as when part of a shot is cut out."""
    shift, tilt = (rng.uniform(low, high) * rng.choice((-1, 1)) for low, high in (JUMP_SHARE, JUMP_DEG))
    motion = member.motion
    return replace(
        member,
        motion=replace(
            motion,
            shift_x=(motion.shift_x + shift).astype(np.float32),
            roll_deg=(motion.roll_deg + tilt).astype(np.float32),
        ),
    )


def _random_length(rng: Generator) -> int:
    return int(rng.integers(*SHOT_FRAMES))
