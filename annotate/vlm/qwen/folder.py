"""A folder with a Qwen-VL model: validation, family and revision. Reads files, loads no weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from xsheet.annotate.vlm.qwen.tokens import FAMILIES, QwenFamily
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import read_json
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.run import Model
from xsheet.schemas.settings import StrictModel

WEIGHT_INDEX = "model.safetensors.index.json"
# Everything that decides a reply: weights, settings, tokenizer, chat template.
_FINGERPRINTED_FILES = ("*.safetensors", "*.json", "*.jinja", "merges.txt")


class QwenSettings(StrictModel):
    """A Qwen-VL model in process."""

    model: Path = Field(description="folder with the model, as `hf download ID --local-dir FOLDER` leaves it")
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="of weights and arithmetic; the published weights are bfloat16"
    )
    device: str = Field(default="auto", description="auto = over all GPUs, else the CPU; or one: cuda:0, cpu")
    attn_implementation: Literal["sdpa", "flash_attention_2", "eager"] = Field(
        default="sdpa", description="attention; flash_attention_2 needs the package flash-attn"
    )
    batch_size: int = Field(default=4, ge=1, le=256, description="concurrent calls; halved when memory runs out")


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenFolder:
    """A validated model folder."""

    path: Path
    family: QwenFamily

    @classmethod
    def from_path(cls, path: Path) -> "QwenFolder":
        """Validate a model folder.

        Raises:
            ConfigError: no folder, no config, another model type, or missing weights.
        """
        config = _config(path)
        kind = config.get("model_type")
        family = next((family for family in FAMILIES if kind in family.model_types), None)
        if family is None:
            known = ", ".join(f"{family.name} ({' '.join(family.model_types)})" for family in FAMILIES)
            raise _model_error(
                path, expected=known, got=f"model_type {kind!r}", hint="choose a model of these families"
            )
        _check_weights(path)
        return cls(path=path, family=family)

    def model_record(self, *, dtype: str) -> Model:
        """The model record of a run; its revision hashes every byte that decides a reply (1-2 s per GB)."""
        files = sorted({file for pattern in _FINGERPRINTED_FILES for file in self.path.glob(pattern)})
        revision = content_key(*((file.name, file_sha256(file)) for file in files))
        return Model(id=self.path.resolve().name, revision=f"sha256:{revision}", dtype=dtype)


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = read_json(file)
    except OSError as error:
        hint = "download one: `hf download Qwen/Qwen3-VL-8B-Instruct --local-dir FOLDER`; xsheet downloads nothing"
        got = f"no config.json ({error.strerror})" if path.is_dir() else "no folder"
        raise _model_error(path, expected="a folder with a model", got=got, hint=hint) from error
    except ValueError as error:
        raise _model_error(path, expected="a JSON config.json", got=str(error), hint="download it again") from error
    return config if isinstance(config, dict) else {}


def _check_weights(path: Path) -> None:
    index = path / WEIGHT_INDEX
    required = {"model.safetensors"}
    if index.is_file():
        try:
            required = {Path(str(name)).name for name in read_json(index)["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}"
            raise _model_error(
                path, expected=f"a readable {WEIGHT_INDEX}", got=got, hint="download it again"
            ) from error
    missing = sorted(name for name in required if not (path / name).is_file())
    if missing:
        raise _model_error(
            path,
            expected="weights as safetensors",
            got=f"no {missing[0]}" + (f" nor {len(missing) - 1} more" if missing[1:] else ""),
            hint="download the rest with `hf download`; pickled weights (.bin) are not opened",
        )


def _model_error(path: Path, *, expected: str, got: str, hint: str) -> ConfigError:
    return ConfigError(where=f"model {path}", expected=expected, got=got, hint=hint)
