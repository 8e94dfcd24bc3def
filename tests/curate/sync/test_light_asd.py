import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.settings import AnalysisSettings
from xsheet.curate.sync.base import SyncDistances
from xsheet.curate.sync.light_asd import (
    ORIGINAL_WEIGHTS,
    LightAsd,
    LightAsdNetworkSettings,
    convert_weights,
    tensor_shapes,
)
from xsheet.curate.sync.light_asd_scorer import LightAsdAnalyser, LightAsdScorer, LightAsdSettings
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import load_settings
from xsheet.schemas.source import FaceTrack, Timeline

FRAMES = 60


def box_track(frames: int = FRAMES, name: str = "t") -> FaceTrack:
    at = {edge: (value,) * frames for edge, value in {"x0": 0.25, "y0": 0.25, "x1": 0.75, "y1": 0.75}.items()}
    return FaceTrack(track_id=name, source_id="s", detector="d", start_frame=0, frames=frames, **at)


def planted(logits: np.ndarray, name: str = "t") -> SyncDistances:
    values = -logits.astype(np.float32)[:, None]
    return SyncDistances.of(values, track_id=name, scorer="light_asd@0", start_frame=0, max_lag_frames=0)


def timeline(voice: np.ndarray) -> Timeline:
    return Timeline(source_id="s", frames=len(voice), extractor="x", voice=tuple(voice.tolist()))


def test_the_score_is_the_mean_logit_of_voiced_frames():
    voice = np.r_[np.ones(40), np.zeros(20)]
    logits = np.r_[np.full(40, 2.0), np.full(20, -9.0)]
    score = LightAsdScorer(timeline(voice), [planted(logits)])(box_track(), range(FRAMES))
    assert score is not None
    assert (score.confidence, score.offset_frames, score.not_measurable) == (2.0, None, None)


@pytest.mark.parametrize(
    ("frames", "voice", "logits", "reason"),
    [(30, 1.0, 1.0, "short"), (FRAMES, 0.0, 1.0, "unvoiced"), (FRAMES, 1.0, np.nan, "face_hidden")],
)
def test_what_cannot_be_scored_says_why(frames, voice, logits, reason):
    scorer = LightAsdScorer(timeline(np.full(FRAMES, voice)), [planted(np.full(FRAMES, logits))])
    score = scorer(box_track(), range(frames))
    assert score is not None
    assert (score.confidence, score.not_measurable) == (None, reason)


@pytest.mark.parametrize(
    ("left", "right", "speaker"), [(2.0, -1.0, 0), (-1.0, 2.0, 1), (2.0, 1.5, None), (-1, -3, None)]
)
def test_the_speaker_leads_and_speaks(left, right, speaker):
    rows = [planted(np.full(FRAMES, left), "a"), planted(np.full(FRAMES, right), "b")]
    settings = LightAsdSettings()
    scorer = settings.scorers(timeline(np.ones(FRAMES)), rows)[settings.speaker_scorer]
    scores = [scorer(box_track(name=name), range(FRAMES), shift=0) for name in "ab"]
    assert settings.select_speaker([score for score in scores if score is not None]) == speaker


def test_weights_that_are_not_there_are_named_before_the_run(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected light_asd\.safetensors in --models DIR, got no file"):
        load_settings(AnalysisSettings, overrides=["sync.name=light_asd"]).sync.weights(tmp_path)


def test_the_published_weights_are_those_of_the_network(shared: Path, tmp_path: Path):
    pytest.importorskip("torch", reason="the extra `syncnet` is not installed")
    convert_weights(shared / "models" / ORIGINAL_WEIGHTS, tmp_path / "light_asd.safetensors")
    assert (tmp_path / "light_asd.safetensors.sha256").is_file()


# What follows needs the extra: the network with weights made here.


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the authors' file holds theirs."""
    torch = pytest.importorskip("torch", reason="the extra `syncnet` is not installed")
    pytest.importorskip("python_speech_features", reason="the extra `syncnet` is not installed")
    torch.manual_seed(5)
    state = {
        name: torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5 if len(shape) > 1 else torch.rand(shape) + 0.5
        for name, shape in tensor_shapes().items()
    }
    path = tmp_path_factory.mktemp("weights") / ORIGINAL_WEIGHTS
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def net(pickled: Path) -> LightAsd:
    out = pickled.with_name("light_asd.safetensors")
    convert_weights(pickled, out, sha256=file_sha256(pickled))
    net = LightAsd(out, settings=LightAsdNetworkSettings(clip_frames=25))
    net.open()
    return net


@pytest.mark.slow
def test_picture_and_sound_both_count(net: LightAsd):
    rng = np.random.default_rng(1)
    crops, sound = rng.integers(0, 256, (10, 112, 112), np.uint8), 0.1 * rng.standard_normal(FRAMES * 640)
    logits = net.speaking_logits(crops, sound.astype(np.float32), 0)
    assert logits.shape == (10,)
    assert np.isfinite(logits).all()
    other_sound = net.speaking_logits(crops, sound.astype(np.float32), 20)
    other_faces = net.speaking_logits(crops[::-1].copy(), sound.astype(np.float32), 0)
    assert np.abs(logits - other_sound).max() > 1e-4
    assert np.abs(logits - other_faces).max() > 1e-4


def test_a_face_at_the_end_of_the_sound_is_read(net: LightAsd):
    crops = np.zeros((8, 112, 112), np.uint8)
    assert net.speaking_logits(crops, np.full(8 * 640, 0.1, np.float32), 4).shape == (8,)


@pytest.mark.slow
def test_a_track_gets_a_value_in_each_frame_as_its_clips_alone(net: LightAsd):
    rng = np.random.default_rng(2)
    films = [cv2.resize(one, (160, 160)) for one in rng.integers(0, 256, (FRAMES, 8, 8, 3), np.uint8)]
    sound = (0.1 * rng.standard_normal(FRAMES * 640)).astype(np.float32)
    analyser = LightAsdAnalyser(net, sound)
    for index, rgb in enumerate(films):
        analyser.add(Frame(index, index * 40_000, rgb, index, index * 40_000), [(40.0, 40.0, 120.0, 120.0)])
    analyser.close()
    (row,) = analyser.distances([box_track()])
    values = row.to_array()
    assert values.shape == (FRAMES, 1)
    assert np.isfinite(values).all()
    again = LightAsdAnalyser(net, sound)
    for index in range(25, 50):  # the second clip alone
        again.add(Frame(index, index * 40_000, films[index], index, index * 40_000), [(40.0, 40.0, 120.0, 120.0)])
    again.close()
    (alone,) = again.distances([box_track()])
    np.testing.assert_allclose(alone.to_array()[25:50], values[25:50], atol=1e-5)


@pytest.mark.parametrize("change", ["absent", "shape"])
def test_other_tensors_are_refused(change: str, pickled: Path, tmp_path: Path):
    import torch

    state = torch.load(pickled, weights_only=True)
    name = "model.GRU.gru_forward.weight_ih_l0"
    state.pop(name) if change == "absent" else state.update({name: torch.zeros(3, 128)})
    other = tmp_path / "other.model"
    torch.save(state, other)
    with pytest.raises(ConfigError, match=r"expected the tensors of Light-ASD, got .*gru_forward\.weight_ih_l0"):
        convert_weights(other, tmp_path / "out.safetensors", sha256=file_sha256(other))
