"""Cached clips in batches: which are chosen, and what a showing of one holds."""

from dataclasses import replace

import pytest
import torch

from xsheet.model.phases import NO_PHASE, PAD
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.train.data.batch import concatenate
from xsheet.train.data.cache.files import text_entry
from xsheet.train.data.dataset import CachedClipDataset, select_clips, select_from_sets
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import MotionFilter, StageDatasetSettings

BLOCKS, BRIEF = StageDatasetSettings(text="blocks"), StageDatasetSettings(text="brief")


def clips_of(cache, shown=BLOCKS, *, mirrored=0.5) -> CachedClipDataset:
    return CachedClipDataset([select_clips(cache, shown, split=None)], shown, seed=1, mirror_probability=mirrored)


def chosen(cache, shown, split="train") -> set[str]:
    return {row.clip_id for row in select_clips(cache, shown, split=split).features}


def test_a_stage_trains_on_its_split_only(cache):
    assert chosen(cache, BRIEF) == {"clip_a", "clip_b", "clip_c"}
    assert chosen(cache, BRIEF, "val") == {"clip_d"}


def test_blocks_need_an_annotation_and_captions_none(cache):
    assert chosen(cache, BLOCKS) == {"clip_a", "clip_b"}
    assert select_clips(cache, BLOCKS).excluded == {"not_annotated": 1, "other_split": 1}


def test_the_motion_filter_leaves_out_clips_that_keep_still(cache):
    assert chosen(cache, StageDatasetSettings(text="blocks", motion_filter=MotionFilter(min_speed=0.1))) == {"clip_a"}


def test_no_clips_are_refused_with_the_reasons(cache):
    still = StageDatasetSettings(text="blocks", motion_filter=MotionFilter(min_speed=9.0))
    with pytest.raises(ConfigError, match=r"none .*2 too_little_motion"):
        select_clips(cache, still)


def test_a_clip_of_two_sets_is_shown_from_the_first(cache, clip_set):
    second = replace(cache, set_folder=clip_set)
    first = replace(cache, features=tuple(row for row in cache.features if row.clip_id != "clip_a"))
    one, two = select_from_sets([first, second], BRIEF)
    assert [{row.clip_id for row in chosen.features} for chosen in (one, two)] == [{"clip_b", "clip_c"}, {"clip_a"}]
    assert two.excluded["in_an_earlier_set"] == 2


def test_a_clip_in_different_splits_of_two_sets_is_refused(cache, clip_set):
    rows = [replace(row, split="test") if row.clip_id == "clip_a" else row
            for row in tables.iter_records(clip_set, tables.SPLITS)]  # fmt: skip
    tables.write_table(clip_set, tables.SPLITS, rows)
    with pytest.raises(ConfigError, match=r"clip_a: expected one split in all sets, got train in .* test in"):
        select_from_sets([cache, replace(cache, set_folder=clip_set)], BRIEF)


def test_a_set_that_was_not_split_is_refused(clip_set, cache):
    tables.write_table(clip_set, tables.SPLITS, ())
    with pytest.raises(ConfigError, match="xsheet curate split"):
        select_clips(replace(cache, set_folder=clip_set), BRIEF)


def test_a_text_that_was_not_cached_is_refused(cache):
    texts = {**cache.spec.texts, "settings": {**cache.spec.texts["settings"], "forms": ["brief"]}}
    with pytest.raises(ConfigError, match="one of brief"):
        clips_of(replace(cache, spec=replace(cache.spec, texts=texts)))


def test_a_batch_has_the_shapes_that_the_model_takes(cache):
    batch = clips_of(cache).batch([SampleKey(0, "clip_a"), SampleKey(0, "clip_b")])
    assert batch.latent_BCFHW.shape == (2, 24, 9, 8, 8)
    assert batch.audio_BTLQ.shape == (2, 33, 4, 20)
    assert batch.text.shape == (2, 96, 12)
    assert batch.phase_BM.shape == (2, 96)
    assert batch.window_BK2.shape == (2, 4, 2)
    assert batch.face_BFHW.shape == batch.mouth_BFHW.shape == (2, 9, 8, 8)


