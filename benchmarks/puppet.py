"""Accuracy of the puppet: planted pose against MediaPipe's measurements of the drawn pictures.

    python benchmarks/puppet.py [--people 20] [--frames 100] [--only head|body]

Prints drawing speed, the share of frames with a face, and Pearson's r per quantity: pooled and worst identity.
The measuring functions are used by tests/demo/puppet/test_draw.py too.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import cv2
import mediapipe as mp
import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.draw import Puppet, add_camera_noise
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion

Floats = NDArray[np.float64]
QUANTITIES = ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "smile", "brow_raise", "eye_open")

# Landmarks of the face mesh that lips, brows and lids barely move: nose, eye corners, temples, sides of the head.
STABLE = [1, 4, 5, 2, 98, 327, 6, 168, 195, 197, 33, 133, 263, 362, 127, 356, 162, 389, 234, 454]
BROWS = [70, 63, 105, 66, 107, 300, 293, 334, 296, 336]
INNER_LIPS = [(13, 14), (82, 87), (312, 317), (81, 178), (311, 402)]


def random_motion(seed: int, frames: int) -> Motion:
    """Smooth independent curves over the whole range of every quantity of the head."""
    rng = np.random.default_rng((0xBEAD, seed))

    def curve(low: float, high: float, period: float) -> NDArray[np.float32]:
        t = np.arange(frames)
        waves = sum(np.sin(2 * np.pi * (t / (period * k) + rng.random())) / k**0.5 for k in (0.7, 1.0, 1.9))
        swing = np.clip(0.5 + 0.3 * np.asarray(waves), 0, 1)
        return (low + (high - low) * swing).astype(np.float32)

    lids = 1 - (curve(0, 1, 19) > 0.8) * curve(0.6, 1, 7)
    return replace(
        Motion.rest(frames),
        yaw_deg=curve(-25, 25, 40),
        pitch_deg=curve(-15, 15, 33),
        roll_deg=curve(-15, 15, 47),
        mouth_open=curve(0, 1, 9),
        smile=np.clip(curve(-0.6, 1, 37), 0, 1),
        brow_raise=np.clip(curve(-0.6, 1, 29), 0, 1),
        eye_left_open=lids.astype(np.float32),
        eye_right_open=lids.astype(np.float32),
        shift_x=curve(-0.04, 0.04, 50),
        lean=curve(0, 0.3, 70),
    )


def pictures(seed: int, motion: Motion, *, size: int = 256) -> Iterator[NDArray[np.uint8]]:
    """Frames of one identity as a camera would record them."""
    puppet, rng = Puppet(random_identity(seed), height_px=size), np.random.default_rng((0xCA, seed))
    for k in range(len(motion)):
        yield add_camera_noise(puppet.draw(motion.at(k)), rng)


def landmarks(frames: Iterator[NDArray[np.uint8]]) -> Floats:
    """(T, 478, 3) landmarks in pixels, x right, y down, z away from the camera; NaN where no face is found."""
    found = []
    with mp.solutions.face_mesh.FaceMesh(refine_landmarks=True) as mesh:
        for frame in frames:
            height, width = frame.shape[:2]
            faces = mesh.process(frame).multi_face_landmarks
            points = [(p.x * width, p.y * height, p.z * width) for p in faces[0].landmark] if faces else None
            found.append(np.full((478, 3), np.nan) if points is None else np.array(points))
    return np.stack(found)


def measured(marks: Floats) -> dict[str, Floats]:
    """Quantity -> (T,) series from (T, 478, 3) landmarks, NaN where no face was found.

    The head is a rigid body: each frame's stable landmarks are fitted (Kabsch) to the mean mesh of all frames, which
    itself is upright and frontal. Mouth, brows and lids are distances on the mesh turned back by that fit.
    """
    seen = np.isfinite(marks[:, 0, 0])
    result = {name: np.full(len(marks), np.nan) for name in QUANTITIES}
    if not seen.any():
        return result
    upright = marks[seen] * (1, -1, -1)
    mean = _frontal(upright[len(upright) // 2])
    for _ in range(3):
        turns, mean_faces = zip(*(_fit(face, mean) for face in upright), strict=True)
        mean = _frontal(np.mean(mean_faces, axis=0))
    turns, faces = zip(*(_fit(face, mean) for face in upright), strict=True)
    turn, face = np.stack(turns), np.stack(faces)
    # R = Ry(yaw) Rx(pitch) Rz(roll), in the signs of `pose`.
    result["yaw_deg"][seen] = np.degrees(np.arctan2(turn[:, 0, 2], turn[:, 2, 2]))
    result["pitch_deg"][seen] = np.degrees(np.arcsin(np.clip(turn[:, 1, 2], -1, 1)))
    result["roll_deg"][seen] = np.degrees(np.arctan2(-turn[:, 1, 0], turn[:, 1, 1]))

    def gap(a: int, b: int) -> Floats:
        return np.asarray(np.linalg.norm(face[:, a] - face[:, b], axis=1), np.float64)

    result["mouth_open"][seen] = np.mean([gap(a, b) for a, b in INNER_LIPS], axis=0)
    corner, lip = face[:, [61, 291], 1].mean(1), face[:, [0, 17], 1].mean(1)
    result["smile"][seen] = (corner - lip) + 0.5 * gap(61, 291)
    result["brow_raise"][seen] = face[:, BROWS, 1].mean(1) - face[:, [33, 133, 263, 362], 1].mean(1)
    result["eye_open"][seen] = gap(159, 145) + gap(386, 374)
    return result


def _frontal(face: Floats) -> Floats:
    """A face scaled to unit distance of the eyes and turned so that its own axes are x, y, z."""
    across = face[263] - face[33]
    up = face[10] - face[152]
    x = across / np.linalg.norm(across)
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    return np.asarray((face - face[STABLE].mean(0)) @ np.stack((x, y, np.cross(x, y))).T / np.linalg.norm(across))


def _fit(face: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Rotation of the face against the mean, and the face turned back and scaled to it."""
    a, b = face[STABLE] - face[STABLE].mean(0), mean[STABLE] - mean[STABLE].mean(0)
    u, size, vt = np.linalg.svd(a.T @ b)
    sign = np.array((1, 1, np.sign(np.linalg.det(u @ vt))))
    turn = (u * sign) @ vt
    scale = (size * sign).sum() / (a**2).sum()
    return turn, (face - face[STABLE].mean(0)) @ turn * scale


