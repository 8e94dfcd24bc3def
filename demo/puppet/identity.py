"""Identity of a puppet: proportions, appearance and scene, which do not change while it moves.

A function of the seed alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""
Hair = Literal["shaved", "crop", "parted", "quiff", "curls", "bob", "long", "bun"]
Beard = Literal["none", "stubble", "full"]
ClothingTop = Literal["tee", "shirt", "hoodie"]

HAIRS: tuple[Hair, ...] = ("crop", "parted", "quiff", "curls", "bob", "long", "bun", "shaved")
# Stops from the lightest to the darkest human skin; a puppet's tone lies anywhere on the line through them.
SKINS = (
    (242, 212, 194),
    (234, 194, 166),
    (218, 170, 136),
    (194, 144, 108),
    (160, 112, 80),
    (122, 82, 60),
    (88, 60, 48),
)
HAIR_COLOURS = ((28, 24, 26), (48, 34, 30), (84, 54, 38), (120, 78, 46), (176, 126, 70), (206, 168, 110), (150, 70, 40))
GREY_HAIR = (168, 166, 168)
CLOTHES = ((52, 84, 130), (38, 110, 104), (176, 74, 70), (222, 162, 74), (90, 76, 124), (60, 66, 78), (216, 212, 204))
WALLS = (
    (180, 196, 206),
    (206, 194, 176),
    (186, 198, 180),
    (196, 184, 200),
    (160, 172, 188),
    (210, 202, 190),
    (112, 128, 140),
)

WAIST_SCALE = 0.5
"""Size of a person who is seen to the waist; of one seen to the shoulders it is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyProportions:
    """Proportions of head and features, each a factor on an average head unless it says otherwise."""

    face_width: float
    jaw_width: float
    face_length: float  # of the part below the eyes
    cheeks: float
    nose_length: float
    nose_width: float
    nose_height: float
    eye_size: float
    eye_spacing: float
    eye_tilt: float  # rise of the outer corner, in eye half-widths
    brow_height: float
    brow_thickness: float
    mouth_width: float
    lip_thickness: float
    ear_size: float
    shoulder_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """Colours, hair and clothes."""

    skin: Colour
    hair_colour: Colour
    iris: Colour
    lips: Colour
    hair: Hair
    parting: float  # -1 the own right .. 1 the own left
    beard: Beard
    glasses: bool
    top: ClothingTop
    clothes: Colour
    collar: Colour
    long_sleeves: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Camera, light and background."""

    head_share: float  # height from chin to crown over the height of the picture
    centre_x: float  # of the resting head from the middle of the picture, share of its height, positive: own left
    eye_line: float  # height of the resting eyes below the upper edge, share of the picture's height
    light: tuple[float, float, float]  # unit vector towards the lamp: own left, up, to the camera
    contrast: float  # 0 flat light .. 1 a single lamp
    gain: float  # gain on the whole picture
    wall: Colour
    decor_seed: int  # seed of the objects on the wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One puppet."""

    seed: int
    proportions: BodyProportions
    appearance: Appearance
    scene: Scene


def random_identity(seed: int) -> Identity:
    """Return the puppet of a seed (>= 0), identical on every machine. Neighbouring seeds give unrelated puppets."""
    rng = np.random.default_rng((0x9E77, seed))
    return Identity(
        seed=seed, proportions=_random_proportions(rng), appearance=_random_appearance(rng), scene=_random_scene(rng)
    )


