"""Settings of an export, and the frame rule of each kind."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xsheet.annotate.text.training_text import BlockPolicy
from xsheet.curate.media.writer import ClipEncodingSettings
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SplitName
from xsheet.schemas.time import CLIP_RATE, FrameRate

ExportKind = Literal[
    "folder", "hf", "webdataset", "musubi", "diffsynth", "ltx", "diffusion-pipe", "simpletuner", "finetrainers", "tie"
]
CaptionForm = Literal["base", "timed", "prose"]

FRAME_STRIDE: dict[ExportKind, int] = {
    "folder": 1, "hf": 1, "webdataset": 1, "musubi": 4, "diffsynth": 4, "ltx": 8, "diffusion-pipe": 4, "simpletuner": 4,
    "finetrainers": 4, "tie": 4,
}  # fmt: skip
"""A reader takes stride·n + 1 frames: the temporal compression of the video encoder (Wan 4, LTX 8). Modules of forms/
name the source."""


class ExportSettings(StrictModel):
    """What is exported, and how."""

    kind: ExportKind = Field(description="form of the output")
    layer: str = Field(default="accepted", description="LAYER or LAYER@RUN for the captions")
    captions: CaptionForm = Field(
        default="timed", description="base = whole clip only; timed = base and phases with times; prose = without times"
    )
    splits: tuple[SplitName, ...] = Field(
        default=("train", "val", "test"),
        min_length=1,
        description="splits to export; the clips of a set without splits count as train",
    )
    fps: int = Field(default=CLIP_RATE.num, ge=1, le=60, description="frames per second; 25 copies the files")
    frames: int | None = Field(
        default=None, ge=1, le=10_000, description="frames per video, cut from the start; null = the whole clip"
    )
    mirrored: bool = Field(default=False, description="add a mirrored copy of each training clip, captions included")
    clips_per_shard: int = Field(default=200, ge=1, le=100_000, description="webdataset: clips in one tar file")
    blocks: BlockPolicy = Field(default=BlockPolicy(), description="wording of the timed blocks")
    encoding: ClipEncodingSettings = Field(
        default=ClipEncodingSettings(), description="encoder settings of videos that are encoded again"
    )

    @model_validator(mode="after")
    def _frame_count_fits_the_reader(self) -> Self:
        stride = FRAME_STRIDE[self.kind]
        if self.frames is not None and (self.frames - 1) % stride:
            below = self.largest_allowed(self.frames)
            raise ValueError(
                f"expected {stride}n + 1 frames for {self.kind}, such as {below} or {below + stride}, got {self.frames}"
            )
        return self

    @property
    def rate(self) -> FrameRate:
        """Frame rate of the exported videos."""
        return FrameRate(self.fps)

    def largest_allowed(self, frames: int) -> int:
        """The largest frame count up to `frames`, at least 1, that the reader of this kind takes."""
        stride = FRAME_STRIDE[self.kind]
        return max(1, (frames - 1) // stride * stride + 1)
