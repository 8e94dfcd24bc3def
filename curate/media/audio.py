"""The sound of a video as 16 kHz mono, on the clock of the picture.

Every unbroken stretch of samples is placed by its time stamp, so a late start becomes silence, an early one is cut off
and a gap stays a gap. Inside a stretch samples follow each other; small jitter of the stamps is rounding.
"""

from fractions import Fraction

import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, US_PER_S

Samples = NDArray[np.float32]

SAMPLES_PER_FRAME = AUDIO_RATE.num // CLIP_RATE.num

_MAX_DRIFT_US = 20_000  # half a video frame at 25 fps: a voice further off than that is placed anew
_RATES_HZ = range(4_000, 384_001)  # beyond it no microphone, and a resampler that multiplies its input


class SoundtrackBuilder:
    """One array of fixed length, filled by decoded frames."""

    def __init__(self, samples: int) -> None:
        self._samples: Samples = np.zeros(samples, np.float32)
        self._segment: _SoundSegment | None = None

    def add(self, frame: AudioFrame, *, start_us: int | None) -> None:
        """Place a frame that starts at `start_us` from zero; None means right after the one before.

        Raises:
            ValueError: a sampling rate or channel layout that cannot be mixed down (av's errors included).
        """
        if self._segment is None or not self._segment.continues_with(frame, start_us=start_us):
            follows_us = 0 if self._segment is None else self._segment.end_us
            self._close_segment()
            self._segment = _SoundSegment(frame, start_us=follows_us if start_us is None else start_us)
        self._place(self._segment, self._segment.resample(frame))

    def finish(self) -> Samples:
        """The track; nothing can be added afterwards."""
        self._close_segment()
        np.clip(
            self._samples, -1, 1, out=self._samples
        )  # as every player does; lossy codecs decode to more than full scale
        self._samples.setflags(write=False)
        return self._samples

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._place(self._segment, self._segment.flush())
            self._segment = None

    def _place(self, stretch: "_SoundSegment", samples: Samples) -> None:
        at, stretch.position = stretch.position, stretch.position + len(samples)
        begin, end = max(at, 0), min(stretch.position, len(self._samples))
        if begin < end:
            self._samples[begin:end] = samples[begin - at : end - at]


class _SoundSegment:
    """Samples of one rate and layout that follow each other without a gap."""

    def __init__(self, frame: AudioFrame, *, start_us: int) -> None:
        if frame.sample_rate not in _RATES_HZ:
            raise ValueError(f"expected a sampling rate in {_RATES_HZ}, got {frame.sample_rate}")
        self.position = round(Fraction(start_us * AUDIO_RATE.num, US_PER_S))  # of the next sample, at 16 kHz
        self._format = _frame_format(frame)
        self._rate_hz = frame.sample_rate
        self._start_us = start_us
        self._samples_read = 0
        # swresample mixes by layout, so that the centre of 5.1 counts; scaled, so that two equal channels stay as loud.
        self._mixer = AudioResampler(
            format="fltp", layout="mono", rate=frame.sample_rate, options={"rematrix_maxval": "1.0"}
        )
        self._resampler = soxr.ResampleStream(frame.sample_rate, AUDIO_RATE.num, 1, dtype="float32", quality="HQ")

    @property
    def end_us(self) -> int:
        """Where the next sample is expected."""
        return self._start_us + self._samples_read * US_PER_S // self._rate_hz

    def continues_with(self, frame: AudioFrame, *, start_us: int | None) -> bool:
        """Whether a frame has the same form and starts where this stretch ends."""
        follows = start_us is None or abs(start_us - self.end_us) <= _MAX_DRIFT_US
        return follows and _frame_format(frame) == self._format

    def resample(self, frame: AudioFrame) -> Samples:
        """The frame at 16 kHz, as far as the filter lets it out; not finite values become silence."""
        self._samples_read += frame.samples
        mixed = [part.to_ndarray()[0] for part in self._mixer.resample(frame)]
        mono = np.nan_to_num(np.concatenate(mixed) if mixed else np.zeros(0, np.float32), nan=0, posinf=0, neginf=0)
        return np.asarray(self._resampler.resample_chunk(mono.astype(np.float32, copy=False)), np.float32)

    def flush(self) -> Samples:
        """What the filter still holds."""
        return np.asarray(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


def _frame_format(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name
