"""A small set of real clips whose pictures tell left from right, with sound, faces, a split and a layer."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.media.writer import write_clip
from xsheet.runtime.executor import Execution
from xsheet.schemas import ids, tables
from xsheet.schemas.annotation import Annotation, Base, Phase, annotation_id
from xsheet.schemas.clip import Clip, Measures, PartMotion, Signals
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import Split
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us
from xsheet.train.data.cache.build import Cache, build_cache, open_cache
from xsheet.train.data.settings import CacheSettings, PictureEncodingSettings, TextSettings

CLIPS = {"clip_a": 41, "clip_b": 33, "clip_c": 21, "clip_d": 33, "clip_short": 9, "clip_mute": 33}
"""Lengths in frames at 25 fps."""
RUN = Run(run_id="run_truth", kind="truth", tool_version="0")


def pictures(frames: int, *, seed: int):
    """A warm disc that moves over a dim ramp from left to right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :128]
    ramp = np.stack([x / 2 + 40, x / 3 + 50, 90 - x / 4], axis=-1)
    colour = rng.integers(120, 250, 3)
    for k in range(frames):
        inside = (x - 30 - k) ** 2 + (y - 48) ** 2 < 20**2
        yield np.where(inside[..., None], colour, ramp).astype(np.uint8)


def clip_of(folder: Path, clip_id: str, frames: int, *, seed: int) -> Clip:
    path = f"media/{clip_id}.mp4"
    rng = np.random.default_rng(seed)
    sound = None if clip_id == "clip_mute" else rng.normal(0, 0.1, frames * 640).astype(np.float32)
    written = write_clip(folder / path, frames=pictures(frames, seed=seed), sound=sound)
    return Clip(
        clip_id=clip_id, source_id=f"src_{clip_id}", start_us=0, end_us=frame_start_us(frames, CLIP_RATE),
        media_path=path, media_sha256=written.sha256, frames=written.frames, samples=written.samples,
        width=written.width, height=written.height,
    )  # fmt: skip


def annotation_of(clip: Clip) -> Annotation:
    """The subject raises the left arm, then nods."""
    base = Base(
        text="A woman speaks to the camera, a lamp on her left.", subject="a woman", framing="upper_body",
        scene="a room", camera="static", speaking="speaking",
    )  # fmt: skip
    end = clip.duration_us
    phases = (
        Phase(
            phase_id="p1", track="arm_left", start_us=0, end_us=end // 2, action="raise_hand",
            text="raises the left arm", laterality="left", kind="action", origin="truth",
        ),
        Phase(
            phase_id="p2", track="head", start_us=end // 2, end_us=end, action="nod", text="nods twice",
            laterality="none", kind="gesture", origin="truth",
        ),
    )  # fmt: skip
    annotation = {
        "clip_id": clip.clip_id,
        "layer": "gold",
        "run_id": RUN.run_id,
        "sample_index": None,
        "phases": phases,
    }
    return Annotation(
        annotation_id=annotation_id(base=base, **annotation), vocab_version="1", media_sha256=clip.media_sha256,
        status="ok", duration_us=end, base=base, **annotation,
    )  # fmt: skip


@pytest.fixture(scope="session")
def pristine_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once; tests get copies."""
    folder = tmp_path_factory.mktemp("set")
    create_set(folder, "test")
    clips = [clip_of(folder, name, frames, seed=k) for k, (name, frames) in enumerate(CLIPS.items())]
    tables.write_table(folder, tables.CLIPS, clips)
    tables.write_table(folder, tables.SIGNALS, [face_of(clip) for clip in clips])
    tables.write_table(folder, tables.MEASURES, [measured(clip) for clip in clips])
    tables.write_table(
        folder,
        tables.SPLITS,
        [
            Split(
                clip_id=clip.clip_id, source_id=clip.source_id, cluster=clip.source_id, identity_by="source",
                split="val" if clip.clip_id == "clip_d" else "train",
            )
            for clip in clips
        ],
    )  # fmt: skip
    write_layer(folder, RUN, "gold", [annotation_of(clip) for clip in clips if clip.clip_id != "clip_c"])
    return folder


def face_of(clip: Clip) -> Signals:
    """The disc is the face: 40 pixels high, and it moves a pixel a frame."""
    return Signals(
        clip_id=clip.clip_id, frames=clip.frames, extractor="truth",
        head_x=tuple((30 + k) / 96 for k in range(clip.frames)), head_y=(0.5,) * clip.frames,
        head_height=(40 / 96,) * clip.frames, roll_deg=(0.0,) * clip.frames,
    )  # fmt: skip


def measured(clip: Clip) -> Measures:
    speed = 0.02 if clip.clip_id == "clip_b" else 0.5
    moved = (PartMotion(part="head", speed_median=speed / 2, speed_p90=speed, visible_share=1.0),)
    return Measures(
        clip_id=clip.clip_id, source_id=clip.source_id, shot_id=ids.shot_id(clip.source_id, Span(0, 1)),
        start_us=clip.start_us, end_us=clip.end_us, motion=moved,
    )  # fmt: skip


@pytest.fixture
def clip_set(pristine_set: Path, tmp_path: Path) -> Path:
    """A set of its own for a test that writes."""
    return Path(shutil.copytree(pristine_set, tmp_path / "set"))


@pytest.fixture(scope="session")
def settings() -> CacheSettings:
    """Two lengths, one size, three texts; up to two crops."""
    return CacheSettings(
        picture=PictureEncodingSettings(frame_counts=(21, 33), resolutions=((64, 64),), crops_per_clip=2),
        text=TextSettings(layer="gold", forms=("brief", "plain", "blocks")),
    )


@pytest.fixture(scope="session")
def annotation(pristine_set: Path) -> Annotation:
    """Of a clip of 41 frames: the left arm for its first half, nods in the second."""
    clip = next(clip for clip in tables.iter_records(pristine_set, tables.CLIPS) if clip.clip_id == "clip_a")
    return annotation_of(clip)


@pytest.fixture(scope="session")
def built_set(pristine_set: Path, settings: CacheSettings, build_once):
    """A set with its cache, to be read only, and the summary of building it."""

    def build(folder: Path):
        shutil.copytree(pristine_set, folder, dirs_exist_ok=True)
        return folder, build_cache(folder, settings, execution=Execution(), shows_progress=False)

    return build_once("cached-set", build)


@pytest.fixture
def built_copy(built_set, tmp_path: Path) -> Path:
    """A set with its cache, for a test that writes."""
    return Path(shutil.copytree(built_set[0], tmp_path / "built"))


@pytest.fixture(scope="session")
def cache(built_set) -> Cache:
    """The cache of that set."""
    folder, built = built_set
    return open_cache(folder, built.spec)
