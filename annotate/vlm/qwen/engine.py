"""Qwen-VL's weights at work: one batch of turns in, what was said out. Needs the extra `vlm`; qwen.py is the way in.

transformers finds its classes when they are named, so those that need torchvision are named behind the bridge only.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, LogitsProcessorList

from xsheet.annotate.vlm.client import Film, Said, Turn
from xsheet.annotate.vlm.qwen.decoding import Grammar, GrammarMask, SeededDraw
from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.annotate.vlm.qwen.processor import Sight, look, prepared, vision_tokens
from xsheet.schemas.annotation import Seen, Usage
from xsheet.schemas.errors import ConfigError, MediaError, RunError


class QwenEngine:
    """One loaded model."""

    def __init__(self, folder: QwenFolder, settings: QwenSettings) -> None:
        self._family = folder.family
        self._processor: Any = transformers.AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]  # transformers' own
            folder.path, local_files_only=True
        )
        self._processor.tokenizer.padding_side = "left"  # so that all rows begin to write at the same place
        self._model: Any = _loaded(folder, settings).eval()
        text = self._model.config.get_text_config()
        self._longest = int(text.max_position_embeddings)
        self._ends = _ends(self._model.generation_config, self._processor.tokenizer)
        self._grammar = Grammar(self._processor.tokenizer, vocabulary=text.vocab_size, ends=self._ends)
        # The folder's own way of drawing (temperature, penalties) must not mix with ours.
        self._model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, eos_token_id=self._ends, pad_token_id=self._processor.tokenizer.pad_token_id
        )

    def __call__(self, turns: Sequence[Turn]) -> Iterator[Said]:
        """What is said to turns of one `max_tokens`; a turn that cannot be asked has its Said too."""
        sights: dict[Film, Sight] = {}
        fit = []
        for turn in turns:
            try:
                if turn.film is not None and turn.film not in sights:
                    sights[turn.film] = look(turn.film, family=self._family)
                fit.append(turn)
            except (MediaError, ValueError) as error:
                yield Said(turn_id=turn.turn_id, error=_one_line(error))
        if fit:
            yield from self._asked(fit, sights)

    def _asked(self, turns: Sequence[Turn], sights: Mapping[Film, Sight]) -> Iterator[Said]:
        """A batch that fails is asked again in halves, until the turn at fault stands alone."""
        try:
            yield from self._generated(turns, sights)
            return
        except torch.OutOfMemoryError:
            error = (
                f"expected room on the GPU for {len(turns)} call at once, got out of memory; show less (lower fps or "
                "max_clip_pixels), shorten max_tokens, or take a smaller model"
            )
        except ConfigError as refused:
            error = _one_line(refused)
        if len(turns) == 1:
            yield Said(turn_id=turns[0].turn_id, error=error)
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(turns) // 2
        yield from self._asked(turns[:half], sights)
        yield from self._asked(turns[half:], sights)

    def _generated(self, turns: Sequence[Turn], sights: Mapping[Film, Sight]) -> list[Said]:
        matchers = [None if turn.schema is None else self._grammar.matcher(turn.schema) for turn in turns]
        inputs, seen = prepared(turns, sights, processor=self._processor, family=self._family)
        asked = inputs["input_ids"].shape[1]
        limit = turns[0].draw.max_tokens
        if asked + limit > self._longest:
            raise ConfigError(
                where="call",
                expected=f"prompt and reply within the model's {self._longest} tokens",
                came=f"{asked} and {limit}",
                todo="show less (lower fps or max_clip_pixels)",
            )
        mask, draw = GrammarMask(matchers, ends=self._ends), SeededDraw([turn.draw for turn in turns])
        with torch.inference_mode():
            rows = self._model.generate(
                **{k: v.to(self._model.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()},
                max_new_tokens=limit,
                logits_processor=LogitsProcessorList([mask, draw]),
            )
        prompts = inputs["attention_mask"].sum(1).tolist()
        return [
            self._said(turn, row.tolist(), prompt=prompt, seen=what)
            for turn, row, prompt, what in zip(turns, rows[:, asked:], prompts, seen, strict=True)
        ]

    def _said(self, turn: Turn, tokens: list[int], *, prompt: int, seen: Seen | None) -> Said:
        written = next((k for k, token in enumerate(tokens) if token in self._ends), None)
        finish = "length" if written is None else "stop"
        tokens = tokens[:written]
        return Said(
            turn_id=turn.turn_id,
            text=self._processor.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            finish_reason=finish,
            usage=Usage(
                prompt_tokens=prompt,
                vision_tokens=vision_tokens(seen),
                output_tokens=len(tokens),
                finish_reason=finish,
            ),
            seen=seen,
        )


def _loaded(folder: QwenFolder, settings: QwenSettings) -> Any:
    try:
        return transformers.AutoModelForImageTextToText.from_pretrained(
            folder.path,
            dtype=getattr(torch, settings.dtype),
            device_map=settings.device,
            attn_implementation=settings.attention,
            local_files_only=True,
            use_safetensors=True,
        )
    except torch.OutOfMemoryError as error:
        raise RunError(
            where=f"model {folder.path.name}",
            expected=f"room for its weights on {settings.device}",
            came="out of memory",
            todo="take a smaller model, or free the GPU",
        ) from error
    except ImportError as error:  # flash-attn, for one
        raise RunError(
            where=f"model {folder.path.name}",
            expected=f"what {settings.attention} on {settings.device} needs",
            came=_one_line(error),
            todo="install it, or `--set qwen.attention=sdpa`",
        ) from error


def _ends(config: GenerationConfig, tokenizer: Any) -> list[int]:
    """Tokens that end a reply: those of the folder's generation settings, and the tokenizer's."""
    given = config.eos_token_id
    listed = given if isinstance(given, list) else [] if given is None else [given]
    return sorted({*listed, tokenizer.eos_token_id})


def _one_line(error: BaseException) -> str:
    if isinstance(error, MediaError | ConfigError):
        return f"expected {error.expected}, got {error.came}; {error.todo}"  # without the path
    return " ".join(str(error).split())
