"""Accuracy of the built-in sync scorer on the puppet and on real clips.

    python benchmarks/sync.py --data ../shared/data --cache DIR [--films 80] [--size 256] [--seed 7]

Prints the tables of docs/log/curate.md#sync: planted offsets and faults of the puppet; altered real clips, scored by a
predictor that was fitted without their people; true against mismatched pairs by duration, for the choice of limits.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fit_lip_audio import PUPPETS, Floats, Talk, fitted, puppet_talks, real_talks, watched

from xsheet.curate.audio.features import audio_features
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.curate.sync.audio_to_mouth import apply_coefficients, log_mel_spectrogram, normalise_bands
from xsheet.curate.sync.lip_audio import DEFAULT_SETTINGS, LipAudioScorer, score_sync
from xsheet.demo.film.plan import FilmPlan, plan_film
from xsheet.demo.film.render import render_film
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.errors import MediaError
from xsheet.schemas.source import FaceTrack, Timeline
from xsheet.schemas.time import CLIP_RATE, frame_start_us

MEASURED = ("talk", "offset", "far_offset", "swapped", "silence", "music", "still", "two_heads")
DERIVED_PEOPLE = ("blue", "ocasio", "seated", "gestures")  # people in the altered clips
LENGTHS = (75, 100, 125, 150, 200)
# Offsets in frames of clips with reliable sync: labels/av-offset-measured.csv, rows with "yes".
TRUSTED = {
    "grid-bbaf2n.mpg": 0, "grid-lwbsza.mpg": 0, "grid-pwij3p.mpg": -1, "grid-swwp2s.mpg": -1,
    "hdtf-katie-hill-512.mp4": 3, "hdtf-ocasio-cortez-512.mp4": 3, "hdtf-radio-man-458.mp4": -2,
    "latentsync-demo1-woman-seated.mp4": 0, "latentsync-demo3-man-gestures.mp4": 1, "retalk-woman-blue-700.mp4": -1,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A mouth with audio over a span: its own, or that of another person."""

    frames: int
    is_own: bool
    score: SyncScore
    reference: int | None


def puppet_scores(plan: FilmPlan, *, size: int) -> list[SyncScore]:
    """Scores of the faces of a film from left to right, with audio and pictures measured as in curation."""
    with FaceTracker(FaceSettings()) as watcher:
        for index, rgb in enumerate(render_film(plan, height_px=size)):
            watcher.add(Frame(index, frame_start_us(index, CLIP_RATE), rgb, index, frame_start_us(index, CLIP_RATE)))
        tracks = watcher.tracks("puppet")
    audio: dict[str, Any] = {**audio_features(plan.sound, plan.frames)}
    timeline = Timeline(source_id="puppet", frames=plan.frames, extractor="", **audio)
    scorer = LipAudioScorer(timeline)
    heads = sorted((t for t in tracks if t.frames > plan.frames / 2), key=_left)
    return [s for t in heads if (s := scorer(t, range(t.start_frame, t.start_frame + t.frames))) is not None]


def puppet_table(films: int, *, seed: int, size: int) -> None:
    """Print results for planted offsets and faults."""
    rows = defaultdict(list)
    for index in range(films):
        plan = plan_film(index, seed=seed)
        if plan.kind in MEASURED:
            rows[plan.kind].append((plan, puppet_scores(plan, size=size)))
    print("| kind | films | measured | largest error, frames | confidence | margin |\n|---|---|---|---|---|---|")
    for kind, found in rows.items():
        scores = [(plan, s) for plan, all_of in found for s in all_of[:1] if s.offset_frames is not None]
        if kind == "two_heads":
            continue
        error = max((abs((s.offset_frames or 0) - plan.offset_frames) for plan, s in scores), default="")
        ranges = f"{_range(scores, 'confidence')} | {_range(scores, 'margin')}"
        print(f"| {kind} | {len(found)} | {len(scores)} | {error} | {ranges} |")
    pairs = rows["two_heads"]
    right = sum(DEFAULT_SETTINGS.select_speaker(scores) == plan.shots[0].speaker for plan, scores in pairs)
    print(f"\nactive speaker of two heads: {right} of {len(pairs)} correct")


def derived_table(people: Sequence[Talk], puppets: Sequence[Talk], folder: Path, *, cache: Path) -> None:
    """Print results for altered clips, by a predictor fitted without their people."""
    weights, _ = fitted([t for t in people if t.person not in DERIVED_PEOPLE] + list(puppets))
    print("\n| file | face | offset | confidence | margin | not measurable |\n|---|---|---|---|---|---|")
    for path in sorted(folder.iterdir()):
        try:
            mouths, sound, voice = watched(path, cache=cache)
        except MediaError:
            continue
        if not len(sound):
            continue
        predicted = muted_aside(apply_coefficients(normalise_bands(log_mel_spectrogram(sound), voice), weights), sound)
        for place, mouth in enumerate(mouths[:2]):
            seen = np.flatnonzero(~np.isnan(mouth[0]))
            s = score_sync(mouth, predicted, voice, frames=range(int(seen[0]), int(seen[-1]) + 1))
            numbers = (
                f"{s.offset_frames} | {s.confidence:.1f} | {s.margin:.1f}" if s.confidence is not None else " | | "
            )
            print(f"| {path.name} | {place} | {numbers} | {s.not_measurable or ''} |")