def from_further_away(identity: Identity, scale: float = WAIST_SCALE) -> Identity:
    """The same puppet, `scale` as large: to the waist, raised hands are in the picture and hanging ones at its edge."""
    scene = identity.scene
    share = scale * scene.head_share
    return replace(identity, scene=replace(scene, head_share=share, eye_line=0.08 + 0.5 * share))


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Interpolate from colour a to b by `share`, 0..1."""
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


def shade(colour: Colour, gain: float) -> Colour:
    """Multiply a colour by `gain`, clipped to 255."""
    red, green, blue = (min(255, round(channel * gain)) for channel in colour)
    return red, green, blue


def _random_proportions(rng: Generator) -> BodyProportions:
    def about(mean: float, spread: float) -> float:
        return float(rng.uniform(mean - spread, mean + spread))

    return BodyProportions(
        face_width=about(1.0, 0.06),
        jaw_width=about(1.0, 0.08),
        face_length=about(1.0, 0.04),
        cheeks=about(1.0, 0.5),
        nose_length=about(1.0, 0.05),
        nose_width=about(1.0, 0.18),
        nose_height=about(1.0, 0.2),
        eye_size=about(1.1, 0.1),
        eye_spacing=about(1.0, 0.06),
        eye_tilt=about(0.06, 0.12),
        brow_height=about(1.0, 0.1),
        brow_thickness=about(1.0, 0.35),
        mouth_width=about(1.0, 0.1),
        lip_thickness=about(1.0, 0.3),
        ear_size=about(1.0, 0.15),
        shoulder_width=about(1.0, 0.1),
    )


def _random_appearance(rng: Generator) -> Appearance:
    tone = float(rng.uniform(0, 1))
    skin = _interpolate_colours(SKINS, tone)
    hair_colour: Colour = _pick_colour(rng, HAIR_COLOURS[: 3 if tone > 0.55 else None])
    if rng.random() < 0.12:
        hair_colour = GREY_HAIR
    hair = HAIRS[rng.choice(len(HAIRS), p=(0.16, 0.15, 0.13, 0.13, 0.13, 0.14, 0.1, 0.06))]
    short = hair in ("shaved", "crop", "parted", "quiff")
    beards: tuple[Beard, ...] = ("none", "stubble", "full")
    tops: tuple[ClothingTop, ...] = ("tee", "shirt", "hoodie")
    clothes = _pick_colour(rng, CLOTHES)
    return Appearance(
        skin=skin,
        hair_colour=hair_colour,
        iris=_pick_colour(
            rng, ((84, 56, 36), (60, 40, 30)) if tone > 0.5 else ((84, 56, 36), (70, 104, 92), (82, 116, 150))
        ),
        lips=blend(shade(skin, 0.86), (176, 52, 66), float(rng.uniform(0.3, 0.55))),
        hair=hair,
        parting=float(rng.choice((-1.0, 1.0)) * rng.uniform(0.4, 1.0)),
        beard=beards[rng.choice(3, p=(0.55, 0.25, 0.2))] if short else "none",
        glasses=bool(rng.random() < 0.22),
        top=tops[rng.integers(3)],
        clothes=clothes,
        collar=shade(clothes, 0.78) if sum(clothes) > 300 else blend(clothes, (255, 255, 255), 0.25),
        long_sleeves=bool(rng.random() < 0.6),
    )


def _random_scene(rng: Generator) -> Scene:
    light = np.array((rng.uniform(-0.8, 0.8), rng.uniform(0.25, 0.8), 1.0))
    x, y, z = (float(v) for v in light / np.sqrt(np.sum(light**2)))
    head_share = float(rng.uniform(0.36, 0.5))
    return Scene(
        head_share=head_share,
        centre_x=float(rng.uniform(-0.04, 0.04)),
        eye_line=float(rng.uniform(0.1, 0.16)) + 0.5 * head_share,
        light=(x, y, z),
        contrast=float(rng.uniform(0.35, 0.8)),
        gain=float(rng.uniform(0.84, 1.06)),
        wall=_pick_colour(rng, WALLS),
        decor_seed=int(rng.integers(2**31)),
    )


def _pick_colour(rng: Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[rng.integers(len(colours))]


def _interpolate_colours(stops: tuple[Colour, ...], share: float) -> Colour:
    place = share * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    return blend(stops[first], stops[first + 1], place - first)
