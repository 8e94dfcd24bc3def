"""Conditioning of variants, from the signals of a clip and its face track to a batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from xsheet.curate.faces.identity import IDENTITY_MODEL
from xsheet.runtime.executor import Execution
from xsheet.schemas import tables
from xsheet.schemas.clip import Signals
from xsheet.schemas.source import FaceTrack
from xsheet.train.data.cache.build import build_cache, open_cache
from xsheet.train.data.conditioning import (
    DRIVING_SERIES,
    MEDIAN_MOTION,
    driving_motion,
    identity_vector,
    motion_intensity,
)
from xsheet.train.data.dataset import CachedClipDataset, select_clips
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import ExtraConditioningSettings, StageDatasetSettings

FRAMES = 100
ALL = np.arange(FRAMES)
WAVE = np.sin(np.linspace(0, 20 * np.pi, FRAMES, endpoint=False)) * np.sqrt(2)  # its deviation is 1
SHAPE = tuple(float(k) for k in range(18))


def moving(*, mouth: float = 0.0, wrist: float = 0.0, **series) -> Signals:
    """A face whose mouth, and a body whose left wrist moves by so much."""
    still = dict.fromkeys(("mouth_wide", "brow_raise", "yaw_deg", "pitch_deg", "roll_deg"), (0.1,) * FRAMES)
    at = {"shoulder_left_x": 1.0, "shoulder_left_y": 1.0, "shoulder_right_x": 0.5, "shoulder_right_y": 1.0}
    body = {name: (value,) * FRAMES for name, value in at.items()}
    wrists = {"wrist_left_x": tuple(0.9 + wrist * WAVE), "wrist_left_y": (1.2,) * FRAMES}
    return Signals(
        clip_id="clip_a", frames=FRAMES, extractor="test",
        **still | body | wrists | {"mouth_open": tuple(0.1 + mouth * WAVE)} | series,
    )  # fmt: skip


def test_intensity_of_a_still_clip_is_none_and_of_an_ordinary_one_a_half():
    np.testing.assert_allclose(motion_intensity(moving(), ALL), (0, 0), atol=1e-4)
    wrist = MEDIAN_MOTION[1] * 0.5 * np.sqrt(3)  # shoulders half a picture apart; one of the three joints seen moves
    np.testing.assert_allclose(
        motion_intensity(moving(mouth=MEDIAN_MOTION[0], wrist=wrist), ALL), (0.5, 0.5), atol=1e-3
    )


def test_face_and_body_have_separate_intensities_and_great_motion_is_one():
    np.testing.assert_allclose(motion_intensity(moving(mouth=1.0), ALL), (1, 0), atol=1e-4)
    np.testing.assert_allclose(motion_intensity(moving(wrist=1.0), ALL), (0, 1), atol=1e-4)


def test_intensity_is_that_of_the_frames_shown():
    half = replace(moving(), mouth_open=(*(0.1,) * 50, *(0.1 + WAVE[50:])))
    assert motion_intensity(half, ALL[:50])[0] < 0.01
    assert motion_intensity(half, ALL[50:])[0] == 1


def test_what_was_not_seen_is_ordinary_motion_and_a_still_face():
    nothing = Signals(clip_id="clip_a", frames=FRAMES, extractor="test")
    np.testing.assert_array_equal(motion_intensity(nothing, ALL), (0.5, 0.5))
    assert not driving_motion(nothing).any()


def test_brows_and_lids_move_from_their_rest_and_the_head_from_the_front():
    brow = tuple(0.15 + (0.012 if k == 7 else 0.0) for k in range(FRAMES))
    result = driving_motion(moving(brow_raise=brow, yaw_deg=(12.0,) * FRAMES))
    by_name = dict(zip(DRIVING_SERIES, result.T, strict=True))
    np.testing.assert_allclose(by_name["brow_raise"], [float(k == 7) for k in range(FRAMES)], atol=1e-3)
    np.testing.assert_allclose(by_name["yaw_deg"], 2.0)


@pytest.mark.parametrize(("shape", "model"), [((), None), (SHAPE, "another@1"), (SHAPE[:4], IDENTITY_MODEL)])
def test_a_face_that_the_wanted_model_did_not_measure_is_nobodys(shape, model):
    assert identity_vector(shape, model, wanted_model=IDENTITY_MODEL, dim=18) == (0.0,) * 18


def test_the_embedding_of_a_network_is_taken_as_it_is():
    assert identity_vector((0.1, -0.2), "arcface@1", wanted_model="arcface@1", dim=2) == (0.1, -0.2)


def build(folder, settings, **changes):
    built = build_cache(folder, settings.model_copy(update=changes), execution=Execution(), shows_progress=False)
    return open_cache(folder, built.spec)


@pytest.fixture
def controlled(built_copy, settings):
    """The cached set with a track and turning heads, cached again with the conditioning of variants."""
    signals = list(tables.iter_records(built_copy, tables.SIGNALS))
    turned = [replace(one, yaw_deg=tuple(6.0 * k for k in range(one.frames))) for one in signals]
    tables.write_table(built_copy, tables.SIGNALS, turned)
    clips = [replace(clip, track_id="track_a") for clip in tables.iter_records(built_copy, tables.CLIPS)]
    tables.write_table(built_copy, tables.CLIPS, clips)
    box = dict.fromkeys(("x0", "y0", "x1", "y1"), (0.5,))
    track = FaceTrack(
        track_id="track_a", source_id="src", detector="test", start_frame=0, frames=1, **box, identity_embedding=SHAPE,
        identity_model=IDENTITY_MODEL,
    )  # fmt: skip
    tables.write_table(built_copy, tables.TRACKS, [track])
    before = {path: path.stat().st_mtime_ns for path in built_copy.glob("cache/clips-*/*")}
    cache = build(built_copy, settings, extra_conditioning=ExtraConditioningSettings())
    assert {path: path.stat().st_mtime_ns for path in built_copy.glob("cache/clips-*/*")} == before
    return cache


def batch_of(cache, *, mirrored):
    shown = StageDatasetSettings(text="brief")
    clips = CachedClipDataset([select_clips(cache, shown, split=None)], shown, seed=1, mirror_probability=mirrored)
    return clips.batch([SampleKey(0, "clip_a"), SampleKey(0, "clip_b")])


@pytest.mark.slow
def test_a_batch_holds_whose_face_it_is_how_much_it_moves_and_how(controlled, cache, settings):
    assert controlled.spec.clips_key == cache.spec.clips_key
    assert controlled.spec.fingerprint != cache.spec.fingerprint
    straight, mirrored = (batch_of(controlled, mirrored=share) for share in (0.0, 1.0))
    assert straight.identity_BX.shape == (2, 18)
    assert straight.identity_BX.any()
    assert torch.equal(straight.identity_BX, mirrored.identity_BX)
    assert torch.equal(straight.intensity_B2, mirrored.intensity_B2)
    yaw = list(DRIVING_SERIES).index("yaw_deg")
    crop = straight.motion_BTX[1, :, yaw]  # clip_b fills the bucket: its first crop begins with it
    assert torch.equal(crop, torch.arange(33.0))
    assert torch.equal(mirrored.motion_BTX[1, :, yaw], -crop)
    result = json.loads((controlled.set_folder / "cache" / f"{controlled.spec.fingerprint[:16]}.json").read_text())
    assert result["extra_conditioning"]["identity_model"] == IDENTITY_MODEL


def test_the_plain_model_gets_no_extra_conditioning(cache):
    batch = batch_of(cache, mirrored=0.0)
    assert batch.identity_BX is batch.intensity_B2 is batch.motion_BTX is None
    assert not list(cache.set_folder.glob("cache/extra_conditioning-*"))