def length_table(pairs: Sequence[Pair]) -> None:
    """Print results for true and mismatched pairs of held-out people, by duration of the span."""
    print("\n| s | true | offset within 2 | above 99 % of mismatched | AUC | mismatched: 95 % | 99 % |")
    print("|---|---|---|---|---|---|---|")
    for length in LENGTHS:
        own = [p for p in pairs if p.frames == length and p.is_own and p.reference is not None]
        other = np.array([p.score.confidence for p in pairs if p.frames == length and not p.is_own])
        most, nearly_all = np.quantile(other, (0.95, 0.99))
        good = [abs((p.score.offset_frames or 0) - (p.reference or 0)) <= 2 for p in own]
        sure = [g and (p.score.confidence or 0) > nearly_all for g, p in zip(good, own, strict=True)]
        auc = np.mean([(other < (p.score.confidence or 0)).mean() for p in own])
        numbers = f"{np.mean(good):.2f} | {np.mean(sure):.2f} | {auc:.3f} | {most:.1f} | {nearly_all:.1f}"
        print(f"| {length / 25:g} | {len(own)} | {numbers} |")


def limit_table(pairs: Sequence[Pair]) -> None:
    """Print the shares that a limit on confidence keeps; the offset must be within 6 frames, which can be corrected."""
    print("\n| confidence at least | true kept at 3 s | 4 s | 5 s | 6 s | 8 s | mismatched kept |\n" + "|---" * 7 + "|")
    for limit in (2.0, 2.5, 3.0, 3.5, 4.0):
        kept = [p for p in pairs if (p.score.confidence or 0) >= limit and abs(p.score.offset_frames or 0) <= 6]
        shares = [_share(kept, pairs, is_own=True, frames=(n,)) for n in LENGTHS]
        wrong = _share(kept, pairs, is_own=False, frames=LENGTHS)
        print(f"| {limit} | " + " | ".join(f"{s:.2f}" for s in shares) + f" | {wrong:.3f} |")


def true_and_mismatched(people: Sequence[Talk], puppets: Sequence[Talk]) -> Iterator[Pair]:
    """Spans of each mouth with its own and every other person's audio, by a predictor fitted without that mouth."""
    rng = np.random.default_rng(0)
    for talk in people:
        weights, _ = fitted([t for t in people if t.person != talk.person] + list(puppets))
        predicted = {other.name: apply_coefficients(other.inputs, weights) for other in people}
        for length in LENGTHS:
            for start in range(0, talk.mouth.shape[1] - length + 1, 25):
                mouth = talk.mouth[:, start : start + length]
                for other in people:
                    room = len(other.voice) - length
                    if room < 0 or (other is not talk and other.person == talk.person):
                        continue
                    at = start if other is talk else int(rng.integers(0, room + 1))
                    placed = np.full((2, len(other.voice)), np.nan)
                    placed[:, at : at + length] = mouth
                    s = score_sync(placed, predicted[other.name], other.voice, frames=range(at, at + length))
                    if s.confidence is not None:
                        reference = TRUSTED.get(talk.name) if other is talk else None
                        yield Pair(frames=length, is_own=other is talk, score=s, reference=reference)


def muted_aside(predicted: Floats, sound: Floats) -> Floats:
    """The prediction without muted frames, as in curation."""
    quiet = np.square(sound).reshape(-1, 640).mean(1) < 1e-8
    return np.where(quiet, np.nan, predicted)


def _share(kept: Sequence[Pair], pairs: Sequence[Pair], *, is_own: bool, frames: Sequence[int]) -> float:
    def count(of: Sequence[Pair]) -> int:
        return sum(p.is_own == is_own and p.frames in frames and (p.reference is not None or not is_own) for p in of)

    return count(kept) / max(1, count(pairs))


def _range(scores: Sequence[tuple[FilmPlan, SyncScore]], name: str) -> str:
    values = [getattr(s, name) for _, s in scores]
    return f"{min(values):.1f} to {max(values):.1f}" if values else ""


def _left(track: FaceTrack) -> float:
    return float(np.nanmean(np.array(track.x0, np.float64)))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--films", type=int, default=80)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    people, puppets = real_talks(options.data, cache=options.cache), list(puppet_talks(PUPPETS, seed=1))
    pairs = list(true_and_mismatched(people, puppets))
    length_table(pairs)
    limit_table(pairs)
    derived_table(people, puppets, options.data / "derived", cache=options.cache)
    puppet_table(options.films, seed=options.seed, size=options.size)


if __name__ == "__main__":
    main()
