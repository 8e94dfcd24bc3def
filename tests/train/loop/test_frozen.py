"""Low-rank updates beside a backbone that is stored in smaller types, or that waits in main memory."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy import EVERYTHING, final_state, make_learner, make_loop

from xsheet.train.loop.frozen import store_frozen_layers
from xsheet.train.loop.lora import LoraSettings, lora_targets, merge_lora, merged_key
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.stage_weights import WEIGHTS_FILE, save_stage
from xsheet.train.loop.step import ComputeSettings
from xsheet.train.stages import stage_weight_keys

LORA = LoraSettings(rank=2, alpha=4, targets=("q", "k", "v", "o", "ffn"))
MIXED = ComputeSettings(dtype="bfloat16", gradient_checkpointing=True)


def stage_with(frozen_dtype):
    """A stage that trains updates and phases; the rest is frozen, in this type."""
    lora = LORA.model_copy(update={"frozen_dtype": frozen_dtype})
    return EVERYTHING.model_copy(update={"name": "stage1", "trainable_parts": ("phases",), "lora": lora})


def loop_with(folder, frozen_dtype, **changes):
    return make_loop(
        folder, stage=stage_with(frozen_dtype), **{"compute": MIXED, "steps": 3, "save_every": 1} | changes
    )


def differing(one, other):
    assert one.keys() == other.keys()
    return [key for key in one if not torch.equal(one[key], other[key])]


@pytest.mark.parametrize(("dtype", "largest"), [("int8", 1 / 254), ("float8", 1 / 16), ("bfloat16", 1 / 256)])
def test_a_stored_weight_is_off_by_half_a_step_at_most(dtype, largest):
    layer = nn.Module()
    layer.blocks = nn.ModuleList([nn.Linear(64, 32).requires_grad_(False)])
    before = layer.blocks[0].weight.clone()
    store_frozen_layers(layer, dtype)
    off = (layer.blocks[0].weight.float() - before).abs()
    bound = before.abs().amax(1, keepdim=True) if dtype == "int8" else before.abs()
    # The scale itself is rounded to bfloat16; values below float8's smallest normal number are off by a fixed amount.
    assert (off <= (largest + 2**-8) * bound + before.abs().amax() * 2**-9).all()


def test_a_row_of_zeros_stays_zero():
    layer = nn.Module()
    layer.blocks = nn.ModuleList([nn.Linear(8, 2).requires_grad_(False)])
    with torch.no_grad():
        layer.blocks[0].weight[0] = 0
    store_frozen_layers(layer, "int8")
    assert not layer.blocks[0].weight[0].any()


@pytest.mark.parametrize(("dtype", "bytes_per_weight"), [("bfloat16", 2), ("int8", 1), ("float8", 1)])
def test_frozen_layers_take_this_much_memory(dtype, bytes_per_weight, tmp_path):
    transformer = loop_with(tmp_path, dtype).state.model.transformer
    stored = [
        tensor
        for key, tensor in (*transformer.blocks.named_parameters(), *transformer.blocks.named_buffers())
        if not tensor.requires_grad and tensor.ndim == 2 and not key.endswith("original1")
    ]
    assert {tensor.element_size() for tensor in stored} == {bytes_per_weight}
    assert len(stored) > 2 * 12


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "float8"])
def test_training_resumes_to_the_same_bits(tmp_path, dtype):
    loop_with(tmp_path / "parts", dtype, steps=2).run()
    whole, parts = (loop_with(tmp_path / name, dtype) for name in ("whole", "parts"))
    for loop in (whole, parts):
        loop.run()
    assert not differing(final_state(whole), final_state(parts))


@pytest.mark.slow
def test_a_checkpoint_holds_what_is_trained_alone(tmp_path):
    loop = loop_with(tmp_path, "int8", steps=1)
    loop.run()
    keys = [key for file in (tmp_path / "checkpoints").rglob("*.safetensors") for key in load_file(file)]
    trained = sum(p.numel() for p in loop.state.trainable_parameters.values())
    sizes = [t.numel() for f in (tmp_path / "checkpoints").rglob("*.safetensors") for t in load_file(f).values()]
    assert keys
    assert sum(sizes) < 4.1 * trained + 100  # weights, two moments, average


@pytest.mark.slow
def test_the_original_weights_plus_the_updates_are_saved(tmp_path):
    loop = loop_with(tmp_path, "int8", steps=2)
    loop.run()
    plain, stage = make_learner(), stage_with("int8")
    targets = {f"transformer.{key}" for key in lora_targets(plain.transformer, stage.lora)}
    before = plain.state_dict()
    save_stage(
        loop.state, tmp_path, stage=stage, keys=stage_weight_keys(plain, stage), process_group=ProcessGroup(),
        originals={key: before[key] for key in targets},
    )  # fmt: skip
    updates = {key: tensor for key, tensor in loop.state.model.state_dict().items() if ".lora_" in key}
    expected = merge_lora({key: before[key] for key in targets} | updates, stage.lora)
    saved = load_file(tmp_path / WEIGHTS_FILE)
    assert {merged_key(key) for key in updates} == targets
    assert not [key for key in targets if not torch.equal(saved[key], expected[key])]
    assert [key for key in targets if not torch.equal(saved[key], before[key])]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_weights_that_wait_in_main_memory_change_no_bit(tmp_path, dtype):
    plain = loop_with(tmp_path / "plain", dtype)
    offloaded = loop_with(tmp_path / "off", dtype, compute=MIXED.model_copy(update={"offload_frozen": True}))
    for block in offloaded.state.model.transformer.blocks:
        forget_after_forward(block)
    for loop in (plain, offloaded):
        loop.run()
    assert not differing(final_state(plain), final_state(offloaded))


def forget_after_forward(block):
    """Weights on a device are gone after the block: a layer that reads them outside of it reads zeros."""

    def forget(*_):
        for parameter in (p for p in block.parameters() if not p.requires_grad and p.ndim == 2):
            parameter.data = torch.zeros_like(parameter.data)

    block.register_forward_hook(forget, always_call=True)


def test_offload_without_recomputation_is_refused():
    with pytest.raises(ValueError, match="gradient_checkpointing with offload_frozen"):
        ComputeSettings(offload_frozen=True, gradient_checkpointing=False)
