"""Audio of a clip for models with audio input: as samples, and as a WAV file for servers."""

import io
import wave

import numpy as np

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import MediaError
from xsheet.schemas.time import AUDIO_RATE, US_PER_S


def read_sound(selection: FrameSelection) -> Samples:
    """The sound of a clip, float32 (samples,) at 16 kHz.

    Raises:
        MediaError: the clip has no sound, or cannot be decoded.
    """
    with open_media(selection.media, root=selection.media.parent) as media:
        sound = media.sound()
    if sound is None:
        raise MediaError(
            reason="decode_failed", where=selection.media.name, expected="a clip with audio", got="no audio stream",
            hint="write the clip again: `xsheet curate run`",
        )  # fmt: skip
    return sound


def encode_wav(sound: Samples) -> bytes:
    """A WAV file of 16-bit samples at 16 kHz, mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(AUDIO_RATE.num)
        wav.writeframes(np.clip(sound * 32767, -32767, 32767).astype("<i2").tobytes())
    return file.getvalue()


def sound_length_us(sound: Samples) -> int:
    """Length of a sound in µs."""
    return len(sound) * US_PER_S // AUDIO_RATE.num
