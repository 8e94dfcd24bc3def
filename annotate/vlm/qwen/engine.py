"""The loaded Qwen-VL model: one batch of requests in, responses out. Needs the extra `vlm`; use it through model.py.

transformers imports classes on access, so those that need torchvision are accessed after import_torchvision only.
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
        self.family = folder.family
        self._processor: Any = transformers.AutoProcessor.from_pretrained(folder.path, local_files_only=True)
        self._processor.tokenizer.padding_side = "left"  # all rows start generating at the same position
        self._model: Any = _load_model(folder, settings).eval()
        text = self._model.config.get_text_config()
        self._max_positions = int(text.max_position_embeddings)
        self._eos_token_ids = _eos_token_ids_of(self._model.generation_config, self._processor.tokenizer)
        self._grammar = Grammar(
            self._processor.tokenizer, vocab_size=text.vocab_size, eos_token_ids=self._eos_token_ids
        )
        # Sampling settings of the model folder must not apply.
        self._model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self._eos_token_ids, pad_token_id=self._processor.tokenizer.pad_token_id
        )

    def __call__(self, requests: Sequence[VlmRequest]) -> Iterator[VlmResponse]:
        """Yield one response per request of equal `max_tokens`; an undecodable clip gets an error."""
        decoded: dict[FrameSelection, DecodedFrames] = {}
        decodable = []
        for request in requests:
            try:
                if request.frame_selection is not None and request.frame_selection not in decoded:
                    decoded[request.frame_selection] = decode_frames(request.frame_selection, family=self.family)
                decodable.append(request)
            except (MediaError, ValueError) as error:
                yield VlmResponse(request_id=request.request_id, error=_one_line(error))
        if decodable:
            yield from self._run_batch(decodable, decoded)

    def _run_batch(
        self, requests: Sequence[VlmRequest], frames_by_selection: Mapping[FrameSelection, DecodedFrames]
    ) -> Iterator[VlmResponse]:
        """Generate; a failed batch is split in halves until the faulty request is alone."""
        try:
            yield from self._generate(requests, frames_by_selection)
            return
        except torch.OutOfMemoryError:
            error = (
                f"expected room on the GPU for {len(requests)} call at once, got out of memory; show less (lower "
                f"fps or "
                "max_clip_pixels), shorten max_tokens, or take a smaller model"
            )
        except ConfigError as config_error:
            error = _one_line(config_error)
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
        matchers = [None if request.schema is None else self._grammar.matcher(request.schema) for request in requests]
        inputs, model_inputs = prepare_inputs(
            requests, frames_by_selection, processor=self._processor, family=self.family
        )
        prompt_length = inputs["input_ids"].shape[1]
        max_tokens = requests[0].sampling.max_tokens
        if prompt_length + max_tokens > self._max_positions:
            raise ConfigError(
                where="call",
                expected=f"prompt and reply within the model's {self._max_positions} tokens",
                got=f"{prompt_length} and {max_tokens}",
                hint="lower fps or max_clip_pixels",
            )
        mask, sampler = (
            GrammarLogitsProcessor(matchers, eos_token_ids=self._eos_token_ids),
            SeededSamplingProcessor([request.sampling for request in requests]),
        )
        with torch.inference_mode():
            rows = self._model.generate(
                **{k: v.to(self._model.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()},
                **({"use_audio_in_video": True} if "input_features" in inputs else {}),
                max_new_tokens=max_tokens,
                logits_processor=LogitsProcessorList([mask, sampler]),
            )
        prompts = inputs["attention_mask"].sum(1).tolist()
        return [
            self._response(request, row.tolist(), prompt=prompt, model_input=model_input)
            for request, row, prompt, model_input in zip(
                requests, rows[:, prompt_length:], prompts, model_inputs, strict=True
            )
        ]

    def _response(
        self, request: VlmRequest, tokens: list[int], *, prompt: int, model_input: ModelInput | None
    ) -> VlmResponse:
        end = next((k for k, token in enumerate(tokens) if token in self._eos_token_ids), None)
        finish = "length" if end is None else "stop"
        tokens = tokens[:end]
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
        family = folder.family
        loader: Any = (
            transformers.AutoModelForImageTextToText
            if family.thinker_class is None
            else getattr(transformers, family.thinker_class)
        )
        return loader.from_pretrained(
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
            expected=f"enough memory for its weights on {settings.device}",
            got="out of memory",
            hint="use a smaller model, or free the GPU",
        ) from error
    except ImportError as error:  # flash-attn, for one
        raise RunError(
            where=f"model {folder.path.name}",
            expected=f"support for {settings.attn_implementation} on {settings.device}",
            got=_one_line(error),
            hint="install it, or `--set qwen.attn_implementation=sdpa`",
        ) from error


def _eos_token_ids_of(config: GenerationConfig, tokenizer: Any) -> list[int]:
    """Tokens that end a reply: from the generation settings and from the tokenizer."""
    eos_token_id = config.eos_token_id
    eos_token_ids = eos_token_id if isinstance(eos_token_id, list) else [] if eos_token_id is None else [eos_token_id]
    return sorted({*eos_token_ids, tokenizer.eos_token_id})


def _one_line(error: BaseException) -> str:
    if isinstance(error, MediaError | ConfigError):
        return f"expected {error.expected}, got {error.got}; {error.hint}"  # without the path
    return " ".join(str(error).split())
