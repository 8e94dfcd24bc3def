"""A set to features: what is written, what is refused, and that only what changed is done again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xsheet.runtime.executor import Execution
from xsheet.runtime.segments import SegmentStore
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError, ContractError, RunError
from xsheet.train.data.cache.build import build_cache, open_cache
from xsheet.train.data.cache.files import TensorStore, text_entry
from xsheet.train.data.cache.fingerprint import cache_spec
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.framing import Bucket
from xsheet.train.data.settings import CacheSettings

HOW = Execution()


def changed(settings: CacheSettings, **sections) -> CacheSettings:
    """Settings with some fields of some sections set."""
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=fields) for name, fields in sections.items()}
    )


def build(folder, settings, **options):
    return build_cache(folder, settings, execution=options.pop("how", HOW), shows_progress=False, **options)


def files_of(folder) -> dict[str, bytes]:
    """Descriptions and tables by path, tensors by entry."""
    found = [*folder.glob("cache/*.json"), *folder.glob("features/*")]
    tensors = {str(store / key): SegmentStore(store).read(key) for store, key in entries_of(folder)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in found} | {
        str(Path(entry).relative_to(folder)): data for entry, data in tensors.items()
    }


def entries_of(folder) -> list[tuple[Path, str]]:
    return [(store, key) for store in folder.glob("cache/*-*") for key, _ in SegmentStore(store).records()]


def test_every_clip_gets_a_row_or_a_reason(built_set):
    _, built = built_set
    assert built.clip_count == 4
    assert built.rejected_by_reason == {"too_short": 1, "no_audio": 1}
    assert built.failed_count == 0
    assert built.annotated_count == 3
    assert built.buckets == {Bucket(33, 64, 64): 3, Bucket(21, 64, 64): 1}


def test_latents_decode_to_what_was_shown(built_set):
    _, built = built_set
    assert len(built.psnr_db) == 3
    assert min(built.psnr_db) > 25


def test_a_file_holds_every_crop_from_both_sides(built_set):
    folder, built = built_set
    row = next(row for row in open_cache(folder, built.spec).features if row.clip_id == "clip_a")
    tensors = TensorStore(folder).read(Path(row.tensor_entry))
    assert tensors["latent"].shape == (4, 24, 9, 8, 8)
    assert tensors["audio"].shape == (2, 33, 4, 20)
    assert tensors["face"].shape == tensors["mouth"].shape == (2, 9, 8, 8)
    texts = TensorStore(folder).read(text_entry(built.spec, row))
    assert texts["blocks.tokens"].shape[0] == 4
    assert row.text_tokens == texts["blocks.tokens"].shape[1]


def test_the_mirrored_latent_is_that_of_the_mirrored_pictures(built_set, settings):
    folder, built = built_set
    codec = open_encoders(settings).video
    for row in open_cache(folder, built.spec).features:
        straight, flipped = TensorStore(folder).read(Path(row.tensor_entry))["latent"][:2].float()
        shown = codec.decode(straight[None]).flip(3)
        assert (codec.decode(flipped[None]).int() - shown.int()).abs().max() <= 1


def test_the_sound_of_a_later_crop_is_that_of_its_frames(built_set):
    folder, built = built_set
    row = next(row for row in open_cache(folder, built.spec).features if row.clip_id == "clip_a")
    first, last = TensorStore(folder).read(Path(row.tensor_entry))["audio"]
    assert torch.equal(first[8:], last[:25])


def test_a_second_run_writes_the_same_and_encodes_nothing(built_copy, settings):
    before = {path: path.stat().st_mtime_ns for path in built_copy.glob("cache/*/*")}
    files = files_of(built_copy)
    build(built_copy, settings)
    assert files_of(built_copy) == files
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_another_text_keeps_the_latents(built_copy, built_set, settings):
    before = {path: path.stat().st_mtime_ns for path in built_copy.glob("cache/clips-*/*")}
    second = build(
        built_copy, changed(settings, text={"layer": None, "forms": ("brief",)}, round_trip={"clip_count": 0})
    )
    assert second.spec.clips_key == built_set[1].spec.clips_key
    assert second.spec.fingerprint != built_set[1].spec.fingerprint
    assert {path: path.stat().st_mtime_ns for path in built_copy.glob("cache/clips-*/*")} == before
    assert second.annotated_count == 0


@pytest.mark.slow
def test_a_text_does_not_name_an_arm_outside_the_crop(clip_set, settings):
    far = [
        replace(row, wrist_left_x=(3.0,) * row.frames, wrist_left_y=(0.5,) * row.frames)
        for row in tables.iter_records(clip_set, tables.SIGNALS)
    ]
    tables.write_table(clip_set, tables.SIGNALS, far)
    built = build(clip_set, changed(settings, round_trip={"clip_count": 0}))
    assert built.hidden_phase_count == 3
    row = next(row for row in open_cache(clip_set, built.spec).features if row.clip_id == "clip_a")
    assert row.hidden_phases == 1
    texts = TensorStore(clip_set).read(text_entry(built.spec, row))
    assert texts["blocks.phases"].max() == 1  # the nod alone


@pytest.mark.slow
def test_a_cache_at_another_rate_stands_beside_the_first(built_copy, built_set, settings):
    slower = build(built_copy, changed(settings, picture={"fps": 10, "frame_counts": (17,)}))
    assert slower.buckets == {Bucket(17, 64, 64): 1}  # of 41 frames at 25 fps; the last one lasts 40 ms
    row = open_cache(built_copy, slower.spec).features[0]
    tensors = TensorStore(built_copy).read(Path(row.tensor_entry))
    assert tensors["latent"].shape[2] == 5
    assert tensors["audio"].shape[1] == 17
    assert len(open_cache(built_copy, built_set[1].spec).features) == 4
    assert tables.read_table(built_copy, tables.FEATURES).num_rows == 5


def test_a_cache_of_another_encoder_is_refused_with_both_fingerprints(built_set, settings):
    folder, built = built_set
    encoders = open_encoders(settings)
    encoders.audio._FLOOR_DB = 50.0  # another preprocessing, as another version might have
    wanted = cache_spec(settings, encoders, layer="gold@run_truth")
    with pytest.raises(ConfigError) as refused:
        open_cache(folder, wanted)
    message = str(refused.value)
    assert wanted.fingerprint[:16] in message
    assert built.spec.fingerprint[:16] in message
    assert "clips.audio" in message
    assert "clips.video" not in message


def test_a_cache_at_another_rate_is_refused(built_set, settings):
    folder, _ = built_set
    slower = changed(settings, picture={"fps": 10})
    with pytest.raises(ConfigError, match=r"clips\.picture\.fps: 25, not 10"):
        open_cache(folder, cache_spec(slower, open_encoders(slower), layer="gold@run_truth"))


def test_a_set_without_a_cache_says_what_to_run(pristine_set, settings):
    with pytest.raises(ConfigError, match="run `xsheet train cache SET`"):
        open_cache(pristine_set, cache_spec(settings, open_encoders(settings), layer=None))


def test_a_layer_that_is_not_there_is_named_with_those_that_are(pristine_set, settings):
    with pytest.raises(ConfigError, match=r"'accepted'.*gold@run_truth"):
        build(pristine_set, changed(settings, text={"layer": "accepted"}))


def test_a_set_at_another_frame_rate_is_refused(clip_set, settings):
    info = json.loads((clip_set / "set.json").read_text())
    info["clip"]["fps"] = 30
    (clip_set / "set.json").write_text(json.dumps(info))
    with pytest.raises(ContractError, match="clips at 25 fps, got 30 fps"):
        build(clip_set, settings)


@pytest.mark.slow
def test_a_set_without_a_clip_that_can_be_encoded_says_why(clip_set, settings):
    with pytest.raises(ContractError, match=r"none \(6 too_short\).*or curate clips with audio"):
        build(clip_set, changed(settings, picture={"frame_counts": (125,)}))


def test_an_annotation_of_an_older_file_is_refused(clip_set, settings):
    clips = list(tables.iter_records(clip_set, tables.CLIPS))
    object.__setattr__(clips[0], "media_sha256", "0" * 64)
    tables.write_table(clip_set, tables.CLIPS, clips)
    with pytest.raises(ContractError, match="annotate the set again"):
        build(clip_set, settings)


def test_a_decoder_that_does_not_fit_is_noticed(built_copy, settings):
    with pytest.raises(RunError, match=r"at least 60\.0 dB, got \d\d"):
        build(built_copy, changed(settings, round_trip={"min_psnr_db": 60.0}))


def test_a_lost_file_is_noticed(built_copy, settings):
    next(built_copy.glob("cache/clips-*/*.seg")).unlink()
    with pytest.raises(ContractError, match="remove the folder"):
        build(built_copy, settings)


@pytest.mark.nightly
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(pristine_set, built_set, settings, disk):
    folder = shutil.copytree(pristine_set, disk.path / "set")
    disk.fill(but_bytes=160_000)
    with pytest.raises(RunError, match="No space left on device; free space"):
        build(folder, settings)
    assert not list(folder.rglob("*.tmp*"))
    disk.empty()
    assert build(folder, settings).failed_count == 0
    assert files_of(folder) == files_of(built_set[0])


def test_weights_that_nobody_named_are_asked_for(pristine_set, settings):
    wan = changed(settings, encoders={"video": "wan"})
    with pytest.raises(ConfigError, match=r"--set cache\.encoders\.video_weights=FOLDER"):
        build(pristine_set, wan)


@pytest.mark.slow
def test_encoders_that_the_model_was_not_made_for_are_refused(settings):
    with pytest.raises(ConfigError, match="channels of the video codec"):
        open_encoders(settings.model_copy(update={"model": "wan2.2-ti2v-5b"}))


def test_a_size_that_does_not_divide_into_tokens_is_refused(settings):
    with pytest.raises(ConfigError, match="multiples of 16 x 16"):
        open_encoders(changed(settings, picture={"resolutions": ((64, 72),)}))


@pytest.mark.nightly  # the executor's own tests hold it for every task
def test_both_executors_write_the_same_bytes(pristine_set, settings, tmp_path):
    found = []
    for name, how in (("here", Execution(jobs=2)), ("ray", Execution(jobs=2, ray="local"))):
        folder = tmp_path / name
        shutil.copytree(pristine_set, folder)
        build(folder, settings, how=how)
        found.append(files_of(folder))
    assert found[0] == found[1]
