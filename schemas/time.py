"""Time: integer microseconds internally, seconds only in input and output. All conversions are in this module.

Frame k of a stream at rate r starts at floor(k / r) µs, so at 25 fps it starts at exactly 40 000·k.
A span is half-open: [start_us, end_us). All arithmetic is on integers, so no error accumulates over hours of 29.97 fps.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open interval [start_us, end_us), in µs from the first frame of the source or clip."""

    start_us: int
    end_us: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_us < self.end_us:
            raise ValueError(f"expected 0 <= start_us < end_us, got [{self.start_us}, {self.end_us})")

    @property
    def duration_us(self) -> int:
        """Length in µs, always positive."""
        return self.end_us - self.start_us

    def overlap_us(self, other: Self) -> int:
        """Length of the intersection in µs; 0 when the spans only touch."""
        return max(0, min(self.end_us, other.end_us) - max(self.start_us, other.start_us))

    def tiou(self, other: Self) -> float:
        """Temporal intersection over union, 0..1."""
        shared = self.overlap_us(other)
        return shared / (self.duration_us + other.duration_us - shared)

    def contains(self, us: int) -> bool:
        """Whether an instant is in the span; the end is not."""
        return self.start_us <= us < self.end_us

    def shift(self, by_us: int) -> "Span":
        """The span moved by some µs; ValueError if it would begin before 0."""
        return Span(self.start_us + by_us, self.end_us + by_us)

    def __str__(self) -> str:
        return f"[{self.start_us / US_PER_S:.3f}-{self.end_us / US_PER_S:.3f}s]"


@dataclass(frozen=True, slots=True)
class FrameRate:
    """A positive rational number of events per second: frames, or audio samples."""

    num: int
    den: int = 1

    def __post_init__(self) -> None:
        if self.num <= 0 or self.den <= 0:
            raise ValueError(f"expected a positive rate, got {self.num}/{self.den}")
        if self.num > US_PER_S * self.den:
            raise ValueError(f"expected at most one event per microsecond, got {self.num}/{self.den}")
        if (g := math.gcd(self.num, self.den)) > 1:
            object.__setattr__(self, "num", self.num // g)
            object.__setattr__(self, "den", self.den // g)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From '25', '29.97' or '30000/1001'; ValueError otherwise."""
        value = Fraction(text)
        return cls(value.numerator, value.denominator)

    def __float__(self) -> float:
        return self.num / self.den

    def __str__(self) -> str:
        return str(self.num) if self.den == 1 else f"{self.num}/{self.den}"


CLIP_RATE = FrameRate(25)
AUDIO_RATE = FrameRate(16_000)


def us_from_seconds(seconds: float) -> int:
    """Nearest µs; ValueError on NaN and infinity."""
    if not math.isfinite(seconds):
        raise ValueError(f"expected finite seconds, got {seconds}")
    return round(seconds * US_PER_S)


def seconds_from_us(us: int) -> float:
    """Float seconds, for display, input and output only."""
    return us / US_PER_S


def frame_start_us(frame: int, rate: FrameRate) -> int:
    """Start in µs of frame (or sample) `frame`, which may be negative."""
    return frame * US_PER_S * rate.den // rate.num


def frame_at(us: int, rate: FrameRate) -> int:
    """The last frame (or sample) that starts at or before `us`."""
    return -(-(us + 1) * rate.num // (US_PER_S * rate.den)) - 1


def frames_in(span: Span, rate: FrameRate) -> range:
    """Frames (or samples) that start inside the span."""
    return range(frame_at(span.start_us - 1, rate) + 1, frame_at(span.end_us - 1, rate) + 1)


def span_of_frames(frames: range, rate: FrameRate) -> Span:
    """The span from the start of the first frame to the end of the last one."""
    return Span(frame_start_us(frames.start, rate), frame_start_us(frames.stop, rate))


def nearest_frame(us: int, rate: FrameRate) -> int:
    """The frame (or sample) whose start is nearest; the earlier one at a tie."""
    frame = frame_at(us, rate)
    before, after = frame_start_us(frame, rate), frame_start_us(frame + 1, rate)
    return frame if us - before <= after - us else frame + 1
