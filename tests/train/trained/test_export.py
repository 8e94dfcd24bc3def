"""What plain diffusers makes of an export: weights, low-rank updates, the pipeline, the model card."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, WanTransformer3DModel
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from xsheet.model import weights
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import write_text
from xsheet.train.export import export
from xsheet.train.exported.card import backbone_lines, pipeline_lines
from xsheet.train.launch import WorkerSettings
from xsheet.train.loop.lora import LoraSettings
from xsheet.train.run import WeightedSet, build_trainable_model, train_stages
from xsheet.train.sample.sampler import load_trained

pytestmark = pytest.mark.slow  # a run of both stages takes some seconds; its tests share it


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    return export(trained_run, tmp_path_factory.mktemp("export") / "out")


@torch.no_grad()
def test_plain_diffusers_says_the_same_without_phases_and_sound(exported, trained):
    plain = WanTransformer3DModel.from_pretrained(exported / "transformer").eval()
    rng = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 24, 3, 8, 8, generator=rng), torch.randn(1, 256, 128, generator=rng)
    timestep = torch.tensor([500.0])
    theirs = plain(hidden_states=x, timestep=timestep, encoder_hidden_states=text).sample
    ours = trained.model.transformer(x, timestep, text)
    assert theirs.abs().max() > 0  # it learned something
    assert torch.equal(theirs, ours)


def test_the_whole_model_comes_back(exported, trained):
    ours, theirs = trained.model.transformer.state_dict(), weights.load(exported / "avatar").state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())


def test_the_learned_text_encoder_is_exported(exported, trained):
    tensors = load_file(exported / "text/weights.safetensors")
    assert tensors.keys() == trained.model.text.state_dict().keys()


def test_an_export_is_the_start_of_another_run(exported, trained, plan):
    model = build_trainable_model(
        plan.model_copy(update={"pretrained_avatar": str(exported)}), null_text=trained.model.null_text
    )
    ours, theirs = model.state_dict(), trained.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_nothing_is_written_over(exported, trained_run):
    with pytest.raises(ConfigError, match="other content"):
        export(trained_run, exported)


def test_a_full_disk_is_named_and_leaves_nothing_of_the_export(trained_run, disk):
    disk.fill(but_bytes=300_000)
    with pytest.raises(OSError, match=r"No space left on device: '.*/out/transformer'"):
        export(trained_run, disk.path / "out")
    assert [path.name for path in (disk.path / "out").iterdir()] == [".commits"]


def test_the_printed_lines_run_as_they_stand(exported):
    lines = pipeline_lines(exported) + backbone_lines(exported)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ran = subprocess.run([sys.executable, "-c", lines], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_the_pipeline_takes_portrait_audio_and_script(exported, built_set, tmp_path):
    pipe = DiffusionPipeline.from_pretrained(exported, custom_pipeline=str(exported), trust_remote_code=True)
    film = built_set[0] / "media/clip_a.mp4"
    script = {
        "base": "A person speaks to the camera.",
        "phases": [{"start_s": 0.1, "end_s": 0.6, "text": "nods twice"}],
    }
    out = pipe(portrait=film, audio=film, script=script, out=tmp_path / "out.mp4", num_inference_steps=2)
    assert out.stat().st_size > 1000


def test_the_card_names_figures_that_were_measured(trained_run, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    value = {"mean": 0.75, "low": 0.5, "high": 1.0, "count": 8}
    write_text(
        run / "stage2" / "evaluation.json", f'{{"numbers": {{"class accuracy": [{value}, null]}}}}'.replace("'", '"')
    )
    card = ModelCard.load(export(run, tmp_path / "out") / "README.md")
    assert card.data.library_name == "diffusers"
    assert card.data.eval_results[0].metric_value == 0.75
    assert "| class accuracy | 0.75 (0.50..1.00) |  | 8 |" in card.text
    assert (tmp_path / "out/samples.png").is_file()


@pytest.fixture(scope="module")
def lora_run(trained_run, built_set, plan, tmp_path_factory):
    """A second stage that trains low-rank updates of all five kinds of layers beside a backbone in bytes."""
    lora = LoraSettings(rank=2, alpha=4, targets=("q", "k", "v", "o", "ffn"), frozen_dtype="int8")
    stage = plan.stage("stage2").model_copy(update={"lora": lora, "trainable_parts": ("audio", "phases")})
    out = tmp_path_factory.mktemp("lora") / "run"
    shutil.copytree(trained_run / "stage1", out / "stage1")
    compute = plan.compute.model_copy(update={"dtype": "bfloat16"})
    settings = plan.model_copy(update={"stages": (plan.stages[0], stage), "compute": compute})
    train_stages([WeightedSet(built_set[0])], settings, out=out, workers=WorkerSettings(), stages=["stage2"])
    return out


@torch.no_grad()
def test_plain_diffusers_adds_the_updates_to_the_backbone(lora_run, tmp_path):
    out = export(lora_run, tmp_path / "out")
    plain = WanTransformer3DModel.from_pretrained(out / "transformer").eval()
    rng = torch.Generator().manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(1, 24, 3, 8, 8, generator=rng), "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, 96, 128, generator=rng),
    }  # fmt: skip
    without = plain(**inputs).sample
    plain.load_lora_adapter(out / "lora", weight_name="pytorch_lora_weights.safetensors")
    expected = load_trained(lora_run).model.transformer(*inputs.values())
    assert (without - expected).abs().max() > 1e-3
    assert torch.allclose(plain(**inputs).sample, expected, atol=1e-5)


def test_the_comfyui_file_is_the_same_updates_by_other_names(lora_run, tmp_path):
    out = export(lora_run, tmp_path / "out") / "lora"
    theirs = _convert_non_diffusers_wan_lora_to_diffusers(load_file(out / "comfyui.safetensors"))
    ours = load_file(out / "pytorch_lora_weights.safetensors")
    assert {key.removeprefix("transformer.") for key in ours} == {k.removeprefix("transformer.") for k in theirs}
    up, down = "blocks.1.ffn.net.2.lora_B.weight", "blocks.1.ffn.net.2.lora_A.weight"
    find = {key.removeprefix("transformer."): tensor for key, tensor in theirs.items()}
    product = find[up] @ find[down]  # the reader multiplies alpha / rank = 2 into its matrices
    assert torch.allclose(product, 2 * ours[f"transformer.{up}"] @ ours[f"transformer.{down}"], atol=1e-6)


def test_updates_are_merged_on_request(lora_run, tmp_path):
    out = export(lora_run, tmp_path / "out", merge_lora=True)
    assert not (out / "lora").exists()
    expected = load_trained(lora_run).model.transformer.state_dict()
    assert all(torch.equal(expected[key], tensor) for key, tensor in weights.load(out / "avatar").state_dict().items())