def body_motion(seed: int, frames: int) -> Motion:
    """Arms that rise, hold and lower one after the other, with a waving hand and a swaying torso."""
    rng = np.random.default_rng((0xB0D, seed))
    t = np.arange(frames) / frames

    def up(at: float) -> NDArray[np.float32]:
        rise = np.clip((0.16 - np.abs(t - at)) / 0.09, 0, 1)
        return (rise * rise * (3 - 2 * rise)).astype(np.float32)

    sway = np.sin(2 * np.pi * (2 * t + rng.random()))
    return replace(
        Motion.rest(frames),
        arm_left_raise=up(0.25),
        arm_right_raise=up(0.68),
        hand_left_wave=(12 * np.sin(2 * np.pi * 12 * t) * up(0.25)).astype(np.float32),
        torso_lean_x=(0.3 * sway).astype(np.float32),
        shoulder_raise=np.clip(np.sin(2 * np.pi * 3 * t), 0, 1).astype(np.float32),
    )


def planted(motion: Motion) -> dict[str, Floats]:
    """The planted values of the quantities that `measured` measures."""
    return {n: np.asarray(getattr(motion, "eye_left_open" if n == "eye_open" else n), np.float64) for n in QUANTITIES}


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r over the frames where both are known."""
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1])


def frames_per_second(people: int, *, size: int = 256) -> float:
    """Median over identities of frames drawn per second of CPU time, one thread, no camera."""
    cv2.setNumThreads(1)
    rates = []
    for seed in range(people):
        puppet, motion = Puppet(random_identity(seed), height_px=size), random_motion(seed, 60)
        start = time.process_time()
        for k in range(60):
            puppet.draw(motion.at(k))
        rates.append(60 / (time.process_time() - start))
    return statistics.median(rates)


def head_table(people: int, frames: int) -> None:
    """Print detection and correlations of the head."""
    truth, seen = [], []
    for seed in range(people):
        motion = random_motion(seed, frames)
        truth.append(planted(motion))
        seen.append(measured(landmarks(pictures(seed, motion))))
    found = [float(np.isfinite(s["yaw_deg"]).mean()) for s in seen]
    print(f"face found in {np.mean(found):.2%} of {people * frames} frames; worst person {min(found):.2%}")
    # The zero of a measured pitch differs from face to face by some 2 degrees; "own zero" takes each person's mean off.
    print("\n| planted and measured | pooled r | r about each person's own zero | worst r (person) | slope |")
    print("|---|---|---|---|---|")
    for name in QUANTITIES:
        each = [correlation(t[name], s[name]) for t, s in zip(truth, seen, strict=True)]
        true, got = (np.concatenate([series[name] for series in side]) for side in (truth, seen))
        known = np.isfinite(got)
        own = [series[name] - np.nanmean(series[name]) for series in seen]
        true_own = np.concatenate([series[name] - series[name].mean() for series in truth])
        slope = np.polyfit(true[known], got[known], 1)[0]
        pooled, centred = correlation(true, got), correlation(true_own, np.concatenate(own))
        print(f"| {name} | {pooled:.3f} | {centred:.3f} | {min(each):.3f} ({int(np.argmin(each))}) | {slope:.2f} |")


def body_rows(seed: int, frames: int) -> tuple[Floats, list[bool], list[bool]]:
    """(N, 7): person, wrist x, y planted, x, y seen, shoulder y planted, seen; shares of the picture, y down.

    The lists say in which frames Pose found a body, and Hands a hand while one was up.
    """
    motion, puppet = body_motion(seed, frames), Puppet(random_identity(seed))
    rows, bodies, hands = [], [], []
    solutions = mp.solutions
    with (
        solutions.pose.Pose(model_complexity=1) as tracker,
        solutions.hands.Hands(max_num_hands=2) as hand_tracker,
    ):
        for k, frame in enumerate(pictures(seed, motion)):
            pose = motion.at(k)
            if max(pose.arm_left_raise, pose.arm_right_raise) > 0.9:
                hands.append(hand_tracker.process(frame).multi_hand_landmarks is not None)
            marks = tracker.process(frame).pose_landmarks
            bodies.append(marks is not None)
            for at, side in enumerate(("left", "right") if marks else ()):
                true = puppet.joints(pose, side) / 256
                shoulder, wrist = marks.landmark[11 + at], marks.landmark[15 + at]
                rows.append((seed, *true[2], wrist.x, wrist.y, true[0, 1], shoulder.y))
    return np.array(rows), bodies, hands


def body_table(people: int, frames: int) -> None:
    """Print how MediaPipe Pose and Hands track the drawn arms."""
    each = [body_rows(seed, frames) for seed in range(people)]
    bodies, hands = (np.concatenate([person[k] for person in each]) for k in (1, 2))
    print(f"\nbody found in {bodies.mean():.2%} of {len(bodies)} frames, "
          f"a hand in {hands.mean():.2%} of those with one up")  # fmt: skip
    # Wrists below the picture are invisible: both heights are clipped to the lower edge.
    table = np.concatenate([person[0] for person in each])
    table[:, [2, 4]] = np.minimum(table[:, [2, 4]], 1.0)
    people_rows = [table[table[:, 0] == seed] for seed in range(people)]
    print("\n| height | r | worst person |\n|---|---|---|")
    for name, true, got in (("wrist height", 2, 4), ("shoulder height", 5, 6)):
        worst = min(correlation(rows[:, true], rows[:, got]) for rows in people_rows)
        print(f"| {name} | {correlation(table[:, true], table[:, got]):.3f} | {worst:.3f} |")
    up = table[:, 2] < 0.75
    off = np.hypot(table[up, 1] - table[up, 3], table[up, 2] - table[up, 4])
    agree = ((table[:, 4] < 0.8) == (table[:, 2] < 0.8)).mean()
    print(f"\nwrist while up: median error {np.median(off):.3f} of the picture; up or down agrees in {agree:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Accuracy of MediaPipe on the drawn puppet.")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--only", choices=("head", "body"))
    options = parser.parse_args()
    print(f"{frames_per_second(options.people):.0f} frames per second of CPU\n")
    if options.only != "body":
        head_table(options.people, options.frames)
    if options.only != "head":
        body_table(options.people, options.frames)
