"""Both stages from a cached set, as `xsheet train run` does them."""

import json
import logging
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import load_settings, to_yaml
from xsheet.train.data.settings import LoaderSettings, StageDatasetSettings
from xsheet.train.launch import WorkerSettings
from xsheet.train.loop.loop import LoopSettings
from xsheet.train.loop.optim import OptimSettings
from xsheet.train.loop.step import ComputeSettings
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.sample.sampler import load_trained
from xsheet.train.settings import TrainSettings
from xsheet.train.stages import StageSettings

OPTIM = OptimSettings(lr=1e-3, warmup_steps=0, ema_decay=0.9)


@pytest.fixture(scope="session")
def plan(settings):
    """Two steps of each stage."""
    return TrainSettings(
        cache=settings,
        loader=LoaderSettings(batch_size=2),
        compute=ComputeSettings(dtype="float32", gradient_checkpointing=False, micro_batch_size=2, threads=1),
        loop=LoopSettings(log_every=1, save_every=1),
        stages=(
            StageSettings(
                name="stage1",
                dataset=StageDatasetSettings(text="brief"),
                trainable_parts=("backbone", "audio", "text"),
                steps=2,
                optim=OPTIM,
            ),
            StageSettings(
                name="stage2",
                dataset=StageDatasetSettings(text="blocks"),
                trainable_parts=("backbone", "audio", "phases", "text"),
                steps=2,
                optim=OPTIM,
            ),
        ),
    )


def run(folder, plan, out, stages=None):
    train_stages([WeightedSet(folder)], plan, stages=stages, out=out, workers=WorkerSettings())


@pytest.fixture(scope="module")
def both(built_set, plan, tmp_path_factory):
    """Where both stages were run at once."""
    out = tmp_path_factory.mktemp("both")
    run(built_set[0], plan, out)
    return out


@pytest.mark.slow
def test_both_stages_leave_weights_and_a_manifest(both):
    first, second = (load_file(both / name / "weights.safetensors") for name in ("stage1", "stage2"))
    assert second.keys() - first.keys() == {"transformer.phase_table.weight"}
    (manifest,) = (both / "manifests").iterdir()
    assert json.loads(manifest.read_text())["counts"] == {"stage1 steps": 2, "stage2 steps": 2}


@pytest.mark.slow
def test_the_second_stage_alone_is_the_same_and_says_that_it_begins_with_the_first(
    built_set, plan, both, tmp_path, caplog
):
    shutil.copytree(both / "stage1", tmp_path / "stage1")
    with caplog.at_level(logging.INFO, logger="xsheet"):
        run(built_set[0], plan, tmp_path, stages=["stage2"])
    at_once, alone = (out / "stage2/weights.safetensors" for out in (both, tmp_path))
    assert at_once.read_bytes() == alone.read_bytes()
    assert re.search(r"stage2 begins with audio: \d+ keys from stage1", caplog.text)


@pytest.mark.slow
def test_stage_two_alone_misses_stage_one(built_set, plan, tmp_path):
    with pytest.raises(ConfigError, match="the weights of stage1"):
        run(built_set[0], plan, tmp_path / "out", stages=["stage2"])


@pytest.mark.slow
def test_another_learning_rate_is_not_mixed_into_a_run(built_set, plan, both):
    stage = plan.stages[0].model_copy(update={"optim": OPTIM.model_copy(update={"lr": 2e-3}), "steps": 4})
    with pytest.raises(ConfigError, match=r"stage1\.optim\.lr 0\.002, got stage1\.optim\.lr 0\.001"):
        run(built_set[0], plan.model_copy(update={"stages": (stage, plan.stages[1])}), both, stages=["stage1"])


def part_of(built, folder, clip_ids):
    """A copy of a cached set with some of its clips."""
    source, result = built
    shutil.copytree(source, folder)
    (file,) = (folder / "features").glob(f"part-{result.spec.fingerprint[:16]}-*.parquet")
    rows = tables.from_arrow(tables.read_file(file, tables.FEATURES), tables.FEATURES)
    tables.write_file(file, tables.FEATURES, [row for row in rows if row.clip_id in clip_ids])
    return folder


