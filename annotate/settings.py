"""Settings of an annotation run, its run record, and the annotator it opens."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from xsheet import __version__
from xsheet.annotate.base import AnnotationRequest, Annotator
from xsheet.annotate.consensus import ConsensusSettings
from xsheet.annotate.motion.annotator import RULES_VERSION, MotionAnnotator, MotionSettings
from xsheet.annotate.motion.curves import motion_curves, moving_ranges, track_speeds
from xsheet.annotate.speech.relation import SpeechSettings
from xsheet.annotate.vlm.annotator import MotionCandidate, VlmAnnotator, VlmSettings, run_prompts
from xsheet.annotate.vlm.cache import CachedVlmClient
from xsheet.annotate.vlm.client import VlmClient
from xsheet.annotate.vlm.endpoint import EndpointClient, EndpointSettings
from xsheet.annotate.vlm.normalise import NormaliseSettings
from xsheet.annotate.vlm.qwen.folder import QwenFolder, QwenSettings
from xsheet.annotate.vlm.qwen.model import QwenClient
from xsheet.schemas import ids, vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.run import FrameSampling, Model, Prompt, Run, Sampling, Version
from xsheet.schemas.sets import versions
from xsheet.schemas.settings import StrictModel, settings_sha256
from xsheet.schemas.time import CLIP_RATE, span_of_frames

LIBRARIES = ("numpy", "scipy", "torch", "transformers", "qwen-vl-utils", "llguidance", "httpx")
CANDIDATE_TRACKS: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "torso", "arm_left", "arm_right")


class AnnotateSettings(StrictModel):
    """One annotator and how its replies are processed."""

    motion: MotionSettings | None = Field(default=None, description="the rule-based annotator")
    qwen: QwenSettings | None = Field(default=None, description="a Qwen-VL model in process")
    endpoint: EndpointSettings | None = Field(default=None, description="a model behind a server")
    vlm: VlmSettings = Field(default=VlmSettings(), description="frames and prompts of qwen and endpoint")
    motion_candidates: bool = Field(default=True, description="give qwen and endpoint the spans of measured motion")
    samples: int = Field(default=3, ge=1, le=32, description="replies per clip; a majority needs three")
    seed: int = Field(default=0, ge=0, description="base seed of all samples")
    clips_per_batch: int = Field(
        default=16, ge=1, le=1024, description="clips per batch; a batch is committed as a whole"
    )
    normalise: NormaliseSettings = Field(default=NormaliseSettings(), description="how far a time may snap")
    speech: SpeechSettings = Field(default=SpeechSettings(), description="voice and speech timing limits")
    consensus: ConsensusSettings = Field(default=ConsensusSettings(), description="when samples agree")

    @model_validator(mode="after")
    def _one_annotator(self) -> "AnnotateSettings":
        if sum(annotator is not None for annotator in (self.motion, self.qwen, self.endpoint)) != 1:
            raise ValueError("expected exactly one of motion, qwen and endpoint, got none or several")
        return self

    @property
    def uses_vlm(self) -> bool:
        """Whether a vision-language model produces the replies."""
        return self.qwen is not None or self.endpoint is not None

    def request_fingerprint(self, run: Run) -> str:
        """Hash of everything that decides a reply; excludes its processing and how calls are executed."""
        vlm_fields: dict[str, Any] = {
            "vlm": True,
            "motion_candidates": True,
            "qwen": {"dtype", "attn_implementation"},
            "endpoint": {"response_format", "jpeg_quality"},
        }
        fingerprinted = self.model_dump(mode="json", include=vlm_fields if self.uses_vlm else {"motion"})
        model = run.model and [run.model.id, run.model.revision]
        return ids.content_key(fingerprinted, model, [prompt.sha256 for prompt in run.prompts])


def open_annotator(settings: AnnotateSettings, *, cache_folder: Path) -> Annotator:
    """The opened annotator; finished calls of a model are cached in `cache_folder`.

    Raises:
        ConfigError: weights or the API key are missing.
        RunError: a library is missing, or the weights do not fit in memory.
    """
    if settings.motion is not None:
        return MotionAnnotator(settings.motion)
    propose_candidates = _motion_candidates if settings.motion_candidates else None
    client: VlmClient
    if settings.endpoint is not None:
        client = EndpointClient(settings.endpoint)
    else:
        assert settings.qwen is not None
        if settings.vlm.sound and not QwenFolder.from_path(settings.qwen.model).family.has_audio_input:
            raise ConfigError(
                where="vlm.sound", expected="a model with audio input", got=f"{settings.qwen.model}",
                hint="choose a Qwen-Omni model, or set vlm.sound=false",
            )  # fmt: skip
        client = QwenClient(settings.qwen)
        client.open()
    return VlmAnnotator(CachedVlmClient(client, cache_folder), settings.vlm, propose_candidates=propose_candidates)


def annotation_run(settings: AnnotateSettings) -> Run:
    """The run record; its id hashes model, prompts, settings and xsheet version.

    Raises:
        ConfigError: the folder holds no model.
    """
    model, prompts = _model_record(settings), _prompts(settings)
    sha256 = settings_sha256(settings)
    key = ids.content_key("annotate", __version__, model.id, model.revision, [p.sha256 for p in prompts], sha256)
    vlm, installed = settings.vlm, versions(LIBRARIES)
    uses_vlm = settings.uses_vlm
    return Run(
        run_id=f"run_{key[:20]}",
        kind="annotate",
        tool_version=__version__,
        model=model,
        engine=_engine_version(settings, installed),
        libraries=tuple(Version(name=n, version=installed[n]) for n in LIBRARIES if installed[n] != "absent"),
        prompts=prompts,
        sampling=Sampling(
            temperature=vlm.temperature, top_p=vlm.top_p, max_tokens=vlm.max_tokens, samples=settings.samples,
            seed=settings.seed,
        ) if uses_vlm else None,
        frames=FrameSampling(
            fps=vlm.fps, max_pixels=vlm.max_clip_pixels, max_pixels_per_frame=vlm.max_frame_pixels
        ) if uses_vlm else None,
        settings_sha256=sha256,
    )  # fmt: skip


def consensus_run(parent: Run, settings: ConsensusSettings) -> Run:
    """The run record of a consensus over another run's samples; it names the same model."""
    sha256 = settings_sha256(settings)
    key = ids.content_key("consensus", __version__, parent.run_id, sha256)
    return Run(
        run_id=f"run_{key[:20]}", kind="consensus", tool_version=__version__, model=parent.model,
        settings_sha256=sha256, parent_run_ids=(parent.run_id,),
    )  # fmt: skip


