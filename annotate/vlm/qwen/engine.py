"""Qwen-VL's weights at work: one batch of turns in, what was said out. Needs the extra `vlm`; qwen.py is the way in.

transformers finds its classes when they are named, so those that need torchvision are named behind the bridge only.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, LogitsProcessorList

from xsheet.annotate.vlm.client import FrameSelection, VlmRequest, VlmResponse
from xsheet.annotate.vlm.qwen.decoding import Grammar, GrammarLogitsProcessor, SeededSamplingProcessor
from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.annotate.vlm.qwen.processor import DecodedFrames, decode_frames, prepare_inputs, vision_tokens
from xsheet.schemas.errors import ConfigError, MediaError, RunError
from xsheet.schemas.run import ModelInput, Usage


class QwenModel:
    """One loaded model."""

    def __init__(self, folder: QwenFolder, settings: QwenSettings) -> None:
        self._family = folder.family
        self._processor: Any = transformers.AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]  # transformers' own
            folder.path, local_files_only=True
        )
        self._processor.tokenizer.padding_side = "left"  # so that all rows begin to write at the same place
        self._model_record: Any = _load_model(folder, settings).eval()
        text = self._model_record.config.get_text_config()
        self._max_positions = int(text.max_position_embeddings)
        self._eos_token_ids = _eos_token_ids_of(self._model_record.generation_config, self._processor.tokenizer)
        self._grammar = Grammar(
            self._processor.tokenizer, vocab_size=text.vocab_size, eos_token_ids=self._eos_token_ids
        )
        # The folder's own way of drawing (temperature, penalties) must not mix with ours.
        self._model_record.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, eos_token_id=self._eos_token_ids, pad_token_id=self._processor.tokenizer.pad_token_id
        )

    def __call__(self, requests: Sequence[VlmRequest]) -> Iterator[VlmResponse]:
        """What is said to turns of one `max_tokens`; a turn that cannot be asked has its Said too."""
        sights: dict[FrameSelection, DecodedFrames] = {}
        fit = []
        for turn in requests:
            try:
                if turn.frame_selection is not None and turn.frame_selection not in sights:
                    sights[turn.frame_selection] = decode_frames(turn.frame_selection, family=self._family)
                fit.append(turn)
            except (MediaError, ValueError) as error:
                yield VlmResponse(request_id=turn.request_id, error=_one_line(error))
        if fit:
            yield from self._run_batch(fit, sights)

    def _run_batch(
        self, requests: Sequence[VlmRequest], frames_by_selection: Mapping[FrameSelection, DecodedFrames]
    ) -> Iterator[VlmResponse]:
        """A batch that fails is asked again in halves, until the turn at fault stands alone."""
        try:
            yield from self._generate(requests, frames_by_selection)
            return
        except torch.OutOfMemoryError:
            error = (
                f"expected room on the GPU for {len(requests)} call at once, got out of memory; show less (lower "
                f"fps or "
                "max_clip_pixels), shorten max_tokens, or take a smaller model"
            )
        except ConfigError as refused:
            error = _one_line(refused)
        if len(requests) == 1:
            yield VlmResponse(request_id=requests[0].request_id, error=error)
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(requests) // 2
        yield from self._run_batch(requests[:half], frames_by_selection)
        yield from self._run_batch(requests[half:], frames_by_selection)

    def _generate(
        self, requests: Sequence[VlmRequest], frames_by_selection: Mapping[FrameSelection, DecodedFrames]
    ) -> list[VlmResponse]:
        matchers = [None if turn.schema is None else self._grammar.matcher(turn.schema) for turn in requests]
        inputs, seen = prepare_inputs(requests, frames_by_selection, processor=self._processor, family=self._family)
        asked = inputs["input_ids"].shape[1]
        limit = requests[0].sampling.max_tokens
        if asked + limit > self._max_positions:
            raise ConfigError(
                where="call",
                expected=f"prompt and reply within the model's {self._max_positions} tokens",
                got=f"{asked} and {limit}",
                hint="show less (lower fps or max_clip_pixels)",
            )
        mask, draw = (
            GrammarLogitsProcessor(matchers, eos_token_ids=self._eos_token_ids),
            SeededSamplingProcessor([turn.sampling for turn in requests]),
        )
        with torch.inference_mode():
            rows = self._model_record.generate(
                **{k: v.to(self._model_record.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()},
                max_new_tokens=limit,
                logits_processor=LogitsProcessorList([mask, draw]),
            )
        prompts = inputs["attention_mask"].sum(1).tolist()
        return [
            self._response(turn, row.tolist(), prompt=prompt, model_input=what)
            for turn, row, prompt, what in zip(requests, rows[:, asked:], prompts, seen, strict=True)
        ]

    def _response(
        self, request: VlmRequest, tokens: list[int], *, prompt: int, model_input: ModelInput | None
    ) -> VlmResponse:
        written = next((k for k, token in enumerate(tokens) if token in self._eos_token_ids), None)
        finish = "length" if written is None else "stop"
        tokens = tokens[:written]
        return VlmResponse(
            request_id=request.request_id,
            text=self._processor.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            finish_reason=finish,
            usage=Usage(
                prompt_tokens=prompt,
                vision_tokens=vision_tokens(model_input),
                output_tokens=len(tokens),
                finish_reason=finish,
            ),
            model_input=model_input,
        )


def _load_model(folder: QwenFolder, settings: QwenSettings) -> Any:
    try:
        return transformers.AutoModelForImageTextToText.from_pretrained(
            folder.path,
            dtype=getattr(torch, settings.dtype),
            device_map=settings.device,
            attn_implementation=settings.attn_implementation,
            local_files_only=True,
            use_safetensors=True,
        )
    except torch.OutOfMemoryError as error:
        raise RunError(
            where=f"model {folder.path.name}",
            expected=f"room for its weights on {settings.device}",
            got="out of memory",
            hint="take a smaller model, or free the GPU",
        ) from error
    except ImportError as error:  # flash-attn, for one
        raise RunError(
            where=f"model {folder.path.name}",
            expected=f"what {settings.attn_implementation} on {settings.device} needs",
            got=_one_line(error),
            hint="install it, or `--set qwen.attention=sdpa`",
        ) from error


def _eos_token_ids_of(config: GenerationConfig, tokenizer: Any) -> list[int]:
    """Tokens that end a reply: those of the folder's generation settings, and the tokenizer's."""
    given = config.eos_token_id
    listed = given if isinstance(given, list) else [] if given is None else [given]
    return sorted({*listed, tokenizer.eos_token_id})


def _one_line(error: BaseException) -> str:
    if isinstance(error, MediaError | ConfigError):
        return f"expected {error.expected}, got {error.got}; {error.hint}"  # without the path
    return " ".join(str(error).split())
