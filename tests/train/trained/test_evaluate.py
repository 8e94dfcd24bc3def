"""The action bench end to end, and its numbers."""

import json
import logging

import numpy as np
import pytest

from xsheet.schemas.errors import ConfigError
from xsheet.train.evaluate.evaluate import EvaluationSettings, evaluate
from xsheet.train.evaluate.scores import ActionEditScore, ClipScore, MouthScore, PhaseScore
from xsheet.train.evaluate.small_reader import FaceReaderSettings
from xsheet.train.evaluate.summary import Evaluation


def clip(*named, r=None):
    phases = tuple(
        PhaseScore(
            requested_action="nod",
            detected_action="nod" if n else None,
            hit=n,
            tiou=0.5 * n,
            start_error_s=0.1 if n else None,
            end_error_s=0.3 if n else None,
        )
        for n in named
    )
    return ClipScore(
        clip_id="c",
        phases=phases,
        mouth=MouthScore(pearson_r=r, confidence=None, offset_frames=None),
        colour_drift=1.0,
        unrequested_per_s=0.5,
    )


def test_numbers_are_means_over_phases_with_an_interval_over_clips():
    done = Evaluation(samples=(clip(True, True), clip(False)), ceiling=(clip(True),), swaps=())
    ours, best = done.summary()["class accuracy"]
    assert (ours.mean, ours.count) == (pytest.approx(2 / 3), 3)
    assert (ours.low, ours.high) == (0, 1)  # two clips, of which both may be the bad one
    assert (best.mean, best.low, best.high) == (1, 1, 1)


def test_what_was_not_measured_is_left_out_not_zero():
    done = Evaluation(samples=(clip(True, r=0.5), clip(True)), ceiling=(clip(True),), swaps=())
    ours, best = done.summary()["mouth correlation"]
    assert (ours.mean, ours.count) == (0.5, 1)
    assert best is None
    assert "| mouth correlation | 0.50 (0.50..0.50) |  | 1 |" in done.table()
    assert "identity distance" not in done.table()


def test_exchanges_are_held_against_what_habit_gives():
    score = clip(True, False).phases
    done = Evaluation(
        samples=(clip(True),), ceiling=(), swaps=(ActionEditScore(clip_id="c", original=score, edited=score[:1]),)
    )
    assert done.summary()["swapped: class accuracy"][0].mean == 1
    assert done.summary()["not swapped: class accuracy"][0].mean == 0.5


def test_times_are_held_against_what_habit_gives():
    at_home, elsewhere = (
        clip(True),
        PhaseScore(
            requested_action="nod", detected_action="nod", hit=True, tiou=0.2, start_error_s=0.9, end_error_s=0.9
        ),
    )
    numbers = Evaluation(samples=(at_home,), ceiling=(), position_baseline=((elsewhere,), ())).summary()
    assert numbers["start error of hits, s"][0].mean == 0.1
    assert numbers["position baseline: start error of hits, s"][0].mean == 0.9
    assert numbers["position baseline: tIoU of hits"][0].mean == 0.2
    assert numbers["start within .2 s"][0].mean == 1
    assert numbers["position baseline: start within .2 s"][0].mean == 0


@pytest.mark.slow
def test_held_out_sheets_are_drawn_read_and_scored(trained_run, built_copy, quick, tmp_path):
    settings = EvaluationSettings(split="val", max_clips=2, sample=quick, fitted_reader=FaceReaderSettings(steps=2))
    done = evaluate(trained_run, [built_copy], settings)
    assert [(s.clip_id, len(s.phases)) for s in done.samples] == [("clip_d", 1)]  # the other action is an arm's
    assert len(done.ceiling) == 1 and not done.swaps
    assert all(np.isfinite(s.colour_drift) for s in (*done.samples, *done.ceiling))
    done.write(tmp_path / "done.json")
    saved = json.loads((tmp_path / "done.json").read_text())
    assert saved["numbers"]["class accuracy"][0]["count"] == 1


@pytest.mark.slow
def test_of_a_clip_that_two_sets_hold_one_sample_is_drawn(trained_run, built_copy, quick):
    settings = EvaluationSettings(split="val", max_clips=2, sample=quick, fitted_reader=FaceReaderSettings(steps=2))
    found = evaluate(trained_run, [built_copy, built_copy], settings)
    assert [sample.clip_id for sample in found.samples] == ["clip_d"]


@pytest.mark.slow
def test_a_split_without_clips_is_an_error(trained_run, built_copy, quick):
    with pytest.raises(ConfigError, match="test clips"):
        evaluate(trained_run, [built_copy], EvaluationSettings(sample=quick, fitted_reader=FaceReaderSettings(steps=1)))


@pytest.mark.slow
def test_a_stopped_evaluation_continues_with_the_batches_that_are_left(
    trained_run, built_copy, quick, tmp_path, caplog
):
    settings = EvaluationSettings(split="train", batch_size=1, sample=quick, fitted_reader=FaceReaderSettings(steps=2))
    parts = tmp_path / "parts.jsonl"
    with caplog.at_level(logging.INFO, logger="xsheet.train"):
        whole = evaluate(trained_run, [built_copy], settings, parts_file=parts)
    lines = parts.read_text().splitlines()
    assert len(lines) == len(whole.samples) > 1
    assert f"3 of {3 * len(lines)} videos sampled and read, 0:" in caplog.text
    parts.write_text(lines[0] + "\n" + lines[1][:40])  # killed while it wrote
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="xsheet.train"):
        again = evaluate(trained_run, [built_copy], settings, parts_file=parts)
    assert again == whole
    assert f"3 of {3 * len(lines)} videos, from an earlier run" in caplog.text
    assert parts.read_text().splitlines() == lines
    other = settings.model_copy(update={"sample": quick.model_copy(update={"seed": 5})})
    assert evaluate(trained_run, [built_copy], other, parts_file=parts) != whole
