"""Run: provenance of a layer or an audit, so that it can be repeated; input and cost of one model response."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.schemas.columns import RECORD, Count, Id, Int32, Int64, NonNegative, Sha256, Share, Str


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Version:
    """One piece of software."""

    name: Annotated[Str, "distribution or engine"]
    version: Annotated[Str, "as it reports itself"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Model:
    """The model that produced a layer."""

    id: Annotated[Str, "hub id, or name of the built-in annotator"]
    revision: Annotated[Str, "commit of the weights, or version of the built-in annotator"]
    dtype: Annotated[Str | None, "e.g. 'bfloat16'"] = None
    quantisation: Annotated[Str | None, "e.g. 'awq'"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Prompt:
    """The complete prompt; it is stored in the runs table only."""

    id: Annotated[Str, "id of the prompt file"]
    version: Annotated[Str, "version in its front matter"]
    text: Annotated[Str, "template before rendering"]
    sha256: Annotated[Sha256, "hash of the template"]
    response_schema: Annotated[Str, "JSON schema of the response, verbatim as sent"]
    response_schema_sha256: Annotated[Sha256, "hash of it"]
    grammar: Annotated[Str | None, "engine of constrained decoding, with version"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Sampling:
    """Token sampling parameters."""

    temperature: Annotated[NonNegative | None, "0 = greedy"] = None
    top_p: Annotated[Share | None, "nucleus"] = None
    max_tokens: Annotated[Int32 | None, Field(gt=0), "maximum length of a response"] = None
    samples: Annotated[Int32, Field(ge=1), "responses per clip"] = 1
    seed: Annotated[Int64 | None, "base seed"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class FrameSampling:
    """Frame sampling of the model input."""

    fps: Annotated[NonNegative, "requested frames per second"]
    max_pixels: Annotated[Count | None, "maximum per clip"] = None
    max_pixels_per_frame: Annotated[Count | None, "maximum per frame"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Run:
    """One annotation, audit or import run. Its id is a hash of all that affects the output, so it contains no time."""

    TAG: ClassVar[str] = "run"
    run_id: Annotated[Id, "hash of all fields below"]
    kind: Annotated[Literal["annotate", "consensus", "audit", "review", "import", "truth"], "what ran"]
    tool_version: Annotated[Str, "version of xsheet"]
    model: Annotated[Model | None, "model"] = None
    engine: Annotated[Version | None, "transformers, vllm, an endpoint (never its address or key)"] = None
    libraries: Annotated[tuple[Version, ...], "versions that can change the output"] = ()
    prompts: Annotated[tuple[Prompt, ...], "prompts in order of use"] = ()
    sampling: Annotated[Sampling | None, "sampling"] = None
    frames: Annotated[FrameSampling | None, "requested frame sampling"] = None
    settings_sha256: Annotated[Sha256 | None, "hash of the settings of the run; the run manifest has their values"] = (
        None
    )
    parent_run_ids: Annotated[tuple[Str, ...], "runs whose layers were read"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Usage:
    """Cost of one model response."""

    prompt_tokens: Annotated[Int32 | None, Field(ge=0), "input tokens"] = None
    vision_tokens: Annotated[Int32 | None, Field(ge=0), "input tokens of images"] = None
    output_tokens: Annotated[Int32 | None, Field(ge=0), "output tokens"] = None
    latency_s: Annotated[NonNegative | None, "wall-clock seconds of the call"] = None
    finish_reason: Annotated[Str | None, "finish reason as the engine reports it"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class ModelInput:
    """Input of the model after its own preprocessing."""

    frame_indices: Annotated[tuple[Int32, ...], "frames of the clip, after the processor's own sampling"]
    stamps_us: Annotated[tuple[Int64, ...], "frame times given to the model, in the clip"]
    width: Annotated[Int32, Field(gt=0), "picture width after the processor"]
    height: Annotated[Int32, Field(gt=0), "picture height after the processor"]
    patches: Annotated[Count | None, "vision patches; null if the server does not report them"] = None
    audio_us: Annotated[Count | None, "duration of the audio given to the model, from the start of the clip"] = None
    transcript_sha256: Annotated[Sha256 | None, "transcript given as context"] = None
    signals_sha256: Annotated[Sha256 | None, "signals given as time snap targets, or read by the motion annotator"] = (
        None
    )
