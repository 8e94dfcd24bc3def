"""Select and scale the bands of the DCT video encoder on the puppet, and measure the quality for a number of bands.

    python benchmarks/codec.py [--films 40] [--table]

PSNR over all pixels and over the mouth, and the correlation of a linear mouth reader on decoded pictures of held-out
films (ceiling: the same on the original pictures).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.identity import random_identity
from xsheet.model.encoders.video import BANDS, Band, DctCodec

Key = tuple[int, int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the picture
FRAMES, DRAWN, SEED = 65, 256, 5
VIEWS = {  # name: size, framing, every n-th frame of 25 a second
    "64": (64, "whole", 2), "96": (96, "whole", 2), "128": (128, "whole", 2), "head 64": (64, "head", 2),
    "head 64, 25 fps": (64, "head", 1), "head 96": (96, "head", 2),
}  # fmt: skip
FITTED = ("64", "96", "head 64", "head 96")
LUMA_STILL = 10  # luma bands constant in time, by variance
# Mean, vertical slope and vertical curvature of each of the four frames, which follow the mouth, and horizontal slope.
LUMA_MOVING: list[Key] = [*((0, t, y, 0) for y in range(3) for t in (1, 2, 3)), (0, 1, 0, 1)]
EVERY = [Band(c, t, y, x, 0.0, 1.0) for c in range(3) for t in range(4) for y in range(8) for x in range(8)]


@dataclass(frozen=True, eq=False)
class View:
    """The same films in one size, framing and rate."""

    name: str
    rgb: Tensor  # uint8 (B, T, H, W, 3)
    mouth: NDArray[np.floating]  # (B, T)
    boxes: Sequence[Box]  # box of the mouth


@dataclass(frozen=True, eq=False)
class Drawn:
    """The first frames of a film."""

    frames: NDArray[np.uint8]  # (T, H, W, 3)
    mouth: NDArray[np.floating]  # (T,)
    head: tuple[float, float, float]  # centre and height, as shares of the picture


def draw(index: int) -> Drawn:
    plan = plan_film(index, seed=SEED, kind="talk")
    frames = np.stack(list(islice(render_film(plan, height_px=DRAWN), FRAMES)))
    # The frame number in the corner would be the largest change in the picture.
    frames[:, -34:, :50] = frames[:1, 200:201, :50]
    head = plan.shots[0].cast_members[0]
    scene = random_identity(head.identity).scene
    return Drawn(frames, head.motion.mouth_open[:FRAMES], (0.5 + scene.centre_x, scene.eye_line, scene.head_share))


def view(name: str, films: Sequence[Drawn]) -> View:
    size, framing, step = VIEWS[name]
    clips, boxes = [], []
    for film in films:
        x, y, height = film.head
        left, top, right, bottom = (0.0, 0.0, 1.0, 1.0)
        if framing == "head":
            reach = 0.85 * height
            left, right = max(0.0, x - reach), min(1.0, x + reach)
            top, bottom = max(0.0, y + 0.05 * height - reach), min(1.0, y + 0.05 * height + reach)
        a, b, c, d = (round(v * DRAWN) for v in (left, right, top, bottom))
        cut = film.frames[::step, c:d, a:b]
        cut = cut[: (len(cut) - 1) // 4 * 4 + 1]
        clips.append(np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in cut]))
        across, down = right - left, bottom - top
        mouth = (x - left) / across, (y + 0.27 * height - top) / down
        half = 0.22 * height / across, 0.2 * height / down
        boxes.append((mouth[0] - half[0], mouth[1] - half[1], mouth[0] + half[0], mouth[1] + half[1]))
    rgb = np.stack(clips)
    mouths = np.stack([film.mouth[::step][: rgb.shape[1]] for film in films])
    return View(name, torch.from_numpy(rgb), mouths, boxes)


def energies(views: Sequence[View]) -> dict[Key, float]:
    """Share of the variance of each band, mean over the views; frame 0 left out."""
    shares = []
    for one in views:
        bands = DctCodec(EVERY).encode(one.rgb)[:, :, 1:]
        variance = bands.var((0, 2, 3, 4)).double()
        shares.append(variance / variance.sum())
    mean = torch.stack(shares).mean(0).tolist()
    return {band[:4]: share for band, share in zip(EVERY, mean, strict=True)}


def chosen(energy: dict[Key, float], counts: tuple[int, int, int], moving: Sequence[Key]) -> list[Key]:
    """The strongest bands that are constant in time for each colour, and the given ones that change."""
    still = sorted((key for key in energy if key[1] == 0), key=lambda key: -energy[key])
    wanted = (counts[0] - len(moving), *counts[1:])
    return [k for colour, n in enumerate(wanted) for k in [k for k in still if k[0] == colour][:n]] + list(moving)


def strongest(energy: dict[Key, float], counts: tuple[int, int, int]) -> list[Key]:
    order = sorted(energy, key=lambda key: -energy[key])
    return [k for colour, n in enumerate(counts) for k in [k for k in order if k[0] == colour][:n]]


def scaled(keys: Sequence[Key], views: Sequence[View]) -> list[Band]:
    """Mean and deviation over the views; only the mean of a whole cell's colour is not zero by symmetry."""
    codec = DctCodec([Band(*key, 0.0, 1.0) for key in keys])
    bands = [codec.encode(one.rgb)[:, :, 1:].movedim(1, 0).flatten(1) for one in views]
    means = torch.stack([b.mean(1) for b in bands]).mean(0).tolist()
    squares = torch.stack([b.square().mean(1) for b in bands]).mean(0).tolist()
    found = []
    for key, mean, square in zip(keys, means, squares, strict=True):
        centre = mean if not any(key[1:]) else 0.0
        found.append(Band(*key, round(centre, 3), round((square - centre**2) ** 0.5, 3)))
    return found