@pytest.mark.slow
def test_sets_of_weight_one_train_as_the_set_that_they_make_up_and_weights_are_part_of_the_run(
    built_set, plan, both, tmp_path
):
    halves = [
        part_of(built_set, tmp_path / name, clips)
        for name, clips in (("a", {"clip_a", "clip_d"}), ("b", {"clip_b", "clip_c"}))
    ]
    out = tmp_path / "run"
    train_stages([WeightedSet(one) for one in halves], plan, stages=["stage1"], out=out, workers=WorkerSettings())
    whole, parts = (run / "stage1/weights.safetensors" for run in (both, out))
    assert whole.read_bytes() == parts.read_bytes()
    longer = plan.stages[0].model_copy(update={"steps": 4})
    weighted = [WeightedSet(halves[0]), WeightedSet(halves[1], 2.0)]
    with pytest.raises(ConfigError, match="clips"):
        train_stages(
            weighted, plan.model_copy(update={"stages": (longer, plan.stages[1])}), stages=["stage1"], out=out,
            workers=WorkerSettings(),
        )  # fmt: skip
    train_stages(weighted, plan, stages=["stage1"], out=tmp_path / "weighted", workers=WorkerSettings())
    assert (tmp_path / "weighted/stage1/weights.safetensors").read_bytes() != whole.read_bytes()


def test_a_set_that_is_named_twice_is_refused(built_set, plan, tmp_path):
    with pytest.raises(ConfigError, match="sets to train on: expected at least one, each named once"):
        train_stages([WeightedSet(built_set[0])] * 2, plan, out=tmp_path / "out", workers=WorkerSettings())


def test_a_cache_of_other_pictures_is_refused(built_set, plan, tmp_path):
    picture = plan.cache.picture.model_copy(update={"crops_per_clip": 1})
    cache = plan.cache.model_copy(update={"picture": picture})
    with pytest.raises(ConfigError, match="fingerprint"):
        run(built_set[0], plan.model_copy(update={"cache": cache}), tmp_path / "out")


@pytest.mark.parametrize("name", ["tiny", "wan2.2-ti2v-5b"])
def test_a_preset_is_whole_and_can_be_written_and_read_again(name, tmp_path):
    plan = load_settings(TrainSettings, preset=files("xsheet.train") / "presets" / f"{name}.yaml")
    (tmp_path / "plan.yaml").write_text(to_yaml(plan))
    assert load_settings(TrainSettings, config=tmp_path / "plan.yaml") == plan


def test_the_real_preset_has_the_papers_numbers():
    plan = load_settings(TrainSettings, preset=files("xsheet.train") / "presets" / "wan2.2-ti2v-5b.yaml")
    assert (plan.loader.batch_size, *(stage.steps for stage in plan.stages)) == (40, 20_000, 14_000)
    assert {stage.optim.lr for stage in plan.stages} == {5e-6}
    assert (plan.cache.picture.frame_counts, plan.cache.picture.fps) == ((125,), 25)
    assert plan.stages[0].trainable_parts == ("audio",)


def test_stages_run_in_the_order_of_the_settings_and_unknown_ones_are_refused(plan):
    assert plan.select_stages(None) == plan.select_stages(["stage2", "stage1"]) == ("stage1", "stage2")
    with pytest.raises(ConfigError, match=r"one of stage1, stage2, got 'stage3'; did you mean"):
        plan.select_stages(["stage3"])


def test_two_stages_of_one_name_are_refused(plan):
    with pytest.raises(ValueError, match="unique names of stages, got stage1, stage1"):
        TrainSettings(stages=(plan.stages[0], plan.stages[0]))


def with_third_stage(plan):
    """A third stage is settings: the phase table alone, at another rate."""
    third = plan.stages[1].model_copy(
        update={"name": "polish", "trainable_parts": ("phases",), "optim": OPTIM.model_copy(update={"lr": 1e-2})}
    )
    return plan.model_copy(update={"stages": (*plan.stages, third)})


@pytest.mark.slow
def test_a_third_stage_continues_from_the_second(built_set, plan, both, tmp_path, caplog):
    out = shutil.copytree(both, tmp_path / "run")
    with caplog.at_level(logging.INFO, logger="xsheet"):
        run(built_set[0], with_third_stage(plan), out, stages=["polish"])
    assert "polish begins with phases: 1 keys from stage2" in caplog.text
    assert load_file(out / "polish" / "weights.safetensors").keys() == {"transformer.phase_table.weight"}
    trained = load_trained(out)
    assert trained.stage == "polish"
    table = load_file(out / "polish" / "average.safetensors")["transformer.phase_table.weight"]
    assert torch.equal(trained.model.transformer.phase_table.weight, table)


def test_only_presets_docs_and_tests_name_a_stage():
    root = Path(__file__).parents[3]
    named = [
        str(file.relative_to(root))
        for part in ("schemas", "model", "train", "demo", "src/xsheet")
        for file in (root / part).rglob("*.py")
        if re.search(r"\bstage[12]\b", file.read_text(encoding="utf-8"))
    ]
    assert named == []
