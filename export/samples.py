"""Clips, splits and a layer to the samples of an export, in the order of their names."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xsheet.annotate.text.mirror import mirror_annotation
from xsheet.annotate.text.training_text import clip_annotation
from xsheet.export.captions import ClipCaption, clip_caption
from xsheet.export.settings import ExportSettings
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.layers import LayerRun, find_layer
from xsheet.schemas.source import SplitName
from xsheet.schemas.time import CLIP_RATE, FrameRate, Span, frame_at, seconds_from_us, span_of_frames

MIRRORED_SUFFIX = "-mirrored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSample:
    """One video of an export with its texts."""

    name: str  # of its files, without suffix
    split: SplitName
    clip: Clip
    is_mirrored: bool
    rate: FrameRate
    frames: int  # at that rate
    caption: ClipCaption
    phases: tuple[Phase, ...]  # in the video, of the side that the viewer sees
    annotation_id: str
    manifest_columns: Mapping[str, str]  # of the source: licence, speaker, ...

    @property
    def file(self) -> str:
        """Path of the video within the export."""
        return f"{self.split}/{self.name}.mp4"

    @property
    def is_copy(self) -> bool:
        """Whether the file of the set is exported as it is."""
        return not self.is_mirrored and self.rate == CLIP_RATE and self.frames == self.clip.frames

    @property
    def span(self) -> Span:
        """Time of the clip that the video shows."""
        return span_of_frames(range(self.frames), self.rate)

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds."""
        return seconds_from_us(self.span.duration_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """The samples of an export, and the clips that have none."""

    samples: tuple[ExportSample, ...]
    left_out: Mapping[str, int]  # clips by reason
    layer: LayerRun


def list_samples(set_folder: Path, settings: ExportSettings) -> SampleList:
    """All samples of a set under these settings.

    Raises:
        ConfigError: no such layer, or no clip is left.
        ContractError: the layer describes other files than the set has.
    """
    layer = find_layer(set_folder, settings.layer)
    clips = {clip.clip_id: clip for clip in tables.iter_records(set_folder, tables.CLIPS)}
    splits: dict[str, SplitName] = {row.clip_id: row.split for row in tables.iter_records(set_folder, tables.SPLITS)}
    sources = {source.source_id: source for source in tables.iter_records(set_folder, tables.SOURCES)}
    left_out: Counter[str] = Counter()
    samples: list[ExportSample] = []
    waiting = dict(clips)
    for annotation in layer.read():
        clip = waiting.get(annotation.clip_id)
        if clip is None or annotation.base is None:  # of several replies the first that can be used counts
            continue
        _check_media(annotation, clip, layer)
        del waiting[clip.clip_id]
        split: SplitName = splits.get(clip.clip_id, "train")
        if split not in settings.splits:
            left_out["in another split"] += 1
            continue
        frames = _frame_count(clip, settings)
        if frames is None:
            left_out[f"shorter than {settings.frames} frames at {settings.fps} fps"] += 1
            continue
        mirrors = (False, True) if settings.mirrored and split == "train" else (False,)
        source = sources.get(clip.source_id)
        columns = {} if source is None else source.columns_at(clip.start_us)
        samples += (
            _sample(clip, annotation, settings, split=split, frames=frames, is_mirrored=mirrored, columns=columns)
            for mirrored in mirrors
        )
    if waiting:
        left_out[f"without a caption in {layer}"] = len(waiting)
    if not samples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "the set has no clips"
        raise ConfigError(
            where=str(set_folder), expected="clips to export", got=f"none ({reasons})",
            hint="choose another --layer, fewer --frames or other --splits",
        )  # fmt: skip
    samples.sort(key=lambda sample: sample.name)
    return SampleList(samples=tuple(samples), left_out=dict(left_out), layer=layer)


def _sample(
    clip: Clip,
    annotation: Annotation,
    settings: ExportSettings,
    *,
    split: SplitName,
    frames: int,
    is_mirrored: bool,
    columns: Mapping[str, str],
) -> ExportSample:
    shown = clip_annotation(annotation, span_of_frames(range(frames), settings.rate))
    if is_mirrored:
        shown = mirror_annotation(shown)
    return ExportSample(
        name=clip.clip_id + (MIRRORED_SUFFIX if is_mirrored else ""),
        split=split,
        clip=clip,
        is_mirrored=is_mirrored,
        rate=settings.rate,
        frames=frames,
        caption=clip_caption(shown, settings.captions, settings.blocks),
        phases=shown.phases,
        annotation_id=annotation.annotation_id,
        manifest_columns=columns,
    )


def _frame_count(clip: Clip, settings: ExportSettings) -> int | None:
    """Frames of the exported video; None if the clip is too short."""
    available = clip.frames
    if settings.rate != CLIP_RATE:
        available = frame_at(clip.duration_us - 1, settings.rate) + 1
    if settings.frames is None:
        return available
    return settings.frames if available >= settings.frames else None


def _check_media(annotation: Annotation, clip: Clip, layer: LayerRun) -> None:
    if annotation.media_sha256 not in (None, clip.media_sha256):
        raise ContractError(
            where=f"{layer}, clip {clip.clip_id}", expected="an annotation of the clip's file",
            got="an annotation of an earlier file", hint="annotate the set again: its clips have been rewritten since",
        )  # fmt: skip
