"""A canonical clip is exactly what was handed in, whole or not there, and the same bytes each time."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import ClipEncodingSettings, write_clip
from xsheet.schemas.errors import MediaError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.time import CLIP_RATE

SIZE = (64, 96)  # height, width


def pictures(count: int, size: tuple[int, int] = SIZE):
    return (np.full((*size, 3), 8 + 4 * (k % 60), np.uint8) for k in range(count))


def clicks(frames: int, *at: int) -> np.ndarray:
    sound = np.zeros(frames * 640, np.float32)
    sound[list(at)] = 0.9
    return sound


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_clip(path, frames=pictures(50), sound=clicks(50, 8000, 24_000))
    return path


def test_a_clip_reads_back_frame_by_frame_and_click_by_click(clip, tmp_path, film_index):
    with open_media(clip, root=tmp_path) as media:
        shown = [(f.index, film_index(f.rgb), f.source_us) for f in media.frames()]
        sound, source = media.sound(), media.source
    assert shown == [(k, k, 40_000 * k) for k in range(50)]
    assert (source.rate, source.is_vfr, source.start_us, source.audio_start_us) == (CLIP_RATE, False, 0, 0)
    assert (source.audio_rate_hz, source.audio_channels, source.frames_header) == (16_000, 1, 50)
    assert len(sound) == 50 * 640
    assert all(np.abs(sound[at - 16 : at + 17]).max() > 0.5 for at in (8000, 24_000))
    assert np.abs(sound[: 8000 - 400]).max() < 0.1


def test_both_streams_start_at_zero_without_reordered_frames(clip):
    with av.open(str(clip)) as container:
        video, audio = container.streams
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.start_time, audio.start_time) == (0, 0)
        packets = [p for p in container.demux(video) if p.size]
    assert [p.pts for p in packets] == [p.dts for p in packets]
    assert [p.pts * p.time_base for p in packets] == [Fraction(k, 25) for k in range(50)]
    assert packets[0].is_keyframe


def test_probe_returns_what_was_written(clip, tmp_path):
    facts = write_clip(tmp_path / "again.mp4", frames=pictures(50), sound=clicks(50, 8000, 24_000))
    assert (facts.frames, facts.samples, facts.width, facts.height) == (50, 32_000, 96, 64)
    assert facts.sha256 == file_sha256(tmp_path / "again.mp4")
    assert facts.size_bytes == (tmp_path / "again.mp4").stat().st_size


def test_the_same_input_gives_the_same_bytes(clip, tmp_path):
    again = write_clip(tmp_path / "again.mp4", frames=pictures(50), sound=clicks(50, 8000, 24_000))
    assert again.sha256 == file_sha256(clip)


def test_nothing_names_the_encoder_or_the_day(clip):
    data = clip.read_bytes()
    assert not any(name in data for name in (b"x264", b"Lavf", b"Lavc", b"libx264", b"creation_time"))
    header = data[data.index(b"mvhd") + 8 : data.index(b"mvhd") + 16]
    assert header == bytes(8)  # creation and modification time


def test_the_index_stands_before_the_frames(clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0), (0, 0, 255), (200, 150, 120)])
def test_colours_survive(colour, tmp_path):
    write_clip(tmp_path / "c.mp4", frames=(np.full((*SIZE, 3), colour, np.uint8) for _ in range(3)))
    with open_media(tmp_path / "c.mp4", root=tmp_path) as media:
        assert np.abs(next(iter(media.frames())).rgb.astype(int) - colour).max() <= 4


def test_a_clip_may_have_no_sound(tmp_path):
    assert write_clip(tmp_path / "c.mp4", frames=pictures(3)).samples == 0
    with open_media(tmp_path / "c.mp4", root=tmp_path) as media:
        assert media.source.audio_streams == 0


@pytest.mark.parametrize(
    ("frames", "sound", "message"),
    [
        (lambda: iter(()), None, "at least one frame"),
        (lambda: pictures(3, (63, 96)), None, "even width"),
        (lambda: [*pictures(3), *pictures(1, (64, 98))], None, "at frame 3"),
        (lambda: pictures(3), np.zeros(640, np.float32), "expected 1920 samples for 3 frames, got 640"),
    ],
)
def test_invalid_arguments_leave_no_file(frames, sound, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_clip(tmp_path / "c.mp4", frames=frames(), sound=sound)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_passes_through_and_leaves_no_file(tmp_path):
    def breaking():
        yield from pictures(3)
        raise MediaError(reason="over_limit", where="source.mp4", expected="", got="", hint="")

    with pytest.raises(MediaError, match="source"):
        write_clip(tmp_path / "c.mp4", frames=breaking())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_leaves_the_old_clip(clip, tmp_path):
    before = clip.read_bytes()
    with pytest.raises(ValueError, match="even width"):
        write_clip(clip, frames=pictures(3, (63, 96)))
    assert clip.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_encode_failed(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError) as error:
        write_clip(tmp_path / "file" / "c.mp4", frames=pictures(3))
    assert error.value.reason == "encode_failed"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from xsheet.curate.media.writer import write_clip
from xsheet.schemas.errors import MediaError, RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
try:
    write_clip(Path(sys.argv[1]), frames=(rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(100)))
except (MediaError, RunError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.slow
def test_a_write_that_the_system_stops_leaves_no_partial_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "c.mp4")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", [{"crf": 52}, {"preset": "placebo2"}, {"audio_bits_per_s": 0}, {"tune": "film"}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match="validation error"):
        ClipEncodingSettings(**setting)
