import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import set_forkserver_preload

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.multiprocessing import start_processes
from toy import EVERYTHING, FLOAT32, final_state, make_loop, run_as_one_of

from xsheet.schemas.errors import ConfigError, ContractError, RunError

pytestmark = pytest.mark.slow  # processes, films or models: seconds


def different(one, other):
    """Names of tensors that are not bit-equal."""
    assert one.keys() == other.keys()
    return [key for key in one if not torch.equal(one[key], other[key])]


def lines(folder):
    return [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def straight(tmp_path):
    """Six steps without a break, and what they end in."""
    loop = make_loop(tmp_path / "straight")
    loop.run()
    return final_state(loop)


def run_until_it_dies(folder, *, at, **changes):
    with pytest.raises(KeyboardInterrupt):
        make_loop(folder, die_at=at, **changes).run()


def test_a_run_that_dies_twice_ends_in_the_same_bits(straight, tmp_path):
    run_until_it_dies(tmp_path / "broken", at=8)  # after two steps of four clips
    run_until_it_dies(tmp_path / "broken", at=20)  # in the next epoch, a step behind its checkpoint
    loop = make_loop(tmp_path / "broken")
    loop.run()
    assert not different(final_state(loop), straight)


def test_a_second_break_in_one_epoch_ends_in_the_same_bits(tmp_path):
    whole = make_loop(tmp_path / "whole", save_every=1, clips=2)
    whole.run()
    for at in (4, 8):  # of 12 clips in an epoch
        run_until_it_dies(tmp_path / "broken", at=at, save_every=1, clips=2)
    loop = make_loop(tmp_path / "broken", save_every=1, clips=2)
    loop.run()
    assert not different(final_state(loop), final_state(whole))


def test_a_finished_run_does_nothing_more(straight, tmp_path):
    progress = make_loop(tmp_path / "straight", die_at=0).run()
    assert progress.step == 6


def test_a_run_may_be_made_longer(tmp_path):
    whole = make_loop(tmp_path / "whole", steps=8)
    whole.run()
    make_loop(tmp_path / "two", steps=4).run()
    loop = make_loop(tmp_path / "two", steps=8)
    loop.run()
    assert not different(final_state(loop), final_state(whole))


def test_the_journal_has_each_step_once_after_a_break(tmp_path):
    run_until_it_dies(tmp_path, at=12)  # step 3 is logged, step 2 is saved
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a line
    make_loop(tmp_path).run()
    assert [one["step"] for one in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_line_says_what_a_person_asks_for(tmp_path):
    make_loop(tmp_path, steps=2).run()
    output = lines(tmp_path)[-1]
    assert {"loss", "loss/velocity", "loss/inside phases", "lr", "norm", "skipped"} <= output.keys()
    assert {"tokens_per_s", "tflops", "peak_memory_gib", "wait_share"} <= output.keys()
    assert any(name.startswith("loss/sigma") for name in output)
    assert 0 <= output["wait_share"] <= 1


def test_mfu_is_the_share_of_the_peak(tmp_path):
    make_loop(tmp_path, steps=1, compute=FLOAT32.model_copy(update={"peak_tflops": 0.5})).run()
    output = lines(tmp_path)[-1]
    assert output["mfu"] == pytest.approx(output["tflops"] / 0.5)


def test_tensorboard_can_read_the_curves(tmp_path):
    make_loop(tmp_path, steps=2).run()
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("loss")] == [1, 2]


def test_the_checkpoint_of_another_configuration_is_refused_by_name(tmp_path):
    make_loop(tmp_path, steps=2, identity={"optim": {"lr": 0.1, "beta1": 0.9}}).run()
    with pytest.raises(ConfigError, match=r"expected optim\.lr 0\.2, got optim\.lr 0\.1; .*another folder"):
        make_loop(tmp_path, steps=4, identity={"optim": {"lr": 0.2, "beta1": 0.9}}).run()


def test_the_checkpoint_of_another_format_is_refused(tmp_path):
    make_loop(tmp_path, steps=2).run()
    (file,) = (tmp_path / "checkpoints").glob("*/checkpoint.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99, "progress": {"of": "the future"}}))
    with pytest.raises(ContractError, match="expected format 3, got format 99"):
        make_loop(tmp_path, steps=4).run()


def test_a_clip_with_a_nan_is_named_and_the_run_goes_on(tmp_path):
    loop = make_loop(tmp_path, steps=3, broken=("clip3",))  # one showing per epoch of three steps
    progress = loop.run()
    (skipped,) = [json.loads(text) for text in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert skipped["clips"] == ["clip3"]
    assert progress.skipped_steps == 1
    assert all(torch.isfinite(tensor).all() for tensor in final_state(loop).values())


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
    broken = tuple(f"clip{k}" for k in range(12))
    with pytest.raises(RunError, match=r"fewer than 10 steps in a row.*skipped\.jsonl"):
        make_loop(tmp_path, steps=20, broken=broken).run()
    assert len((tmp_path / "skipped.jsonl").read_text().splitlines()) == 10


def test_the_observer_sees_the_model_at_its_steps_and_at_the_end(tmp_path):
    seen = []

    def observe(step, learning):
        seen.append(step)
        return {"loss/validation": 1.5}

    loop = make_loop(tmp_path, steps=5)
    settings = loop.settings.model_copy(update={"validate_every": 2})
    replace(loop, validate=observe, settings=settings).run()
    assert seen == [2, 4, 5]
    assert [one["step"] for one in lines(tmp_path) if "loss/validation" in one] == [2, 4, 5]


def test_it_learns(tmp_path):
    stage = EVERYTHING.model_copy(update={"optim": EVERYTHING.optim.model_copy(update={"lr": 3e-3})})
    make_loop(tmp_path, steps=60, stage=stage, save_every=1000).run()
    losses = [one["loss"] for one in lines(tmp_path)]
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])


def start(toy_script, folder, *arguments):
    command = [sys.executable, str(toy_script), folder.name, *arguments]  # a relative path, also to Ray's workers
    return subprocess.Popen(command, cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(process, *, within_s=600):
    _, output = process.communicate(timeout=within_s)
    assert process.returncode == 0, output[-3000:]


def kill_after(process, folder, *, step):
    """Kill once a later checkpoint than `step` is begun: between its first byte and its name."""
    begun = folder / "checkpoints" / f"step-{step:08d}.partial"
    done = folder / "checkpoints" / f"step-{step:08d}"
    while not begun.exists() and not done.exists() and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_killed_while_it_saves_then_two_workers_the_same_bits(toy_script, tmp_path):
    finished(start(toy_script, tmp_path / "whole", "--steps", "6"))
    broken = tmp_path / "broken"
    kill_after(start(toy_script, broken, "--steps", "6"), broken, step=4)
    finished(start(toy_script, broken, "--steps", "6", "--workers", "2"))
    whole, ended = (torch.load(folder / "final.pt") for folder in (tmp_path / "whole", broken))
    assert not different(ended, whole)


@pytest.mark.slow
def test_a_nan_on_one_worker_skips_the_step_on_both(tmp_path):
    alone = make_loop(tmp_path / "alone", steps=3, broken=("clip3",))
    alone.run()
    set_forkserver_preload(["xsheet.train.loop.loop", "xsheet.model.init"])  # ten seconds of CPU, once for both
    start_processes(run_as_one_of, (2, tmp_path), nprocs=2, start_method="forkserver")
    assert (tmp_path / "both/skipped.jsonl").read_text() == (tmp_path / "alone/skipped.jsonl").read_text()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == 1
    for key, tensor in final_state(alone).items():
        torch.testing.assert_close(first["state"][key], tensor, rtol=1e-3, atol=1e-4)
    ended = make_loop(tmp_path / "both", steps=3, broken=("clip3",))
    ended.run()  # reads the checkpoint that two processes wrote
    assert not different(final_state(ended), first["state"])
