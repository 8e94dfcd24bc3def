"""Recordings joined end to end, damaged files, several tracks, and pictures of other shapes and ranges."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from xsheet.curate.media.clock import StreamTimes
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.reader import open_media, probe
from xsheet.schemas.errors import MediaError


def tone(level: float, samples: int = 32_000) -> np.ndarray:
    return np.full(samples, level, np.float32) * np.sign(np.sin(np.arange(samples) * 0.2)).astype(np.float32)


def loudness(sound: np.ndarray) -> list[float]:
    """RMS of each half second."""
    return [round(float(np.sqrt(np.mean(part**2))), 1) for part in np.split(sound, len(sound) // 8000)]


@pytest.mark.parametrize(
    ("container", "codec", "audio"),
    [("mpeg", "mpeg2video", "mp2"), ("webm", "libvpx-vp9", "libopus"), ("matroska", "libx264", "aac")],
)
def test_joined_recordings_follow_each_other_with_their_own_sound(container, codec, audio, film, tmp_path, film_index):
    how = {"container": container, "codec": codec, "audio_codec": audio}
    first = film("a", frames=50, sound=tone(0.2), **how)
    second = film("b", frames=25, sound=tone(0.6, 16_000), **how)
    joined = tmp_path / "joined"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with open_media(joined, root=tmp_path) as media:
        shown = [film_index(frame.rgb) for frame in media.frames()]
        assert media.source.clock_restarts == 1
        assert media.counts.damaged == 0
        assert (
            media.counts.unordered <= 1
        )  # MPEG's parser dates the last picture before the join by the packet after it
        assert abs(len(shown) - 75) <= 1
        # MPEG-2 rounds a grey level to its neighbour here and there.
        assert np.abs(np.array(shown[:49]) - np.arange(49)).max() <= 1
        assert np.abs(np.array(shown[-25:]) - np.arange(25)).max() <= 1
        assert loudness(media.sound()[: 75 * 640 // 8000 * 8000]) == pytest.approx([0.2] * 4 + [0.6] * 2, abs=0.15)


@pytest.mark.parametrize(
    ("times", "forward", "starts"),
    [
        ([*range(0, 2000, 40), *range(0, 2000, 40), *range(0, 400, 40)], False, [50, 100]),
        ([0, 80, 40, 160, 120, 240, 200], False, []),  # reordered
        ([*range(0, 2000, 40), 0, *range(2040, 4000, 40)], False, []),  # one wrong stamp
        ([*range(0, 2000, 40), 900_000, *range(2040, 4000, 40)], True, []),
        ([*range(0, 2000, 40), *range(60_000, 62_000, 40)], False, []),  # a gap
        ([*range(0, 2000, 40), *range(60_000, 62_000, 40)], True, [50]),
        ([], True, []),
    ],
)
def test_only_a_clock_that_goes_on_from_another_time_is_a_new_part(times, forward, starts):
    stream = StreamTimes(Fraction(1, 1000), list(times), list(times), list(range(len(times))))
    assert stream.restarts(forward=forward) == starts


@pytest.mark.slow
def test_frames_after_a_decoding_error_are_marked_up_to_the_next_key_frame(film, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (240, 320, 3), np.uint8)
    path = film(size=(320, 240), frames=60, picture=lambda k, size: np.roll(noise, k, axis=1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = rng.bytes(20_000)
    path.write_bytes(data)
    with open_media(path, root=tmp_path) as media:
        marked = [frame.is_damaged for frame in media.frames()]
        counted = media.with_counts(media.source)
    assert counted.frames_damaged > 0
    assert not any(marked[:15])
    assert any(marked)


@pytest.mark.parametrize(
    ("default", "chosen", "track"), [(1, None, 1), (0, None, 0), (None, None, 0), (0, 1, 1)],
)  # fmt: skip
def test_the_setting_then_the_default_flag_choose_the_audio_track(default, chosen, track, film_with_tracks, tmp_path):
    path = film_with_tracks([tone(0.2), tone(0.6)], default=default)
    with open_media(path, root=tmp_path, limits=MediaLimits(audio_track=chosen)) as media:
        assert media.source.audio_track == track
        assert loudness(media.sound())[1] == pytest.approx([0.2, 0.6][track], abs=0.1)
        assert media.undecided_audio_tracks == ((0, 1) if default is None else ())


def test_a_track_that_is_not_there_is_named(film_with_tracks, tmp_path):
    path = film_with_tracks([tone(0.2)])
    with pytest.raises(MediaError, match=r"expected video track 3, got 1 video tracks"):
        probe(path, root=tmp_path, limits=MediaLimits(video_track=3))


@pytest.mark.parametrize(
    ("layout", "channels", "level"),
    [
        ("stereo", (1, -1), 0.4), ("stereo", (1, 1), 0.4), ("stereo", (1, 0), 0.2),
        # One side of 5.1 is the front channel by 1 + 2 √½.
        ("5.1", (1, -1, 0, 0, 0, 0), 0.17), ("5.1", (0, 0, 1, 0, 0, 0), 0.12), ("quad", (1, -1, 0, 0), 0.23),
    ],
)  # fmt: skip
def test_channels_that_cancel_give_one_channel(layout, channels, level, tmp_path):
    path, sound = tmp_path / "stereo.mkv", tone(0.4)
    with av.open(str(path), "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=16_000, layout=layout)
        for k in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            out.mux(video.encode(frame))
        interleaved = (32_767 * np.outer(sound, channels)).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
        frame.sample_rate, frame.pts = 16_000, 0
        out.mux(audio.encode(frame))
        for stream in (video, audio):
            out.mux(stream.encode(None))
    with open_media(path, root=tmp_path) as media:
        assert loudness(media.sound())[1] == pytest.approx(level, abs=0.07)


def disc(index: int, size: tuple[int, int]) -> np.ndarray:
    """A white disc on grey."""
    y, x = np.mgrid[: size[1], : size[0]]
    inside = (x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2 < (min(size) / 4) ** 2
    return np.where(inside[..., None], 255, 90).astype(np.uint8).repeat(3, axis=2)


def test_a_picture_that_changes_its_shape_is_put_between_bars(film, tmp_path):
    how = {"container": "webm", "codec": "libvpx-vp9", "frames": 25, "picture": disc}
    wide, tall = film("a", size=(128, 96), **how), film("b", size=(96, 128), **how)
    (tmp_path / "turned.webm").write_bytes(wide.read_bytes() + tall.read_bytes())
    with open_media(tmp_path / "turned.webm", root=tmp_path) as media:
        frames = [frame.rgb for frame in media.frames()]
        assert media.with_counts(media.source).frames_resized == 25
    assert frames[40].shape == frames[0].shape == (96, 128, 3)
    white = frames[40][..., 0] > 200
    height, width = np.ptp(np.flatnonzero(white.any(1))), np.ptp(np.flatnonzero(white.any(0)))
    assert abs(height - width) <= 2  # still a disc
    assert frames[40][:, :20].max() < 30  # bars


def write_raw(path: Path, planes: np.ndarray, *, pix_fmt: str, options: dict[str, str], **tags: object) -> Path:
    with av.open(str(path), "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "5", **options})
        video.width, video.height, video.pix_fmt = planes.shape[1], planes.shape[0], pix_fmt
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(planes, format="rgb48le" if planes.dtype == np.uint16 else "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=tags.get("colorspace"))
            frame.pts, frame.time_base = k, Fraction(1, 25)
            for name, value in tags.items():
                setattr(frame, name, value)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "name", "white"), [(16, "pq", 0.58), (18, "hlg", 0.75)])
def test_high_dynamic_range_is_named_and_toned_down(transfer, name, white, tmp_path):
    """Diffuse white has code 58 % in PQ and 75 % in HLG (BT.2408); it becomes nearly white."""
    planes = np.full((64, 64, 3), round(white * 65535), np.uint16)
    path = write_raw(
        tmp_path / "hdr.mkv", planes, pix_fmt="yuv420p10le", options={}, color_trc=transfer, color_primaries=9,
        colorspace=9,
    )  # fmt: skip
    with open_media(path, root=tmp_path) as media:
        source, frame = media.source, next(iter(media.frames()))
    assert (source.color_transfer, source.color_primaries, source.bit_depth) == (name, "bt2020", 10)
    assert frame.rgb.mean() == pytest.approx(242, abs=8)
    assert np.ptp(frame.rgb.mean(axis=(0, 1))) < 4


def test_interlaced_pictures_are_named_and_show_no_comb(tmp_path):
    comb = np.zeros((64, 64, 3), np.uint8)
    comb[::2, :40] = comb[1::2, 24:] = 255  # the two fields show a moving edge at two places
    path = write_raw(
        tmp_path / "i.mkv", comb, pix_fmt="yuv444p", options={"flags": "+ildct+ilme", "x264-params": "tff=1"}
    )
    with open_media(path, root=tmp_path) as media:
        source, frame = media.source, next(iter(media.frames()))
    assert source.is_interlaced
    assert np.abs(np.diff(frame.rgb[8:-8, 32].astype(int), axis=0)).max() < 30
