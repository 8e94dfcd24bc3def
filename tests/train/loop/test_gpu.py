"""The same loop on a CUDA device; skipped elsewhere."""

import pytest
import torch
from toy import final_state, make_loop

from xsheet.train.launch import WorkerSettings, launch
from xsheet.train.loop.step import ComputeSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def ended(folder, compute, *, steps=4):
    """How a run in this process ends."""
    states = []

    def work(world):
        loop = make_loop(folder, steps=steps, world=world, compute=compute)
        loop.run()
        states.append({key: tensor.cpu() for key, tensor in final_state(loop).items()})

    launch(work, workers=WorkerSettings(), folder=folder)
    return states[0]


@pytest.mark.parametrize(("checkpointing", "compiled"), [(False, False), (True, False), (True, True)])
def test_a_step_in_bfloat16_moves_about_as_one_in_float32(tmp_path, checkpointing, compiled):
    exact = ended(tmp_path / "float32", ComputeSettings(dtype="float32", gradient_checkpointing=False), steps=1)
    changed = ComputeSettings(dtype="bfloat16", gradient_checkpointing=checkpointing, torch_compile=compiled)
    half = ended(tmp_path / "bfloat16", changed, steps=1)
    for key, tensor in exact.items():
        torch.testing.assert_close(half[key], tensor, rtol=0.1, atol=0.05)


def test_a_run_goes_on_where_it_was(tmp_path):
    compute = ComputeSettings(dtype="bfloat16")
    whole = ended(tmp_path / "whole", compute)
    ended(tmp_path / "two", compute, steps=2)
    again = ended(tmp_path / "two", compute)
    for key, tensor in whole.items():
        torch.testing.assert_close(again[key], tensor, rtol=1e-3, atol=1e-3)


def test_out_of_memory_is_reported_in_one_sentence(tmp_path):
    from xsheet.schemas.errors import RunError

    def work(world):
        loop = make_loop(tmp_path, world=world)
        held = torch.empty(torch.cuda.mem_get_info()[0] - (64 << 20), dtype=torch.uint8, device=world.device)
        loop.state.model.transformer.proj_out.register_forward_hook(lambda *_: torch.empty(1 << 32, device=held.device))
        loop.run()

    with pytest.raises(RunError, match="more workers or smaller clips"):
        launch(work, workers=WorkerSettings(), folder=tmp_path)
