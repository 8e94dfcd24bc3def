"""Accuracy of the body measurements: on the puppet's drawn arms, and on hand-made labels of real gestures.

    python benchmarks/body.py [--count 6] [--shared DIR] [--pose-network heavy --models DIR]

Prints two Markdown tables for docs/log/.
"""

import argparse
import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from faces import framed, shown
from puppet import body_motion, pictures

from xsheet.curate.body.motion import shoulder_width, speeds
from xsheet.curate.body.networks import HandNetworkName, PoseNetworkName
from xsheet.curate.body.pose import PoseAnalyser, PoseSettings
from xsheet.curate.media.reader import open_media
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.schemas.clip import Signals


def drawn(count: int, body: Callable[[], PoseAnalyser]) -> None:
    """Print errors of the wrists against the drawn arms of the puppet, and of their sides."""
    print("| puppet | wrist found in the picture | error there | wrist found below it | correct side raised |")
    print("|---|---|---|---|---|")
    for seed in range(3000, 3000 + count):
        motion, puppet = body_motion(seed, 120), Puppet(random_identity(seed), height_px=360)
        with body() as watcher:
            for frame in framed(pictures(seed, motion, size=360)):
                watcher.add(frame)
            found = {name: np.array([np.nan if v is None else v for v in s]) for name, s in watcher.signals().items()}
        inside, seen, error, right_side = [], [], [], []
        for side, other in (("left", "right"), ("right", "left")):
            true = np.stack([puppet.joints(motion.at(k), side)[2] / 360 for k in range(len(motion))])
            got = np.stack([found[f"wrist_{side}_{axis}"] for axis in "xy"], -1)
            inside.append(((true > 0.02) & (true < 0.98)).all(1))
            seen.append(np.isfinite(got[:, 0]))
            error.append(np.linalg.norm(got - true, axis=1)[inside[-1] & seen[-1]])
            up = getattr(motion, f"arm_{side}_raise") > 0.9
            right_side.append(found[f"hand_{side}_visible"][up].mean() > found[f"hand_{other}_visible"][up].mean())
        shown_in, hit = np.concatenate(inside), np.concatenate(seen)
        print(
            f"| {seed} | {hit[shown_in].mean():.2f} | {np.median(np.concatenate(error)):.3f} | "
            f"{hit[~shown_in].mean():.2f} | {all(right_side)} |"
        )


def labelled(shared: Path, body: Callable[[], PoseAnalyser]) -> None:
    """Print hand speeds in shoulder widths per second, inside hand-made labels and outside all labels."""
    print("\n| clip | label | left hand | right hand | faster hand outside all labels |\n|---|---|---|---|---|")
    with (shared / "data/labels/actions-hand-made.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if "hand" in row["body_part"] or "arm" in row["body_part"]]
    for video in dict.fromkeys(row["video"] for row in rows):
        root = shared / "data/videos"
        with open_media(root / video, root=root) as media, body() as watcher:
            for frame in shown(media):
                watcher.add(frame)
            found = watcher.signals()
        frames = len(found["wrist_left_x"])
        signals = Signals(clip_id="clip_benchmark", frames=frames, extractor="body", **found)
        width = shoulder_width(signals) or np.nan
        hands = np.stack([np.nan_to_num(speeds(signals, part)) / width for part in ("hand_left", "hand_right")])
        at, inside_any = np.arange(frames) / 25, np.zeros(frames, bool)
        mine = [
            (row, (at >= float(row["start_s"])) & (at < float(row["end_s"]))) for row in rows if row["video"] == video
        ]
        for _, inside in mine:
            inside_any |= inside
        rest = f"{hands[:, ~inside_any].max(0).mean():.2f}" if not inside_any.all() else ""
        for row, inside in mine:
            left, right = hands[:, inside].mean(1)
            print(f"| {video} | {row['action']} | {left:.2f} | {right:.2f} | {rest} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--pose-network", choices=get_args(PoseNetworkName), default="full")
    parser.add_argument("--hand-network", choices=get_args(HandNetworkName), default="full")
    parser.add_argument("--models", type=Path, help="folder of the networks that are files")
    options = parser.parse_args()
    settings = PoseSettings(pose_network=options.pose_network, hand_network=options.hand_network)
    body = partial(PoseAnalyser, settings, models=options.models)
    drawn(options.count, body)
    labelled(options.shared, body)
