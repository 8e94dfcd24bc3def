"""The model card of an export: what it is, how it is loaded, and its figures.

Figures are those that the run measured: losses of the stage, and the scores of `xsheet train evaluate` beside their
ceiling, where it ran.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import read_json, write_text
from xsheet.train.sample.sampler import TrainedModel
from xsheet.train.stage_summary import FirstLast, stage_summary

EVALUATION_FILE = "evaluation.json"
SAMPLES_IMAGE = "samples.png"

LOADING_LINES = """import contextlib
with contextlib.suppress(ImportError):  # where a torchvision built for CUDA lies beside a CPU build of torch
    from xsheet.torchvision_compat import import_torchvision
    import_torchvision()
from diffusers import DiffusionPipeline, WanTransformer3DModel
"""


def backbone_lines(folder: Path | str) -> str:
    """Python that loads the backbone, in an environment with diffusers."""
    at = str(Path(folder) / "transformer")
    return f"{LOADING_LINES}transformer = WanTransformer3DModel.from_pretrained({at!r})\n"


def pipeline_lines(folder: Path | str) -> str:
    """Python that loads the pipeline, in an environment with xsheet."""
    at = str(folder)
    options = f"{at!r}, custom_pipeline={at!r}, trust_remote_code=True"
    return f"{LOADING_LINES}pipe = DiffusionPipeline.from_pretrained({options})\n"


def write_card(out: Path, *, trained: TrainedModel, stage_folder: Path) -> None:
    """Write README.md, and beside it the last sample image of the stage where it was validated."""
    numbers = _evaluation_numbers(stage_folder)
    images = sorted((stage_folder / "samples").glob("step-*.png"))
    if images:
        shutil.copyfile(images[-1], out / SAMPLES_IMAGE)
    head = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-video",
        tags=["talking-avatar", "audio-to-video", "flow-matching", *(["lora"] if (out / "lora").is_dir() else [])],
        model_name=f"xsheet {trained.settings.cache.model}" if numbers else None,
        eval_results=[_eval_result(name, pair) for name, pair in numbers.items() if pair[0] is not None] or None,
    ).to_yaml()
    sections = [
        _intro(trained),
        _usage(out),
        _figures(numbers, has_image=bool(images)),
        _training(trained, stage_folder),
    ]
    write_text(out / "README.md", f"---\n{head}\n---\n\n" + "\n".join(sections))


def _intro(trained: TrainedModel) -> str:
    weights = sum(parameter.numel() for parameter in trained.model.transformer.parameters())
    settings = trained.settings
    is_pretrained = settings.pretrained_backbone is not None or settings.pretrained_avatar is not None
    backbone = "pretrained weights" if is_pretrained else "weights trained from scratch"
    return (
        f"# Talking avatar, {trained.settings.cache.model}\n\n"
        "A portrait speaks an audio track and performs the named actions in the named seconds: a Wan video diffusion "
        "transformer with phase embeddings and audio attention, after ActAvatar (arXiv 2512.19546), trained with "
        f"xsheet. {weights / 1e6:,.1f} million weights in the transformer; its backbone started from {backbone}. "
        f"Stage: {trained.stage}.\n"
    )


def _usage(out: Path) -> str:
    lora = (
        "The low-rank updates in `lora/` are not merged. `transformer.load_lora_adapter('lora', "
        "weight_name='pytorch_lora_weights.safetensors')` adds them in diffusers, and `lora/comfyui.safetensors` has "
        "the key names of ComfyUI. The pipeline adds them by itself.\n\n"
        if (out / "lora").is_dir()
        else ""
    )
    return (
        "## Use\n\nThe avatar, with `pip install xsheet` (paths are relative to this folder):\n\n"
        f"```python\n{pipeline_lines('.')}"
        'pipe(portrait="ada.png", audio="ada.wav", script="nod.yaml", out="ada.mp4")\n```\n\n'
        "A script holds a base caption and timed actions:\n\n```yaml\nbase: A woman speaks in front of a plain wall.\n"
        "phases:\n- {start_s: 0.4, end_s: 1.4, text: nods twice}\n```\n\n"
        "The backbone alone, without phases and audio, with `pip install diffusers`:\n\n"
        f"```python\n{backbone_lines('.')}```\n\n{lora}"
    )


def _figures(numbers: Mapping[str, Sequence[Any]], *, has_image: bool) -> str:
    lines = ["## Figures\n"]
    if numbers:
        lines += [
            "Held-out clips, mean with a 95 % interval over clips; the ceiling is the reading of the real clip.\n"
        ]
        lines += ["| measure | samples | ceiling | of |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {_format(ours)} | {_format(best)} | {0 if ours is None else ours['count']} |"
            for name, (ours, best) in numbers.items()
        ]
    else:
        lines += ["Not measured: `xsheet train evaluate` did not run before the export."]
    if has_image:
        lines += [f"\nHeld-out clips, sampled above real:\n\n![Sampled and real frames]({SAMPLES_IMAGE})"]
    return "\n".join(lines) + "\n"


def _training(trained: TrainedModel, stage_folder: Path) -> str:
    summary = stage_summary(stage_folder.parent, trained.stage)
    rows = [("steps", f"{summary.steps} ({summary.skipped_steps} skipped)"), ("loss", _change(summary.loss))]
    rows += [("held-out loss", _change(summary.held_out_loss)), ("layer", str(trained.settings.cache.text.layer))]
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    return f"## Training\n\n{table}\n\nAll settings: `training.json`.\n"


def _evaluation_numbers(stage_folder: Path) -> Mapping[str, Sequence[Any]]:
    file = stage_folder / EVALUATION_FILE
    if not file.is_file():
        return {}
    try:
        numbers: Mapping[str, Sequence[Any]] = read_json(file)["numbers"]
    except (ValueError, KeyError, TypeError) as error:
        got, hint = f"{type(error).__name__}: {error}"[:200], "run `xsheet train evaluate` again, or remove the file"
        raise ContractError(where=str(file), expected="the scores of an evaluation", got=got, hint=hint) from error
    return numbers


def _eval_result(name: str, pair: Sequence[Any]) -> EvalResult:
    return EvalResult(
        task_type="image-to-video", dataset_type="held-out", dataset_name="held-out clips", metric_type=name,
        metric_value=round(pair[0]["mean"], 4),
    )  # fmt: skip


def _format(value: Mapping[str, float] | None) -> str:
    return "" if value is None else f"{value['mean']:.2f} ({value['low']:.2f}..{value['high']:.2f})"


def _change(values: FirstLast | None) -> str:
    return "not measured" if values is None else f"{values[0]:.3f} → {values[1]:.3f}"