def _model_record(settings: AnnotateSettings) -> Model:
    if settings.motion is not None:
        return Model(id="xsheet.motion", revision=f"{__version__}, rules {RULES_VERSION}")
    if settings.qwen is not None:
        return QwenFolder.from_path(settings.qwen.model).model_record(dtype=settings.qwen.dtype)
    assert settings.endpoint is not None
    # A server does not report its weights, only the model's name.
    return Model(id=settings.endpoint.model, revision="as served")


def _prompts(settings: AnnotateSettings) -> tuple[Prompt, ...]:
    if not settings.uses_vlm:
        return ()
    grammar = f"llguidance {versions(['llguidance'])['llguidance']}" if settings.qwen is not None else None
    return run_prompts(settings.vlm, grammar=grammar)


def _engine_version(settings: AnnotateSettings, installed: dict[str, str]) -> Version | None:
    if not settings.uses_vlm:
        return None
    return Version(name="transformers", version=installed["transformers"]) if settings.qwen else Version(
        name="endpoint", version="as served"
    )  # fmt: skip


def _motion_candidates(request: AnnotationRequest) -> list[MotionCandidate]:
    """Spans with measured motion, by track, then by time."""
    speed = track_speeds(motion_curves(request.signals))
    return [
        MotionCandidate(track, span_of_frames(frames, CLIP_RATE))
        for track in CANDIDATE_TRACKS
        for frames in moving_ranges(speed[track], track=track)
    ]
