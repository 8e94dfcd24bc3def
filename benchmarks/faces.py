"""Accuracy of the face and identity measurements: against the puppet's planted truth, and on the real test clips.

    python benchmarks/faces.py puppet|films|two-heads|real|cost|identity [--count 12] [--models DIR] [--shared DIR]

Each part prints one Markdown table for docs/log/.
"""

import argparse
import re
import time
from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from puppet import pictures, random_motion  # planted against measured pose, beside this file

from xsheet.curate.body.pose import PoseAnalyser, PoseSettings
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.demo.film.plan import FilmKind, plan_film
from xsheet.demo.film.render import render_film as film_pictures
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.errors import MediaError
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float64]
QUANTITIES = (
    "yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "mouth_wide", "smile", "brow_raise",
    "eye_left_open", "eye_right_open", "gaze_x",
)  # fmt: skip
LIMITS = (0.8, 1.0, 1.5)  # embedding distances below which two tracks might count as one person
MOVES = 0.15  # share of its range that a quantity must cover to count as moving in a film
RANGES = {"yaw_deg": 50.0, "pitch_deg": 30.0, "roll_deg": 30.0}


def framed(rgbs: Iterable[Rgb]) -> Iterator[Frame]:
    """Pictures as frames at 25 fps."""
    for index, rgb in enumerate(rgbs):
        yield Frame(index, 40_000 * index, rgb, index, 40_000 * index)


def watched(frames: Iterable[Frame], models: Path | None) -> tuple[list[FaceTrack], int]:
    """Tracks, and the number of frames."""
    count = 0
    with FaceTracker(FaceSettings(), models=models) as watcher:
        for frame in frames:
            watcher.add(frame)
            count += 1
        return watcher.tracks("src_benchmark"), count


def shown(media: MediaReader, *, long_side: int = 720) -> Iterator[Frame]:
    """Frames in the size of the analysis."""
    scale = long_side / max(media.size)
    width, height = (max(2, round(side * scale)) for side in media.size)
    return media.frames(size=(width, height))


def known(track: FaceTrack, frames: int) -> NDArray[np.bool_]:
    """(frames,) True where the track has a face."""
    seen = np.zeros(frames, bool)
    seen[track.start_frame : track.start_frame + track.frames] = [v is not None for v in track.x0]
    return seen


