"""Audio: per-frame series from sound.

features  voice activity, loudness, clipping, predicted mouth motion; `sound_measure` over a span
music     likelihood of music from tones that hold their pitch, or by YAMNet
silero    the voice detector Silero over many chunks at once
"""
