"""The fitted reader of small pictures."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from xsheet.demo.film.truth import FACE_CENTRE, FACE_HEIGHT
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.model.encoders.video import DctCodec
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import frame_start_us
from xsheet.train.data.cache.build import Cache
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.framing import FACE_CENTRE_HEIGHT
from xsheet.train.evaluate.held_out import held_out_clips, measured_clips
from xsheet.train.evaluate.small_reader import (
    FaceReaderSettings,
    load_or_fit_reader,
    load_shipped_reader,
    network_inputs,
)


@pytest.fixture
def turning(built_copy, cache):
    """The set, in which the disc's place is called the head's turn, and a nod that nothing shows."""
    rng = np.random.default_rng(0)
    rows = list(tables.iter_records(built_copy, tables.SIGNALS))
    (file,) = tables.part_files(built_copy, tables.SIGNALS)
    turned = [
        replace(
            row,
            yaw_deg=tuple(float(k) for k in range(row.frames)),
            pitch_deg=tuple(rng.normal(0, 5, row.frames).tolist()),
        )
        for row in rows
    ]
    tables.write_file(file, tables.SIGNALS, turned)
    return Cache(set_folder=built_copy, spec=cache.spec, features=cache.features)


def test_series_of_a_mirrored_stretch_are_mirrored(turning):
    clips = {clip.clip_id: clip for clip in measured_clips(turning, split="train", names=("yaw_deg", "roll_deg"))}
    long = clips["clip_a"].series_VTS  # 41 frames: two stretches of 33, each twice
    assert long.shape == (4, 33, 2)
    assert long[0, :3, 0].tolist() == [0, 1, 2]
    assert long[1, :3, 0].tolist() == [0, -1, -2]
    assert long[2, :3, 0].tolist() == [8, 9, 10]


def test_held_out_clips_begin_where_their_stretch_does(turning):
    (clip,) = held_out_clips(turning, split="val", limit=9)
    assert clip.clip.clip_id == "clip_d"
    assert clip.span.duration_us == frame_start_us(33, open_rate())
    assert len(clip.waveform) == 33 * 640
    assert clip.complete_phase_ids == {p.phase_id for p in clip.annotation.phases}


def open_rate():
    from xsheet.schemas.time import CLIP_RATE

    return CLIP_RATE


def test_a_view_is_a_frame_between_its_neighbours_beside_the_first():
    pictures = torch.arange(5, dtype=torch.uint8).reshape(1, 5, 1, 1, 1).expand(1, 5, 2, 2, 3)
    seen = (network_inputs(pictures, torch.tensor([[0, 3, 4]])) + 1) * 127.5
    assert seen.round()[:, ::3, 0, 0].tolist() == [[0, 0, 1, 0], [2, 3, 4, 0], [3, 4, 4, 0]]


@pytest.mark.nightly
def test_a_fitted_reader_reads_clips_it_never_saw(turning, settings):
    codec = open_encoders(settings).video
    how = FaceReaderSettings(steps=150, batch_size=3, frames_per_clip=8)
    read = load_or_fit_reader(turning, codec, how)
    (clip,) = held_out_clips(turning, split="val", limit=1)
    pictures = codec.decode(clip.latent_CFHW[None])[0].numpy()
    predicted = read(pictures)["yaw_deg"]
    assert np.corrcoef(predicted, np.arange(33))[0, 1] > 0.9
    again = load_or_fit_reader(turning, codec, how)  # from the file
    assert np.array_equal(again(pictures)["yaw_deg"], predicted)


@pytest.mark.slow
def test_the_reader_of_the_package_sees_a_head_turn_and_brows_rise_on_a_person_it_never_saw():
    motion = Motion.rest(33)
    motion.yaw_deg[:] = 20 * np.sin(np.arange(33) / 5)
    motion.brow_raise[:] = np.clip(np.cos(np.arange(33) / 3), 0, 1) * 0.8
    identity = random_identity(987_654)
    puppet, scene = Puppet(identity, height_px=256), identity.scene
    # As the preset `tiny` frames a face: .65 of the picture, its centre at .4.
    face = FACE_HEIGHT * scene.head_share
    reach = round(256 * face / 0.65 / 2)
    x = round(256 * (0.5 + scene.centre_x))
    y = round(256 * (scene.eye_line + FACE_CENTRE * scene.head_share + (0.5 - FACE_CENTRE_HEIGHT) * face / 0.65))
    frames = [
        puppet.draw(motion.at(k))[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] for k in range(33)
    ]
    small = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in frames])
    codec = DctCodec()
    series = load_shipped_reader()(codec.decode(codec.encode(torch.from_numpy(small)[None]))[0].numpy())
    assert np.corrcoef(series["yaw_deg"], motion.yaw_deg)[0, 1] > 0.85
    assert np.corrcoef(series["brow_raise"], motion.brow_raise)[0, 1] > 0.4


def test_a_set_that_the_reader_of_the_package_does_not_explain_gets_its_own(turning, settings):
    codec = open_encoders(settings).video
    how = FaceReaderSettings(steps=1, batch_size=1, frames_per_clip=2)
    assert load_or_fit_reader(turning, codec, how).extractor is None


def test_a_set_without_signals_cannot_teach_a_reader(built_copy, cache, settings):
    (file,) = tables.part_files(built_copy, tables.SIGNALS)
    file.unlink()
    bare = Cache(set_folder=built_copy, spec=cache.spec, features=cache.features)
    with pytest.raises(ConfigError, match="signals of a face"):
        load_or_fit_reader(bare, open_encoders(settings).video, FaceReaderSettings(steps=1))