def psnr(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(10 * np.log10(255**2 / np.square(a - b).mean()))


def mouths(rgb_BTHW3: Tensor, boxes: Sequence[Box]) -> NDArray[np.float32]:
    """(B, T, 10, 12, 3)"""
    size = rgb_BTHW3.shape[2]
    found = []
    for clip, box in zip(rgb_BTHW3.numpy(), boxes, strict=True):
        left, top, right, bottom = (int(max(0, v) * size) for v in box)
        cut = clip[:, top:bottom, left:right].astype(np.float32)
        found.append(np.stack([cv2.resize(f, (12, 10), interpolation=cv2.INTER_AREA) for f in cut]))
    return np.stack(found)


def followed(mouth: NDArray[np.float32], truth: NDArray[np.floating]) -> float:
    """Mean correlation with the planted mouth opening on odd films, of a ridge regression fitted on even films."""
    x = (mouth - mouth.mean(1, keepdims=True)).reshape(*mouth.shape[:2], -1) / 64
    y = truth - truth.mean(1, keepdims=True)
    seen = x[::2].reshape(-1, x.shape[-1])
    weights = np.linalg.solve(seen.T @ seen + 20 * np.eye(x.shape[-1]), seen.T @ y[::2].ravel())
    return float(np.mean([np.corrcoef(a @ weights, b)[0, 1] for a, b in zip(x[1::2], y[1::2], strict=True)]))


def report(name: str, codec: DctCodec | None, views: Sequence[View]) -> Iterator[str]:
    for one in views:
        before = mouths(one.rgb, one.boxes)
        if codec is None:
            yield f"{followed(before, one.mouth):.2f}"
            continue
        decoded = codec.decode(codec.encode(one.rgb))
        after = mouths(decoded, one.boxes)
        picture = psnr(decoded.numpy().astype(np.float32), one.rgb.numpy().astype(np.float32))
        yield f"{picture:.1f} / {psnr(after, before):.1f} / {followed(after, one.mouth):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--table", action="store_true", help="print the bands for model/encoders/video.py")
    options = parser.parse_args()
    films = [draw(1000 + k) for k in range(options.films)]
    views = [view(name, films) for name in VIEWS]
    fitted = [one for one in views if one.name in FITTED]
    energy = energies(fitted)
    if options.table:
        for band in scaled(chosen(energy, (LUMA_STILL + len(LUMA_MOVING), 3, 1), LUMA_MOVING), fitted):
            print(f"    Band{tuple(band)},")
        return
    sets = {
        "16 + 4 + 4, strongest": strongest(energy, (16, 4, 4)),
        "20 + 3 + 1, strongest": strongest(energy, (20, 3, 1)),
    }
    sets |= {f"{n} strongest": sorted(energy, key=lambda key: -energy[key])[:n] for n in (36, 48, 72)}
    print("PSNR dB / PSNR dB of the mouth / correlation of a reader with the mouth\n")
    print("| bands | " + " | ".join(VIEWS) + " |\n|---|" + "---|" * len(VIEWS))
    rows: dict[str, DctCodec | None] = {"kept": DctCodec(BANDS)}
    rows |= {name: DctCodec([Band(*key, 0.0, 1.0) for key in keys]) for name, keys in sets.items()}
    for name, codec in (rows | {"uncoded": None}).items():
        print(f"| {name} | " + " | ".join(report(name, codec, views)) + " |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