def test_a_clip_is_the_same_in_any_company(cache):
    clips, showings = clips_of(cache), [SampleKey(e, c) for e in range(3) for c in ("clip_a", "clip_b")]
    together, alone = clips.batch(showings), concatenate([clips.batch([one]) for one in showings])
    assert torch.equal(together.latent_BCFHW, alone.latent_BCFHW)
    assert torch.equal(together.text, alone.text)


def test_a_mirrored_showing_has_mirrored_pictures_masks_and_words(cache, settings):
    showing = [SampleKey(0, "clip_a")]
    straight, mirrored = (clips_of(cache, mirrored=share).batch(showing) for share in (0.0, 1.0))
    decode = open_encoders(settings).video.decode
    difference = decode(mirrored.latent_BCFHW).int() - decode(straight.latent_BCFHW).flip(3).int()
    assert difference.abs().max() <= 1
    assert torch.equal(mirrored.face_BFHW, straight.face_BFHW.flip(3))
    assert torch.equal(mirrored.audio_BTLQ, straight.audio_BTLQ)
    assert torch.equal(mirrored.window_BK2, straight.window_BK2)
    assert "left" in words(straight.text[0])
    assert "right" in words(mirrored.text[0])
    assert "left" not in words(mirrored.text[0])


def words(ids_MW: torch.Tensor) -> list[str]:
    """Tokens back to words: bytes are 1..256."""
    return [bytes(int(i) - 1 for i in row if 0 < i <= 256).decode() for row in ids_MW]


def test_masks_lie_where_the_face_is(cache):
    batch = clips_of(cache, mirrored=0.0).batch([SampleKey(0, "clip_b")])
    warm = batch.latent_BCFHW[0, 0]  # the disc is brighter than the ramp behind it
    face = batch.face_BFHW[0] > 0.9
    assert warm[face].mean() > warm[~face].mean()


def test_pads_and_a_run_without_phases_carry_none(cache):
    showing = [SampleKey(0, "clip_a")]
    with_phases, without = (
        clips_of(cache, StageDatasetSettings(text="blocks", mark_phases=p)).batch(showing) for p in (True, False)
    )
    assert set(with_phases.phase_BM.unique().tolist()) == {PAD, NO_PHASE, 1, 2}
    assert set(without.phase_BM.unique().tolist()) == {PAD, NO_PHASE}
    assert torch.equal(with_phases.phase_BM == PAD, without.phase_BM == PAD)
    assert torch.equal(with_phases.text, without.text)


def test_a_null_prompt_is_what_the_encoder_makes_of_no_text(cache, settings):
    assert torch.equal(clips_of(cache).null_text, open_encoders(settings).text.tokenize("").ids_M)


def test_all_crops_are_shown_in_time(cache):
    clips = clips_of(cache, mirrored=0.0)
    windows = {tuple(clips.batch([SampleKey(e, "clip_a")]).window_BK2[0, 0].tolist()) for e in range(20)}
    assert windows == {(0.0, 20.0), (0.0, 12.5)}


def test_a_batch_can_be_taken_apart(cache):
    batch = clips_of(cache).batch([SampleKey(0, "clip_a"), SampleKey(0, "clip_b")])
    again = concatenate([batch.select(slice(0, 1)), batch.select(slice(1, 2))])
    assert again.clip_ids == batch.clip_ids
    assert torch.equal(again.audio_BTLQ, batch.audio_BTLQ)


def test_texts_are_shared_by_path_with_the_annotation(cache):
    rows = {row.clip_id: row for row in cache.features}
    assert rows["clip_a"].annotation_id in str(text_entry(cache.spec, rows["clip_a"]))
    assert "clip_c" in str(text_entry(cache.spec, rows["clip_c"]))
