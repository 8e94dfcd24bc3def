from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.settings import AnalysisSettings
from xsheet.curate.sync.base import SyncDistances
from xsheet.curate.sync.face_crops import mouth_crop, smooth_box
from xsheet.curate.sync.syncnet import SyncNet, SyncNetNetworkSettings, VoiceFeatures, convert_weights, mfcc
from xsheet.curate.sync.syncnet_scorer import SyncNetScorer, SyncNetSettings, syncnet_score
from xsheet.curate.sync.syncnet_stream import SyncNetAnalyser
from xsheet.curate.tasks.analyse import AnalysisJob, AnalysisTask
from xsheet.curate.tasks.segment import SegmentJob, SegmentTask
from xsheet.demo.film import voice
from xsheet.runtime.executor import Item, Outcome
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import load_settings
from xsheet.schemas.source import FaceTrack, SourceVideo, Timeline

FRAMES = 60
SHORT = SyncNetNetworkSettings(max_lag_frames=21, batch_size=8)


def planted_distances(offset: int, *, frames: int = 50, depth: float = 4.0) -> np.ndarray:
    """Distances of 10 with a valley of `depth` at one offset."""
    distances = np.full((frames, 2 * SHORT.max_lag_frames + 1), 10.0, np.float32)
    distances[:, SHORT.max_lag_frames + offset] -= depth
    return distances


@pytest.mark.parametrize("offset", [-15, -3, 0, 7, 15])
def test_a_late_voice_has_a_positive_offset(offset: int):
    score = syncnet_score(planted_distances(offset), np.ones(50, bool), scorer="n")
    assert (score.offset_frames, score.confidence, score.distance) == (offset, 4.0, 6.0)


@pytest.mark.parametrize("offset", [-6, -2, 0, 6])
def test_a_shift_by_the_offset_leaves_none(offset: int):
    score = syncnet_score(planted_distances(offset), np.ones(50, bool), scorer="n", shift=offset)
    assert score.offset_frames == 0


def test_invalid_windows_do_not_affect_the_score():
    distances = planted_distances(2)
    distances[25:] = planted_distances(-9, frames=25, depth=9)
    assert syncnet_score(distances, np.arange(50) < 25, scorer="n").offset_frames == 2


def test_no_window_is_not_measurable():
    score = syncnet_score(np.full((50, 43), np.nan, np.float32), np.ones(50, bool), scorer="n")
    assert score.not_measurable == "face_hidden"


def test_the_crop_reaches_below_the_chin_and_beside_the_ears():
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:76, 36:64] = 255  # from the face's upper edge to 1.8 half sides down, 1.4 to each side
    assert mouth_crop(picture, (50, 50, 10), scale=0.4)[8:-8, 8:-8].min() == 255


def test_a_face_at_the_edge_is_filled_up_with_grey():
    crop = mouth_crop(np.zeros((60, 60, 3), np.uint8), (0, 30, 20), scale=0.4)
    assert (crop[112, 10] == 110).all()


@pytest.mark.parametrize("box", [(-500.0, 0.0, 10.0), (500.0, 900.0, 3.0), (5.0, 5.0, 0.2)])
def test_any_box_gives_a_crop_of_the_networks_size(box: tuple[float, float, float]):
    assert mouth_crop(np.zeros((60, 80, 3), np.uint8), box, scale=0.4).shape == (224, 224, 3)


def test_one_stray_box_does_not_move_the_crop():
    boxes = np.tile([0.2, 0.2, 0.4, 0.5], (13, 1))
    boxes[6] += 0.3
    assert smooth_box(boxes, 100) == pytest.approx((30, 35, 15))


# What follows needs the extra: the network with weights made here, since the published ones are not test data.


@pytest.fixture(scope="module")
def extra() -> None:
    pytest.importorskip("torch", reason="the extra `syncnet` is not installed")
    pytest.importorskip("python_speech_features", reason="the extra `syncnet` is not installed")
    pytest.importorskip("syncnet_python", reason="the extra `syncnet` is not installed", exc_type=ImportError)


