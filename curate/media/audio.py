"""The sound of a video as 16 kHz mono, aligned with the video frames.

Each contiguous segment of samples is placed by its time stamp: a late start and gaps become silence, an early start is
cut off. Within a segment samples are contiguous; small jitter of time stamps is rounding.
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

_MAX_DRIFT_US = 20_000  # half a frame at 25 fps; a larger deviation starts a new segment
_MAX_CANCELLED_SHARE = 0.05  # power of a mix; lossy codecs leave a hundredth, independent channels a half
_RATES_HZ = range(4_000, 384_001)  # no real recording lies outside, and extreme ratios inflate memory


class SoundtrackBuilder:
    """Fills one array of fixed length from decoded frames."""

    def __init__(self, samples: int, *, channel: int | None = None) -> None:
        """`channel`: take this side of stereo instead of the mix."""
        self._channel = channel
        self._power = np.zeros(3)  # of the mix and of both sides of stereo
        self._samples: Samples = np.zeros(samples, np.float32)
        self._segment: _SoundSegment | None = None

    def add(self, frame: AudioFrame, *, start_us: int | None) -> None:
        """Add a frame that starts at `start_us`; None means directly after the previous one.

        Raises:
            ValueError: the sampling rate or channel layout cannot be mixed down (av errors included).
        """
        if self._segment is None or not self._segment.continues_with(frame, start_us=start_us):
            follows_us = 0 if self._segment is None else self._segment.end_us
            self._close_segment()
            start = follows_us if start_us is None else start_us
            self._segment = _SoundSegment(frame, start_us=start, channel=self._channel, power=self._power)
        self._place(self._segment, self._segment.resample(frame))

    @property
    def channels_cancel(self) -> bool:
        """Whether left and right cancel in the mix, because one is the negative of the other."""
        mix, *channels = self._power.tolist()
        return self._channel is None and mix < _MAX_CANCELLED_SHARE * min(channels)

    @property
    def louder_channel(self) -> int:
        """Index of the side with more power."""
        return int(self._power[1:].argmax())

    def finish(self) -> Samples:
        """Return the samples, read-only; no frame may follow."""
        self._close_segment()
        np.clip(self._samples, -1, 1, out=self._samples)  # lossy codecs decode beyond full scale
        self._samples.setflags(write=False)
        return self._samples

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._place(self._segment, self._segment.flush())
            self._segment = None

    def _place(self, segment: "_SoundSegment", samples: Samples) -> None:
        at, segment.position = segment.position, segment.position + len(samples)
        begin, end = max(at, 0), min(segment.position, len(self._samples))
        if begin < end:
            self._samples[begin:end] = samples[begin - at : end - at]


class _SoundSegment:
    """Contiguous samples of one rate and layout."""

    def __init__(self, frame: AudioFrame, *, start_us: int, channel: int | None, power: NDArray[np.float64]) -> None:
        if frame.sample_rate not in _RATES_HZ:
            raise ValueError(f"expected a sampling rate in {_RATES_HZ}, got {frame.sample_rate}")
        self.position = round(Fraction(start_us * AUDIO_RATE.num, US_PER_S))  # of the next sample, at 16 kHz
        self._format = _frame_format(frame)
        self._rate_hz = frame.sample_rate
        self._start_us = start_us
        self._samples_read = 0
        self._is_mono = len(frame.layout.channels) == 1
        self._channel = channel
        self._power = power
        # swresample mixes by layout, so the centre of 5.1 counts; scaled so that two equal channels keep their level.
        # Left and right are mixed here, because they may cancel each other; the weights are those of its own mono.
        layout = "mono" if self._is_mono else "stereo"
        options = {"rematrix_maxval": "1.0"}
        self._mixer = AudioResampler(format="fltp", layout=layout, rate=frame.sample_rate, options=options)
        self._resampler = soxr.ResampleStream(frame.sample_rate, AUDIO_RATE.num, 1, dtype="float32", quality="HQ")

    @property
    def end_us(self) -> int:
        """Expected time of the next sample."""
        return self._start_us + self._samples_read * US_PER_S // self._rate_hz

    def continues_with(self, frame: AudioFrame, *, start_us: int | None) -> bool:
        """Whether a frame has the same format and starts where this segment ends."""
        follows = start_us is None or abs(start_us - self.end_us) <= _MAX_DRIFT_US
        return follows and _frame_format(frame) == self._format

    def resample(self, frame: AudioFrame) -> Samples:
        """Resample a frame to 16 kHz, less what the filter still holds; non-finite values become silence."""
        self._samples_read += frame.samples
        mixed = [self._to_mono(np.asarray(part.to_ndarray(), np.float32)) for part in self._mixer.resample(frame)]
        mono = np.nan_to_num(np.concatenate(mixed) if mixed else np.zeros(0, np.float32), nan=0, posinf=0, neginf=0)
        return np.asarray(self._resampler.resample_chunk(mono.astype(np.float32, copy=False)), np.float32)

    def _to_mono(self, channels: Samples) -> Samples:
        """(n,) samples of one or two channels (channels, n)."""
        if self._is_mono:
            return np.asarray(channels[0], np.float32)
        mix = np.asarray(channels.mean(axis=0), np.float32)
        finite = np.nan_to_num(np.stack([mix, *channels]), nan=0, posinf=0, neginf=0).astype(np.float64)
        self._power += np.square(np.clip(finite, -1, 1)).sum(axis=1)
        return mix if self._channel is None else np.asarray(channels[self._channel], np.float32)

    def flush(self) -> Samples:
        """Return the samples that the filter still holds."""
        return np.asarray(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


def _frame_format(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name
