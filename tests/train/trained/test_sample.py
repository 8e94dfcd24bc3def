"""Portrait, sound and sheet to a video."""

import logging
import random
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.io import wavfile

from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import ConfigError
from xsheet.train.sample.sample import SampleFiles, read_audio, read_portrait, sample
from xsheet.train.sample.script_sources import read_script

SHEET = "base: A person speaks to the camera.\nphases: [{start_s: 0.1, end_s: 0.6, text: nods twice}]\n"


@pytest.fixture
def wished(tmp_path):
    """A portrait of 120 x 160 without a face, .9 s of sound in stereo at 8 kHz, and a sheet."""
    ramp = np.broadcast_to(np.linspace(40, 220, 160).astype(np.uint8)[None, :, None], (120, 160, 3))
    cv2.imwrite(str(tmp_path / "portrait.png"), ramp)
    beep = (8000 * np.sin(np.arange(7200) / 5)).astype(np.int16)
    wavfile.write(tmp_path / "sound.wav", 8000, np.stack([beep, beep], axis=1))
    (tmp_path / "sheet.yaml").write_text(SHEET)
    names = {"portrait": "portrait.png", "audio": "sound.wav", "script": "sheet.yaml", "out": "out.mp4"}
    files = {part: tmp_path / name for part, name in names.items()}
    return SampleFiles(**files | {"script": read_script(files["script"])})


@pytest.mark.slow
def test_a_sample_is_a_canonical_clip_with_its_sound(wished, trained, quick, caplog):
    with caplog.at_level(logging.INFO, logger="xsheet"):
        written = sample(trained, wished, quick)
    assert written.frames == 21  # the longest length of the cache that .9 s fill
    assert "Phase-1" in caplog.text and "nods twice." in caplog.text
    with open_media(wished.out, root=wished.out.parent) as media:
        shown = [frame.rgb for frame in media.frames()]
        audio = media.sound()
    assert len(shown) == 21 and len(audio) == 21 * 640
    assert np.abs(audio).mean() > 0.05
    assert shown[0].shape == (256, 256, 3)
    assert shown[0].mean((0, 2))[:20].mean() < shown[0].mean((0, 2))[-20:].mean() - 40  # the ramp of the portrait


@pytest.mark.slow
def test_a_video_can_be_portrait_and_sound(wished, trained, built_set, quick, tmp_path):
    film = built_set[0] / "media/clip_a.mp4"
    files = SampleFiles(portrait=film, audio=film, script=wished.script, out=tmp_path / "again.mp4")
    assert sample(trained, files, quick).frames == 41


@pytest.mark.slow
def test_longer_audio_is_sampled_in_windows_with_the_actions_of_each(wished, trained, quick, caplog, tmp_path):
    wavfile.write(wished.audio, 16000, (8000 * np.sin(np.arange(41600) / 5)).astype(np.int16))  # 2.6 s
    script = tmp_path / "late.yaml"
    script.write_text("base: A person speaks to the camera.\nphases: [{start_s: 1.7, end_s: 2.3, text: nods twice}]\n")
    with caplog.at_level(logging.INFO, logger="xsheet"):
        written = sample(trained, replace(wished, script=read_script(script)), quick)
    assert written.frames == 65
    assert "window 3 of 3" in caplog.text
    texts = [record.args[0] for record in caplog.records if record.msg == "text: %s"]
    assert ["nods twice" in text for text in texts] == [False, True, True]
    assert "[0.74-1.32s]: nods twice." in texts[1]  # the window begins at .96 s and ends at 2.28 s


@pytest.mark.slow
def test_a_sound_too_short_for_the_training_is_refused(wished, trained, quick):
    wavfile.write(wished.audio, 16000, np.zeros(4000, np.int16))
    with pytest.raises(ConfigError, match="too_short"):
        sample(trained, wished, quick)
    assert not wished.out.exists()


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path):
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b""))
    with pytest.raises(ConfigError, match="at most 100000000 pixels"):
        read_portrait(bomb)


@pytest.mark.slow
def test_a_text_is_no_portrait_and_no_sound(tmp_path):
    for name, reader in (("a.png", read_portrait), ("a.wav", read_audio)):
        file = tmp_path / name
        file.write_text("hello")
        with pytest.raises(ConfigError, match="another"):
            reader(file)


def test_a_wav_with_any_header_is_a_sound_or_a_sentence(tmp_path):
    """Bytes of the header changed and files cut at random; scipy has six ways to fail on them."""
    wavfile.write(tmp_path / "whole.wav", 16000, np.full(800, 500, np.int16))
    whole, chance, refused = (tmp_path / "whole.wav").read_bytes(), random.Random(5), 0
    headers = [whole[:24] + struct.pack("<I", rate) + whole[28:] for rate in (0, 1, 2**32 - 1)]
    headers += [whole[:40] + struct.pack("<I", 2**32 - 2) + whole[44:], whole[:20], whole[:4], b""]
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            changed[chance.randrange(44)] = chance.randrange(256)
        headers.append(bytes(changed[: chance.choice((len(whole), chance.randrange(60)))]))
    for header in headers:
        (tmp_path / "a.wav").write_bytes(header)
        try:
            assert np.isfinite(read_audio(tmp_path / "a.wav")).all()
        except ConfigError:
            refused += 1
    assert 100 < refused < len(headers)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_every_kind_of_wav_has_the_same_level(tmp_path, kind):
    wave = 0.5 * np.sin(np.arange(16000) / 20)
    if kind is np.float32:
        stored = wave.astype(np.float32)
    else:
        limits = np.iinfo(kind)
        stored = (wave * limits.max + (128 if limits.min == 0 else 0)) if limits.min else wave * 127 + 128
    wavfile.write(tmp_path / "a.wav", 16000, np.asarray(stored).astype(kind))
    assert np.abs(read_audio(tmp_path / "a.wav") - wave).max() < 0.02


@pytest.mark.slow
def test_a_driver_is_refused_by_a_model_that_reads_no_motion(wished, trained, quick):
    with pytest.raises(ConfigError, match=r"variant `none`"):
        sample(trained, replace(wished, driver=wished.portrait), quick)
