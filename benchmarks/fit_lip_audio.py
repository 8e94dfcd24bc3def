"""Fit the predictor of mouth movement from audio, and measure it on held-out people.

    python benchmarks/fit_lip_audio.py --data ../shared/data --cache DIR [--write curate/sync/weights]

Real clips are few and some are out of sync, so the fit aligns them: it starts from the puppet and the GRID recordings,
whose sync is known, estimates the offset of every other clip, and fits again, four times. Each person is scored by a
predictor that was fitted without that person.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from xsheet.curate.audio.features import silero_voice
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.reader import open_media
from xsheet.curate.series import series_to_array
from xsheet.curate.sync.audio_to_mouth import TAPS, WEIGHTS, apply_coefficients, log_mel_spectrogram, normalise_bands
from xsheet.curate.sync.lip_audio import score_sync
from xsheet.demo.film import voice
from xsheet.schemas.clip import SyncScore

Floats = NDArray[np.floating]

# Clip -> person. All clips of a person are held out together.
PEOPLE = {
    "grid-bbaf2n.mpg": "grid-1", "grid-brbk7n.mpg": "grid-2", "grid-lbax4n.mpg": "grid-3", "grid-lwbsza.mpg": "grid-4",
    "grid-pwij3p.mpg": "grid-5", "grid-swwp2s.mpg": "grid-5", "hdtf-katie-hill-512.mp4": "hill",
    "hdtf-ocasio-cortez-512.mp4": "ocasio", "hdtf-radio-man-458.mp4": "radio",
    "latentsync-demo1-woman-seated.mp4": "seated", "latentsync-demo3-man-gestures.mp4": "gestures",
    "retalk-man-vfr-700.mp4": "suit", "retalk-ocasio-cortez-590.mp4": "ocasio", "retalk-woman-blue-700.mp4": "blue",
}  # fmt: skip
PUPPETS = 80  # voices, 3 to 7 s each; the seed is 1
PUPPET_SHARE = 0.2  # of the weight of all frames
RIDGE = 0.3  # against inputs of unit variance
DRIFT_FRAMES = 51  # slower motion of the mouth is expression, not speech
SURE = 2.0  # least confidence for using a clip's own offset in the fit
ROUNDS = 4


@dataclass(kw_only=True, eq=False)
class Talk:
    """One talking mouth with its audio."""

    name: str
    person: str
    mouth: Floats  # (Q, T) opening and width, NaN where not detected
    voice: Floats  # (T,)
    inputs: Floats  # (T, B)
    is_in_sync: bool  # known offset


def real_talks(folder: Path, *, cache: Path) -> list[Talk]:
    """The longest face track of each talking clip."""
    return [
        Talk(
            name=name,
            person=person,
            mouth=tracks[0],
            voice=speech,
            inputs=normalise_bands(log_mel_spectrogram(sound), speech),
            is_in_sync=name.startswith("grid"),
        )
        for name, person in PEOPLE.items()
        for tracks, sound, speech in [watched(folder / "videos" / name, cache=cache)]
    ]


def watched(path: Path, *, cache: Path) -> tuple[Floats, Floats, Floats]:
    """(tracks, Q, T) mouths with the longest track first, (640 T,) sound, (T,) voice; kept in the cache."""
    kept = cache / f"{path.parent.name}-{path.name}.npz"
    if not kept.exists():
        with open_media(path, root=path.parent) as media, FaceTracker(FaceSettings()) as watcher:
            sound, frames = media.sound(), 0
            for frame in media.frames():
                watcher.add(frame)
                frames += 1
            tracks = sorted(watcher.tracks(path.stem.split()[0].replace("'", "")), key=lambda t: -t.frames)
        mouths = np.full((len(tracks), 2, frames), np.nan)
        for mouth, track in zip(mouths, tracks, strict=True):
            for row, series in zip(mouth, (track.mouth_open, track.mouth_wide), strict=True):
                row[track.start_frame : track.start_frame + track.frames] = series_to_array(series)
        sound = np.zeros(0, np.float32) if sound is None else sound
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, mouths=mouths, sound=sound, voice=silero_voice(sound))
    with np.load(kept) as found:
        return found["mouths"], found["sound"], found["voice"]


def puppet_talks(count: int, *, seed: int) -> Iterator[Talk]:
    """Planned mouth curves of the puppet; nothing is drawn."""
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        utterance = voice.synthesise_speech(rng, int(rng.integers(75, 176)))
        speech = silero_voice(utterance.sound)
        yield Talk(
            name=f"puppet {index}",
            person="puppet",
            mouth=np.stack([utterance.mouth_open, utterance.mouth_wide]).astype(np.float64),
            voice=speech,
            inputs=normalise_bands(log_mel_spectrogram(utterance.sound), speech),
            is_in_sync=True,
        )


def fitted(talks: Sequence[Talk]) -> tuple[Floats, dict[str, int]]:
    """(Q, K, B) coefficients, and the offsets in frames at which clips of unknown sync were used."""
    offsets: dict[str, int] = {}
    weights = ridge([talk for talk in talks if talk.is_in_sync], offsets)
    for _ in range(ROUNDS):
        scores = {talk.name: score(talk, weights) for talk in talks if not talk.is_in_sync}
        offsets = {n: s.offset_frames or 0 for n, s in scores.items() if (s.confidence or 0) > SURE}
        weights = ridge([talk for talk in talks if talk.is_in_sync or talk.name in offsets], offsets)
    return weights, offsets


def ridge(talks: Sequence[Talk], offsets: dict[str, int]) -> Floats:
    """(Q, K, B) least squares over voiced frames, puppet and people in fixed shares."""
    inputs, targets, is_puppet = [], [], []
    for talk in talks:
        target, use = drift_free(talk)
        late = np.arange(len(use)) + offsets.get(talk.name, 0)
        use &= (late >= 0) & (late < len(use))
        inputs.append(around(talk.inputs)[late[use]])
        targets.append(target[:, use].T - target[:, use].mean(1))
        is_puppet.append(np.full(use.sum(), talk.person == "puppet"))
    x, y, puppet = np.concatenate(inputs), np.concatenate(targets), np.concatenate(is_puppet)
    share = np.where(puppet, PUPPET_SHARE / max(1, puppet.sum()), (1 - PUPPET_SHARE) / max(1, (~puppet).sum()))
    x = x - share @ x
    found = np.linalg.solve((x * share[:, None]).T @ x + RIDGE * np.eye(x.shape[1]), (x * share[:, None]).T @ y)
    return np.asarray(found.T.reshape(y.shape[1], len(TAPS), -1), np.float32)


def drift_free(talk: Talk) -> tuple[Floats, NDArray[np.bool_]]:
    """(Q, T) mouth without slow motion, in standard deviations over its voiced frames, and which frames those are."""
    use = (np.convolve(talk.voice >= 0.5, np.ones(3), mode="same") > 0) & ~np.isnan(talk.mouth).any(0)
    known = np.nan_to_num(talk.mouth)
    bell = np.hanning(DRIFT_FRAMES + 2)[1:-1]
    slow = [np.convolve(row, bell, mode="same") for row in (*known, (~np.isnan(talk.mouth[0])).astype(float))]
    fast = known - np.stack(slow[:-1]) / np.maximum(slow[-1], 1e-9)
    return fast / fast[:, use].std(axis=1, keepdims=True), use


def around(bands: Floats) -> Floats:
    """(T, K B) each frame with its neighbours."""
    padded = np.pad(bands, ((-TAPS.start, TAPS.stop - 1), (0, 0)), mode="edge")
    return np.concatenate([padded[k : k + len(bands)] for k in range(len(TAPS))], axis=1)


def score(talk: Talk, weights: Floats, *, sound: Talk | None = None) -> SyncScore:
    """Score a mouth with its own audio, or with other audio of at least its duration."""
    played = sound or talk
    length = talk.mouth.shape[1]
    return score_sync(talk.mouth, apply_coefficients(played.inputs, weights)[:, :length], played.voice[:length])


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    people, puppets = real_talks(options.data, cache=options.cache), list(puppet_talks(PUPPETS, seed=1))
    lines = ["| clip, predictor fitted without its person | offset | confidence | margin |", "|---|---|---|---|"]
    for talk in people:
        weights, _ = fitted([t for t in people if t.person != talk.person] + puppets)
        s = score(talk, weights)
        lines.append(f"| {talk.name} | {s.offset_frames} | {s.confidence or 0:.1f} | {s.margin or 0:.1f} |")
    weights, offsets = fitted(people + puppets)
    print("\n".join(lines))
    print("offsets used:", offsets)
    if options.write:
        raw = save({"coefficients": np.ascontiguousarray(weights)})  # save writes the memory as it lies
        (options.write / WEIGHTS).write_bytes(raw)
        print("SHA-256", hashlib.sha256(raw).hexdigest(), len(raw), "bytes")


if __name__ == "__main__":
    main()
