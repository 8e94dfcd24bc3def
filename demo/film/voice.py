"""Synthesise speech-like sound and the matching mouth movement.

One plan of syllables drives both, on a grid of 10 ms steps: four per video frame, 160 samples each. Every quantity
(formants, voicing, hiss, mouth) is a track on that grid, smoothed by a symmetric kernel (no delay). Frame k shows the
instant in its middle, step 4k + 2, so picture and sound have exactly the same time origin.

All sound is 16 kHz mono float32 of exactly 640 samples a frame; a clip has at least one frame.
Source and filter after Klatt (1980), formants of the vowels after Peterson & Barney (1952).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xsheet.demo.film.sounds import FLOOR_DB, SAMPLE_HZ, SPEECH_DB, Floats, db_to_gain, room_noise
from xsheet.schemas.time import Span

STEP_US = 10_000
STEPS_PER_FRAME = 4
STEP_SAMPLES = 160


class _Vowel(NamedTuple):
    f1: float  # Hz, for a tract of adult male length
    f2: float
    f3: float
    open: float
    wide: float


class _Consonant(NamedTuple):
    hold: int  # steps of closure or hiss
    release: int  # steps of burst and breath after it
    voice: float  # loudness of the vocal folds while held
    hiss: float  # loudness of the noise while held
    burst: float  # loudness of the noise at the release
    noise_hz: float  # centre frequency of the noise
    spread_hz: float
    f1: float
    f2: float
    f3: float
    open: float
    wide: float


_VOWELS = (
    _Vowel(730, 1150, 2500, 1.0, 0.1),  # a
    _Vowel(730, 1150, 2500, 0.95, 0.0),  # a, twice: the commonest vowel of most languages
    _Vowel(530, 1800, 2480, 0.6, 0.5),  # e
    _Vowel(290, 2250, 2950, 0.3, 1.0),  # i
    _Vowel(500, 880, 2450, 0.55, -0.6),  # o
    _Vowel(310, 870, 2300, 0.25, -1.0),  # u
    _Vowel(500, 1450, 2500, 0.45, 0.0),  # as in "the"
)
# Lips that close are held for 100 ms: longer than the easing of the mouth, so that some frame shows them shut.
_CONSONANTS = (
    _Consonant(10, 0, 0.35, 0.0, 0.0, 1000, 500, 270, 1050, 2200, 0.0, 0.0),  # m
    _Consonant(10, 1, 0.10, 0.0, 0.3, 900, 700, 220, 850, 2200, 0.0, 0.0),  # b
    _Consonant(10, 3, 0.0, 0.0, 0.35, 1200, 900, 250, 850, 2200, 0.0, 0.0),  # p
    _Consonant(8, 0, 0.40, 0.0, 0.0, 1500, 500, 270, 1600, 2600, 0.12, 0.1),  # n
    _Consonant(6, 1, 0.10, 0.0, 0.35, 3800, 1200, 250, 1750, 2700, 0.12, 0.2),  # d
    _Consonant(7, 3, 0.0, 0.0, 0.45, 4200, 1400, 300, 1750, 2700, 0.12, 0.2),  # t
    _Consonant(7, 3, 0.0, 0.0, 0.40, 2000, 600, 300, 1900, 2200, 0.2, 0.0),  # k
    _Consonant(9, 0, 0.0, 0.50, 0.0, 5800, 1300, 320, 1600, 2600, 0.10, 0.4),  # s
    _Consonant(9, 0, 0.0, 0.50, 0.0, 3300, 900, 320, 1800, 2500, 0.15, -0.4),  # sh
    _Consonant(8, 0, 0.0, 0.20, 0.0, 4500, 3000, 320, 1100, 2300, 0.05, 0.0),  # f
    _Consonant(6, 0, 0.55, 0.0, 0.0, 1500, 500, 360, 1200, 2700, 0.2, 0.1),  # l
    _Consonant(6, 0, 0.50, 0.0, 0.0, 1500, 500, 300, 700, 2200, 0.1, -1.0),  # w
)
_NEUTRAL_TRACKS = (
    0.0,
    0.0,
    1500.0,
    500.0,
    500.0,
    1500.0,
    2500.0,
    0.0,
    0.0,
)  # the tracks between phrases, in column order
_VOICE, _HISS, _NOISE_HZ, _SPREAD_HZ, _F1, _F2, _F3, _OPEN, _WIDE = range(9)
_SMOOTHING_STEPS = np.array((3, 1, 1, 1, 5, 5, 5, 7, 7))  # per column; bursts stay sharp


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A speaker."""

    pitch_hz: float
    formant_scale: float  # factor on all formants: about 1 for men, 1.15 for women, 1.25 for children
    syllable_hz: float  # pace within a phrase
    breathiness: float  # loudness of the breath in the voice, against the folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Speech:
    """Sound and the mouth movement that produces it, T frames at 25 fps."""

    sound: Floats  # (640 T,) at 16 kHz
    mouth_open: Floats  # (T,) 0 lips touch .. 1 jaw fully down
    mouth_wide: Floats  # (T,) -1 rounded .. 1 spread
    voiced: NDArray[np.bool_]  # (T,) the vocal folds vibrate in the middle of the frame
    syllables: tuple[Span, ...]
    pauses: tuple[Span, ...]  # everything between syllables, including the ends of the clip


