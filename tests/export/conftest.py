"""A set of four drawn clips with sound, splits and a layer; a disc moves from left to right."""

from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.media.writer import write_clip
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Base, Phase, annotation_id
from xsheet.schemas.clip import Clip
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import ManifestColumn, SourceVideo, Split
from xsheet.schemas.time import CLIP_RATE, frame_start_us

RUN = Run(run_id="run_truth", kind="truth", tool_version="0")
FRAMES = {"clip_a": 50, "clip_b": 40, "clip_c": 45, "clip_mute": 50}
SPLIT = {"clip_a": "train", "clip_b": "val", "clip_c": "train", "clip_mute": "train"}


def pictures(frames: int):
    y, x = np.mgrid[:64, :96]
    for k in range(frames):
        inside = (x - 10 - k) ** 2 + (y - 32) ** 2 < 64
        yield np.where(inside[..., None], 230, 40).repeat(3, axis=-1).astype(np.uint8)


def draw_clip(folder: Path, clip_id: str, frames: int) -> Clip:
    sound = np.sin(np.arange(frames * 640) / 8).astype(np.float32) / 4
    path = f"media/{clip_id}.mp4"
    written = write_clip(folder / path, frames=pictures(frames), sound=None if clip_id == "clip_mute" else sound)
    return Clip(
        clip_id=clip_id, source_id=f"src_{clip_id}", start_us=0, end_us=frame_start_us(frames, CLIP_RATE),
        media_path=path, media_sha256=written.sha256, frames=frames, samples=written.samples, width=96, height=64,
    )  # fmt: skip


def annotation_of(clip: Clip) -> Annotation:
    """Raises the left arm in the first second, nods afterwards."""
    base = Base(
        text="A woman speaks to the camera in a room.", subject="a woman", framing="upper_body", scene="a room",
        camera="static", speaking="speaking",
    )  # fmt: skip
    phases = (
        Phase(
            phase_id="p1", track="arm_left", start_us=0, end_us=1_000_000, action="raise_hand",
            text="raises the left arm", laterality="left", kind="action", origin="truth",
        ),
        Phase(
            phase_id="p2", track="head", start_us=1_000_000, end_us=clip.duration_us, action="nod", text="nods twice",
            laterality="none", kind="gesture", origin="truth",
        ),
    )  # fmt: skip
    content = {"clip_id": clip.clip_id, "layer": "gold", "run_id": "run_truth", "sample_index": None, "phases": phases}
    return Annotation(
        annotation_id=annotation_id(base=base, **content), vocab_version="1", media_sha256=clip.media_sha256,
        status="ok", duration_us=clip.duration_us, base=base, **content,
    )  # fmt: skip


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory) -> Path:
    """To be read only."""
    folder = tmp_path_factory.mktemp("set")
    create_set(folder, "drawn | set")
    clips = [draw_clip(folder, name, frames) for name, frames in FRAMES.items()]
    tables.write_table(folder, tables.CLIPS, clips)
    columns = (ManifestColumn(key="licence", value="CC BY 4.0"), ManifestColumn(key="speaker", value="ann"))
    tables.write_table(
        folder,
        tables.SOURCES,
        [SourceVideo(source_id=c.source_id, path="a.mp4", status="ok", manifest_columns=columns) for c in clips],
    )
    tables.write_table(
        folder,
        tables.SPLITS,
        [
            Split(clip_id=c.clip_id, source_id=c.source_id, cluster="x", split=SPLIT[c.clip_id], identity_by="source")
            for c in clips
        ],
    )
    write_layer(folder, RUN, "gold", [annotation_of(clip) for clip in clips])
    return folder