def series(track: FaceTrack, name: str, frames: int) -> Floats:
    """(frames,) with NaN for missing values."""
    values = np.full(frames, np.nan)
    values[track.start_frame : track.start_frame + track.frames] = [
        np.nan if v is None else v for v in getattr(track, name)
    ]
    return values


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r over frames where both are known; NaN if one of them is constant."""
    both = np.isfinite(a) & np.isfinite(b)
    if np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def against_truth(takes: Iterable[tuple[Motion, Iterable[Rgb]]], models: Path | None) -> None:
    """Print correlations over films of one head each."""
    truth: list[Motion] = []
    seen: list[dict[str, Floats]] = []
    found = 0
    for motion, rgbs in takes:
        tracks, frames = watched(framed(rgbs), models)
        found += int(np.any([known(track, frames) for track in tracks], axis=0).sum())
        longest = max(tracks, key=lambda track: track.frames)
        truth.append(motion)
        seen.append({name: series(longest, name, frames) for name in QUANTITIES})
    total = sum(len(motion) for motion in truth)
    print(f"{len(truth)} films, {total} frames, face found in {found / total:.2%}\n")
    print("| quantity | pooled r | own zero r | films in which it moves | median r there | worst | slope |")
    print("|---|---|---|---|---|---|---|")
    for name in QUANTITIES:
        true = [np.asarray(getattr(motion, name), np.float64) for motion in truth]
        got = [one[name] for one in seen]
        moving = [k for k, t in enumerate(true) if np.ptp(t) > MOVES * RANGES.get(name, 1.0)]
        each = [correlation(true[k], got[k]) for k in moving] or [np.nan]
        pooled_t, pooled_g = np.concatenate(true), np.concatenate(got)
        own_t, own_g = (np.concatenate([v - np.nanmedian(v) for v in side]) for side in (true, got))
        both = np.isfinite(pooled_g)
        slope = np.polyfit(pooled_t[both], pooled_g[both], 1)[0] if np.ptp(pooled_t) else np.nan
        r = (correlation(pooled_t, pooled_g), correlation(own_t, own_g)) if np.ptp(pooled_t) else (np.nan, np.nan)
        there = f"{np.median(each):.3f} | {min(each):.3f}"
        print(f"| {name} | {r[0]:.3f} | {r[1]:.3f} | {len(moving)} | {there} | {slope:.3f} |")


def sweeps(count: int) -> Iterator[tuple[Motion, Iterable[Rgb]]]:
    """New identities that move through the whole range of every quantity."""
    for seed in range(5000, 5000 + count):
        motion = random_motion(seed, 100)
        yield motion, pictures(seed, motion, size=360)


def films(count: int, kind: FilmKind = "talk") -> Iterator[tuple[Motion, Iterable[Rgb]]]:
    """Films of the corpus with one head."""
    for index in range(count):
        plan = plan_film(index, seed=6000, kind=kind)
        yield plan.shots[0].cast_members[0].motion, film_pictures(plan, height_px=360)


def two_heads(count: int, models: Path | None) -> None:
    """Print whether the two heads keep their tracks."""
    print("| film | tracks | share of frames of the two longest | r of mouth_open with own; with other head |")
    print("|---|---|---|---|")
    for index in range(count):
        plan = plan_film(index, seed=7000, kind="two_heads")
        tracks, frames = watched(framed(film_pictures(plan, height_px=360)), models)
        pair = sorted(sorted(tracks, key=lambda t: -t.frames)[:2], key=lambda t: t.x0[0] or 0.0)
        mouths = [np.asarray(head.motion.mouth_open, np.float64) for head in plan.shots[0].cast_members]
        own, other = (
            [correlation(series(pair[k], "mouth_open", frames), mouths[k ^ flip]) for k in (0, 1)] for flip in (0, 1)
        )
        shares = " ".join(f"{known(track, frames).mean():.3f}" for track in pair)
        print(f"| {index} | {len(tracks)} | {shares} | {own[0]:.2f} {own[1]:.2f}; {other[0]:.2f} {other[1]:.2f} |")


def real(shared: Path, models: Path | None, pattern: str) -> None:
    """Print the share of frames with a face per clip, and that of the detector of the clip descriptions."""
    described = dict(re.findall(r"\| ([\w-]+\.\w+) \|.*?\| (\d+) / 0\.\d+ \|", (shared / "data/README.md").read_text()))
    print("| file | frames | face % | described % | tracks | height | yaw | pitch | roll | sharpness |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path in sorted(p for folder in ("videos", "derived") for p in (shared / "data" / folder).glob(pattern)):
        try:
            with open_media(path, root=path.parent) as media:
                tracks, frames = watched(shown(media), models)
        except MediaError as error:
            print(f"| {path.name} | {error.reason} |")
            continue
        share = np.any([known(track, frames) for track in tracks], axis=0).mean() if tracks else 0.0
        row = f"| {path.name} | {frames} | {100 * share:.0f} | {described.get(path.name, '')} | {len(tracks)} |"
        if tracks:
            track = max(tracks, key=lambda t: t.frames)
            middle = {n: np.nanmedian(series(track, n, frames)) for n in ("y0", "y1", *QUANTITIES[:3], "sharpness")}
            row += f" {middle['y1'] - middle['y0']:.2f} |" + "".join(
                f" {middle[n]:.0f} |" for n in (*QUANTITIES[:3], "sharpness")
            )
        print(row)


def cost(shared: Path, models: Path | None, count: int) -> None:
    """Print CPU time per frame of faces and body, and of decoding the same frames."""
    print("| clip | decode ms | faces ms | body ms (kept clips only) |")
    print("|---|---|---|---|")
    for name in ("still-woman-music-s18.mp4", "latentsync-demo3-man-gestures.mp4", "no-person-great-wall.mp4"):
        root = shared / "data/videos"
        with (
            open_media(root / name, root=root) as media,
            FaceTracker(FaceSettings(), models=models) as faces,
            PoseAnalyser(PoseSettings()) as body,
        ):
            spent = np.zeros((3, count))
            frames = shown(media)
            for k in range(count):
                clock = [time.process_time()]
                frame = next(frames)
                for step in (None, faces.add, body.add):
                    if step is not None:
                        step(frame)
                    clock.append(time.process_time())
                spent[:, k] = 1000 * np.diff(clock)
        print(f"| {name} | " + " | ".join(f"{ms:.1f}" for ms in spent[:, 10:].mean(axis=1)) + " |")


def identities(shared: Path, count: int) -> None:
    """Print distances of `identity_embedding` between tracks of one person and of different people."""
    shapes: list[tuple[str, str, tuple[float, ...]]] = []
    people = {
        "pwij3p": "man of two GRID clips",
        "swwp2s": "man of two GRID clips",
        "ocasio": "ocasio",
        "swapped-audio-b": "ocasio",
        "woman-blue": "base",
        "duplicate": "base",
        "blurred": "base",
    }
    signers = {"again": "signer a", "no": "signer a", "yes": "signer a", "book": "signer b", "walk": "signer b"}
    paths = [
        p
        for p in sorted((shared / "data/videos").glob("*"))
        if re.match("grid|hdtf|retalk|latent|expr|mime|still|asl", p.name)
    ]
    for path in [
        *paths,
        *(shared / f"data/derived/{n}.mp4" for n in ("duplicate-reencoded", "blurred", "swapped-audio-b")),
    ]:
        word = path.stem.removeprefix("asl-")
        who = signers.get(word) or next((name for key, name in people.items() if key in path.name), path.name)
        if path.name.startswith("asl") and word not in signers:
            continue
        with open_media(path, root=path.parent) as media:
            for half in (watched(part, None)[0] for part in _halves(islice(shown(media), 150))):
                shapes += [("real", who, track.identity_embedding) for track in half[:1] if track.identity_embedding]
    for seed in range(8000, 8000 + count):
        for take in (0, 1):
            tracks, _ = watched(framed(pictures(seed, random_motion(2 * seed + take, 50), size=256)), None)
            shapes += [
                ("puppet", str(seed), track.identity_embedding) for track in tracks[:1] if track.identity_embedding
            ]
    limits = " | ".join(f"same, different below {limit}" for limit in LIMITS)
    print(f"| set | pairs same / different | median same / different | AUC | {limits} |\n|---|---|---|---|---|---|---|")
    for kind in ("real", "puppet"):
        pairs = list(combinations([s for s in shapes if s[0] == kind], 2))
        apart = np.array([np.sqrt(np.mean((np.array(a[2]) - b[2]) ** 2)) for a, b in pairs])
        is_same = np.array([a[1] == b[1] for a, b in pairs])
        same, other = apart[is_same], apart[~is_same]
        shares = " | ".join(f"{(same <= limit).mean():.2f}, {(other <= limit).mean():.3f}" for limit in LIMITS)
        medians = f"{np.median(same):.2f} / {np.median(other):.2f}"
        auc = np.mean([(d < other).mean() for d in same])
        print(f"| {kind} | {len(same)} / {len(other)} | {medians} | {auc:.3f} | {shares} |")


def _halves(frames: Iterable[Frame]) -> tuple[Iterator[Frame], Iterator[Frame]]:
    rgbs = [frame.rgb for frame in frames]
    return framed(rgbs[: len(rgbs) // 2]), framed(rgbs[len(rgbs) // 2 :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("puppet", "films", "two-heads", "real", "cost", "identity"))
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--glob", default="*")
    options = parser.parse_args()
    match options.part:
        case "puppet":
            against_truth(sweeps(options.count), options.models)
        case "films":
            against_truth(films(options.count), options.models)
        case "two-heads":
            two_heads(options.count, options.models)
        case "real":
            real(options.shared, options.models, options.glob)
        case "cost":
            cost(options.shared, options.models, max(options.count, 100))
        case "identity":
            identities(options.shared, options.count)


if __name__ == "__main__":
    main()