@pytest.fixture(scope="module")
def pickled(extra, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the authors' file holds theirs; the running means are random too, so that inputs matter."""
    import torch
    from syncnet_python.SyncNetModel import S

    torch.manual_seed(5)
    state = S().state_dict()
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        if name.endswith(("netfcaud.3.weight", "netfclip.3.weight")):
            tensor.mul_(20)
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def cuda(extra) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="module")
def net(pickled: Path) -> SyncNet:
    out = pickled.with_name("syncnet_v2.safetensors")
    convert_weights(pickled, out, sha256=file_sha256(pickled))
    net = SyncNet(out)
    net.open()
    return net


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return voice.synthesise_speech(np.random.default_rng(8), FRAMES).sound


def noise_film(frames: int = FRAMES) -> np.ndarray:
    """(T, 224, 224, 3) coarse coloured noise that drifts."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (frames, 8, 8, 3), np.uint8)
    return np.stack([cv2.resize(picture, (224, 224)) for picture in coarse])


@pytest.mark.nightly
def test_a_whole_film_scores_as_in_the_packages_own_file_pipeline(net: SyncNet, pickled: Path, sound, tmp_path: Path):
    import torch
    from scipy.io import wavfile
    from syncnet_python.SyncNetInstance import SyncNetInstance
    from syncnet_python.SyncNetModel import S

    crops = noise_film()
    for index, crop in enumerate(crops):  # PNG, so that nothing is lost, under the name that the package looks for
        (tmp_path / f"{index:06d}.jpg").write_bytes(cv2.imencode(".png", crop[..., ::-1])[1].tobytes())
    wavfile.write(tmp_path / "audio.wav", 16_000, np.round(sound * 32768).astype(np.int16))
    theirs = S()
    theirs.load_state_dict(torch.load(pickled, weights_only=True))
    options = SimpleNamespace(tmp_dir=str(tmp_path), batch_size=20, vshift=15)
    with torch.inference_mode():
        offset, confidence, distance = SyncNetInstance(theirs, device="cpu").evaluate(options)

    voice = VoiceFeatures(net, sound)
    ours = voice.distances(net.embed_mouths(crops)[: voice.windows], 0, max_lag_frames=SHORT.max_lag_frames)
    score = syncnet_score(ours, np.ones(len(ours), bool), scorer=net.name, settings=SyncNetSettings())

    assert score.offset_frames == -offset
    assert score.confidence == pytest.approx(confidence, abs=1e-4)
    assert score.distance == pytest.approx(distance, abs=1e-4)


@pytest.mark.slow
def test_streaming_gives_the_same_distances_as_the_whole_film_at_once(net: SyncNet, sound):
    films = noise_film(30)
    analyser = SyncNetAnalyser(net, sound[: 30 * 640])
    for index, rgb in enumerate(films):
        analyser.add(Frame(index, index * 40_000, rgb, index, index * 40_000), [(60, 60, 120, 130)])
    analyser.close()
    crops = np.stack([mouth_crop(rgb, (90, 95, 35), scale=0.4) for rgb in films])
    voice = VoiceFeatures(net, sound[: 30 * 640])
    at_once = voice.distances(net.embed_mouths(crops)[: voice.windows], 0, max_lag_frames=SHORT.max_lag_frames)
    assert np.allclose(analyser.track_distances(box_track(30))[: voice.windows], at_once, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_cuda_device_gives_the_distances_of_the_cpu(cuda, net: SyncNet, pickled: Path, sound, batch_size: int):
    weights = pickled.with_name("syncnet_v2.safetensors")
    settings = SyncNetNetworkSettings(device="cuda", batch_size=batch_size)
    on_card = SyncNet(weights, settings=settings)
    on_card.open()
    scores = [film_distances(network, sound) for network in (net, on_card)]
    # TF32 is off in matrix products by default, but on in convolutions: three digits.
    assert np.allclose(scores[0], scores[1], rtol=2e-3, atol=1e-3, equal_nan=True)
    at = [syncnet_score(one[:50], np.ones(50, bool), scorer="n") for one in scores]
    assert at[0].offset_frames == at[1].offset_frames


def film_distances(network: SyncNet, sound: np.ndarray) -> np.ndarray:
    """(FRAMES, lags) distances of a film of noise with one face that stands still."""
    analyser = SyncNetAnalyser(network, sound)
    for index, rgb in enumerate(noise_film()):
        analyser.add(Frame(index, index * 40_000, rgb, index, index * 40_000), [(60, 60, 120, 130)])
    analyser.close()
    return analyser.track_distances(box_track(FRAMES))


@pytest.mark.slow
def test_a_track_is_scored_over_a_span(net: SyncNet, sound):
    analyser = SyncNetAnalyser(net, sound)
    for index, rgb in enumerate(noise_film()):
        analyser.add(Frame(index, index * 40_000, rgb, index, index * 40_000), [(60, 60, 120, 130)])
    analyser.close()
    timeline = Timeline(source_id="s", frames=FRAMES, extractor="x", voice=(1.0,) * FRAMES)
    score = SyncNetScorer(timeline, analyser.distances([box_track(FRAMES)]))(box_track(FRAMES), range(2, 58))
    assert score is not None
    assert (score.scorer, score.windows) == (net.name, 51)


@pytest.mark.slow
def test_the_face_of_another_track_is_not_scored(net: SyncNet, sound):
    analyser = SyncNetAnalyser(net, sound)
    for index, rgb in enumerate(noise_film(12)):
        analyser.add(Frame(index, index * 40_000, rgb, index, index * 40_000), [(0, 0, 50, 50)])
    analyser.close()
    assert np.isnan(analyser.track_distances(box_track(12))).all()


def test_sound_features_of_a_part_are_those_of_the_whole(extra, sound):
    from python_speech_features import mfcc as of_the_package

    whole = of_the_package(np.round(sound * 32768).astype(np.int16), 16_000)
    assert np.allclose(mfcc(sound, 100, 150), whole[100:150], atol=1e-4)


def test_a_pickle_of_another_hash_is_refused(pickled: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="expected SHA-256 961e8696"):
        convert_weights(pickled, tmp_path / "out.safetensors")


def test_a_pickle_that_would_run_code_is_refused(extra, tmp_path: Path):
    import pickle

    evil = tmp_path / "evil.model"
    evil.write_bytes(pickle.dumps({"x": Path.cwd}))
    with pytest.raises(ConfigError, match="expected the tensors of SyncNet"):
        convert_weights(evil, tmp_path / "out.safetensors", sha256=file_sha256(evil))


def test_tensors_of_another_network_are_refused(extra, tmp_path: Path):
    import torch

    other = tmp_path / "other.model"
    torch.save({"x": torch.zeros(2)}, other)
    with pytest.raises(ConfigError, match="expected the tensors of SyncNet"):
        convert_weights(other, tmp_path / "out.safetensors", sha256=file_sha256(other))


def test_weights_without_a_hash_are_not_opened(extra, tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="expected the SHA-256 of the weights"):
        SyncNet(tmp_path / "x.safetensors").open()


@pytest.mark.slow
def test_changed_weights_are_not_opened(net: SyncNet, pickled: Path, tmp_path: Path):
    whole = pickled.with_name("syncnet_v2.safetensors")
    changed = tmp_path / "syncnet_v2.safetensors"
    changed.write_bytes(whole.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ConfigError, match="expected SHA-256"):
        SyncNet(changed, sha256=file_sha256(whole)).open()


def box_track(frames: int) -> FaceTrack:
    """A face that stands still at the place where the films here have theirs."""

    def at(px: int) -> tuple[float, ...]:
        return (px / 224,) * frames

    return FaceTrack(
        track_id="t",
        source_id="s",
        detector="d",
        start_frame=0,
        frames=frames,
        x0=at(60),
        y0=at(60),
        x1=at(120),
        y1=at(130),
    )


@pytest.mark.slow
def test_a_run_scores_with_both_scorers(pickled: Path, tmp_path: Path):
    from xsheet.curate.media.reader import probe
    from xsheet.curate.media.writer import write_clip
    from xsheet.curate.tasks.probe import SourcePath
    from xsheet.demo.film.plan import plan_film
    from xsheet.demo.film.render import render_film
    from xsheet.schemas.clip import Measures

    models = tmp_path / "models"
    models.mkdir()
    convert_weights(pickled, models / "syncnet_v2.safetensors", sha256=file_sha256(pickled))
    plan = plan_film(0, seed=0, kind="talk")
    film = tmp_path / "film.mp4"
    write_clip(film, frames=render_film(plan, height_px=192), sound=plan.sound)
    settings = load_settings(AnalysisSettings, overrides=["sync.name=both"])
    task = AnalysisTask(settings.decode, sync=settings.sync, models=models)
    task.open()
    source = probe(film, root=tmp_path)
    job = AnalysisJob(source_path=SourcePath(path=str(film), root=tmp_path), source=source, set_folder=tmp_path / "set")
    rows = task(Item("ab" * 8, "film", job))
    ResultStore(tmp_path / "set", "analysis").write(Outcome(key="ab" * 8, name="film", status="ok"), rows)
    segment = SegmentJob(source=source, set_folder=tmp_path / "set", analysis_key="ab" * 8)
    rows = SegmentTask(settings.segment)(Item("cd" * 8, "film", segment))
    (candidate,) = [row for row in rows if isinstance(row, Measures)]
    assert candidate.sync is not None
    assert candidate.sync.scorer.startswith("syncnet")
    assert candidate.sync.distance is not None
    assert candidate.sync_second is not None
    assert candidate.sync_second.scorer.startswith("lip_audio")


def test_distances_are_stored_to_the_bit():
    values = np.array([[0.1, np.nan, 3e-30]], np.float32)
    row = SyncDistances.of(values, track_id="t", scorer="s", start_frame=0, max_lag_frames=1)
    assert row.to_array().tobytes() == values.tobytes()


def test_weights_that_are_not_there_are_named_before_the_run(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected syncnet_v2\.safetensors in --models DIR, got no --models"):
        SyncNetSettings().weights(None)
    with pytest.raises(ConfigError, match=r"got no file"):
        SyncNetSettings().weights(tmp_path)


def test_lags_that_do_not_cover_the_correction_are_refused():
    with pytest.raises(ConfigError, match=r"max_lag_frames of at least 21, .*, got 10"):
        load_settings(AnalysisSettings, overrides=["sync.name=syncnet", "sync.network.max_lag_frames=10"])


def test_a_decode_without_distances_is_named(tmp_path: Path):
    settings = load_settings(AnalysisSettings, overrides=["sync.name=syncnet"])
    source = SourceVideo(source_id="s", path="a.mp4", status="ok", width=320, height=320)
    timeline = Timeline(source_id="s", frames=FRAMES, extractor="x", voice=(1.0,) * FRAMES)
    store = ResultStore(tmp_path, "analysis")
    store.write(Outcome(key="ab" * 8, name="a.mp4", status="ok"), [timeline, box_track(FRAMES)])
    job = SegmentJob(source=source, set_folder=tmp_path, analysis_key="ab" * 8)
    with pytest.raises(RunError, match="expected distances of syncnet up to 21 frames, got none"):
        SegmentTask(settings.segment)(Item("cd" * 8, "a.mp4", job))