class _Syllable(NamedTuple):
    start: int  # steps
    end: int
    consonant: _Consonant
    vowel: _Vowel
    stress: float  # about 1; moves loudness, pitch and jaw
    phrase_position: float  # 0 at the start of its phrase .. 1 at the end


def random_voice(rng: Generator) -> Voice:
    """Draw a random speaker; high voices have short vocal tracts."""
    height = rng.uniform(0, 1)
    return Voice(
        pitch_hz=float(95 * 2 ** (1.25 * height) * rng.uniform(0.93, 1.07)),
        formant_scale=float(0.95 + 0.25 * height + rng.uniform(-0.04, 0.04)),
        syllable_hz=float(rng.uniform(3.7, 5.0)),
        breathiness=float(rng.uniform(0.02, 0.08)),
    )


def synthesise_speech(rng: Generator, frames: int, *, voice: Voice | None = None) -> Speech:
    """Synthesise phrases of 1-3 s separated by pauses of 0.2-0.8 s; a clip too short for a syllable is silent."""
    voice = voice or random_voice(rng)
    syllables = _plan_syllables(rng, frames * STEPS_PER_FRAME, voice)
    tracks = _articulation_tracks(syllables, frames * STEPS_PER_FRAME)
    sound = _normalise_level(
        _synthesise(rng, tracks, _pitch_contour(rng, syllables, len(tracks), voice), voice), syllables
    )
    frame_tracks = tracks[STEPS_PER_FRAME // 2 :: STEPS_PER_FRAME]
    spans = tuple(Span(s.start * STEP_US, s.end * STEP_US) for s in syllables)
    return Speech(
        sound=sound + room_noise(rng, frames, level_db=FLOOR_DB),
        mouth_open=np.clip(frame_tracks[:, _OPEN], 0, 1).astype(np.float32),
        mouth_wide=np.clip(frame_tracks[:, _WIDE], -1, 1).astype(np.float32),
        voiced=frame_tracks[:, _VOICE] > 0.2,
        syllables=spans,
        pauses=_gaps(spans, frames * STEPS_PER_FRAME * STEP_US),
    )


def _plan_syllables(rng: Generator, steps: int, voice: Voice) -> list[_Syllable]:
    """Plan syllables in order, contiguous within a phrase; the last ends at least 80 ms before the clip."""
    syllables: list[_Syllable] = []
    at = int(rng.integers(8, 40))
    while True:
        count = max(3, round(rng.uniform(1.0, 3.0) * voice.syllable_hz))
        for k in range(count):
            consonant = _CONSONANTS[rng.integers(len(_CONSONANTS))]
            vowel = _VOWELS[rng.integers(len(_VOWELS))]
            stress = min(max(rng.normal(1.0, 0.12), 0.75), 1.25)
            drawl = 1.25 if k == count - 1 else 1.0  # the last syllable of a phrase is longer
            seconds = min(max(rng.normal(stress, 0.1), 0.75), 1.3) * drawl / voice.syllable_hz
            end = at + max(round(100 * min(seconds, 1 / 3)), consonant.hold + consonant.release + 7)
            if end > steps - 8:
                return syllables
            syllables.append(_Syllable(at, end, consonant, vowel, stress, k / (count - 1)))
            at = end
        at += int(rng.integers(20, 81))


def _articulation_tracks(syllables: list[_Syllable], steps: int) -> NDArray[np.float64]:
    """Return articulation as (steps, 9), smoothed; columns as in _NEUTRAL_TRACKS."""
    tracks = np.tile(np.array(_NEUTRAL_TRACKS), (steps, 1))
    for s in syllables:
        c, v = s.consonant, s.vowel
        opened = s.start + c.hold
        sung = opened + c.release
        place = (c.noise_hz, c.spread_hz, c.f1, c.f2, c.f3, c.open, c.wide)
        tracks[s.start : opened] = (c.voice, c.hiss, *place)
        tracks[opened:sung] = (0.0, c.burst, *place)
        loud = s.stress * (1.0 - 0.25 * s.phrase_position)
        tracks[sung : s.end] = (loud, 0.0, c.noise_hz, c.spread_hz, v.f1, v.f2, v.f3, v.open * s.stress, v.wide)
    for column, width in enumerate(_SMOOTHING_STEPS):
        tracks[:, column] = _smooth(tracks[:, column], int(width))
    return tracks


def _smooth(track: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Convolve with a symmetric bell of `width` steps, without delay; the end values are repeated."""
    bell = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), bell / bell.sum(), mode="valid").astype(np.float64)


def _pitch_contour(rng: Generator, syllables: list[_Syllable], steps: int, voice: Voice) -> NDArray[np.float64]:
    """Return pitch in Hz, (steps,): falling over a phrase, raised by stress, with slow random variation."""
    tune = np.ones(steps)
    for s in syllables:
        tune[s.start : s.end] = (1.12 - 0.28 * s.phrase_position) * (1 + 0.7 * (s.stress - 1))
    wander = 1 + 0.1 * _smooth(rng.standard_normal(steps), 9)
    return voice.pitch_hz * _smooth(tune, 15) * wander


def _synthesise(rng: Generator, tracks: NDArray[np.float64], pitch_hz: NDArray[np.float64], voice: Voice) -> Floats:
    """Filter the two sources, folds and hiss, with filters that change every 10 ms; returns (160 * steps,)."""
    size = len(tracks) * STEP_SAMPLES
    at = (np.arange(size, dtype=np.float32) + 0.5) / STEP_SAMPLES - 0.5
    grid = np.arange(len(tracks))
    white = rng.standard_normal(size, dtype=np.float32)
    phase = np.cumsum(np.interp(at, grid, pitch_hz)) / SAMPLE_HZ
    folds = _glottal_pulses(rng, phase) * np.float32((SAMPLE_HZ / voice.pitch_hz) ** 0.5) + voice.breathiness * white
    folds *= np.interp(at, grid, tracks[:, _VOICE]).astype(np.float32)
    hiss = white * np.interp(at, grid, tracks[:, _HISS]).astype(np.float32)
    spectrum = _windowed_spectra(folds) * _vocal_tract_response(tracks, voice) + _windowed_spectra(
        hiss
    ) * _fricative_response(tracks)
    return _overlap_add(np.fft.irfft(spectrum, 4 * STEP_SAMPLES).astype(np.float32), size)


def _glottal_pulses(rng: Generator, phase: NDArray[np.float64]) -> Floats:
    """Return one pulse per pitch cycle, (samples,), with 0.7 % jitter, 6 % shimmer and linear interpolation."""
    cycles = np.arange(1, int(phase[-1]))
    positions = np.interp(cycles + rng.normal(0, 0.007, len(cycles)), phase, np.arange(len(phase)))
    strength = rng.normal(1, 0.06, len(cycles))
    whole = positions.astype(np.int64)
    share = positions - whole
    early = np.bincount(whole, strength * (1 - share), len(phase) + 1)
    late = np.bincount(whole + 1, strength * share, len(phase) + 1)
    return (early + late)[: len(phase)].astype(np.float32)


def _windowed_spectra(sound: NDArray[np.floating]) -> NDArray[np.complex64]:
    """Return (steps, 321) spectra of 20 ms windows centred on the steps; the windows sum to 1."""
    padded = np.pad(sound, STEP_SAMPLES // 2)
    cut = np.lib.stride_tricks.sliding_window_view(padded, 2 * STEP_SAMPLES)[::STEP_SAMPLES]
    bell = (np.sin(np.pi * (np.arange(2 * STEP_SAMPLES) + 0.5) / (2 * STEP_SAMPLES)) ** 2).astype(np.float32)
    return np.fft.rfft(cut * bell, 4 * STEP_SAMPLES).astype(np.complex64)


def _overlap_add(pieces: Floats, size: int) -> Floats:
    """Add pieces of 640 samples that start 160 samples apart, the first at -80; returns (size,)."""
    total = np.zeros((len(pieces) + 4, STEP_SAMPLES), np.float32)
    for k in range(4):
        total[k : k + len(pieces)] += pieces[:, k * STEP_SAMPLES : (k + 1) * STEP_SAMPLES]
    return total.ravel()[STEP_SAMPLES // 2 :][:size]


def _vocal_tract_response(tracks: NDArray[np.float64], voice: Voice) -> NDArray[np.complex64]:
    """Return (steps, 321): five cascaded formants, glottal slope (-12 dB/octave) and lip radiation (+6 dB/octave)."""
    hz = np.linspace(0, SAMPLE_HZ / 2, 2 * STEP_SAMPLES + 1, dtype=np.float32)
    response = np.ones((len(tracks), len(hz)), np.complex64)
    high = np.broadcast_to(np.array((3500.0, 4500.0)), (len(tracks), 2))
    formants = voice.formant_scale * np.concatenate([tracks[:, [_F1, _F2, _F3]], high], axis=1)
    for centre, width in zip(formants.T.astype(np.float32), (70.0, 90.0, 140.0, 220.0, 300.0), strict=True):
        x = hz / centre[:, None]
        response *= 1 - x * x + 1j * (width / centre[:, None]) * x
    slope: NDArray[np.complex64] = ((1j * hz / 80) / (1 + 1j * hz / 80) / (1 + 1j * hz / 350)).astype(np.complex64)
    return slope / response


def _fricative_response(tracks: NDArray[np.float64]) -> Floats:
    """Return (steps, 321): one broad peak around the centre frequency of the consonant's noise."""
    hz = np.linspace(0, SAMPLE_HZ / 2, 2 * STEP_SAMPLES + 1, dtype=np.float32)
    away = (hz - tracks[:, [_NOISE_HZ]]) / tracks[:, [_SPREAD_HZ]]
    return np.exp(-0.5 * away * away).astype(np.float32)


def _normalise_level(sound: Floats, syllables: list[_Syllable]) -> Floats:
    """Scale syllables to the speech level, limited so that peaks stay below -1 dBFS."""
    if not syllables:
        return sound
    spoken = np.concatenate([sound[s.start * STEP_SAMPLES : s.end * STEP_SAMPLES] for s in syllables])
    return sound * np.float32(
        min(db_to_gain(SPEECH_DB) / np.sqrt(np.mean(spoken**2)), db_to_gain(-1) / np.abs(sound).max())
    )


def _gaps(spans: tuple[Span, ...], end_us: int) -> tuple[Span, ...]:
    """Return the spans between, before and after the given spans."""
    edges = [0, *(us for s in spans for us in (s.start_us, s.end_us)), end_us]
    return tuple(Span(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)
