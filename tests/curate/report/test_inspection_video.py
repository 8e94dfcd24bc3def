"""The inspection video: what is drawn over the frames and below them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import write_clip
from xsheet.curate.report.inspect import inspect_candidate
from xsheet.curate.report.inspection_video import write_inspection_video
from xsheet.curate.report.overlay import FaceBox, draw_panel, draw_picture, draw_playhead
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.demo.film.truth import truth_rows, truth_run, truth_shots
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import write_layer
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import FaceTrack, SourceVideo

FRAMES = 100


def signals(**series) -> Signals:
    return Signals(clip_id="clip_a", frames=FRAMES, extractor="truth", **series)


@pytest.fixture(scope="module")
def planted() -> tuple[Signals, Annotation, Measures, object]:
    plan = plan_film(0, seed=4, kind="talk")
    rows = list(truth_rows(plan, "src_a"))
    (measures,) = (row for row in rows if isinstance(row, Measures))
    (series,) = (row for row in rows if isinstance(row, Signals))
    (truth,) = (row for row in rows if isinstance(row, Annotation))
    return series, truth, measures, plan


def test_every_face_has_its_box_and_the_own_one_another_colour():
    grey = np.full((200, 300, 3), 90, np.uint8)
    faces = [
        FaceBox(track_id="track_own", is_own=True, box=(0.2, 0.3, 0.5, 0.7)),
        FaceBox(track_id="track_other", is_own=False, box=(0.9, 0.3, 1.2, 0.7)),
    ]
    shown = draw_picture(grey, frame=3, signals=signals(), boxes=faces, meshes=[np.array([[250.0, 150.0, 0.0]])])
    left, right = shown[100, 40].tolist(), shown[100, 180].tolist()
    assert left != right
    assert [90, 90, 90] not in (left, right, shown[150, 250].tolist())
    assert (grey == 90).all()


def test_the_panel_has_a_row_for_each_track_and_each_measured_series(planted):
    series, truth, _, _ = planted
    bare = draw_panel(signals(), (), width=640)
    with_curves = draw_panel(series, (), width=640)
    with_phases = draw_panel(series, truth.phases, width=640)
    assert bare.shape[0] < with_curves.shape[0] < with_phases.shape[0]
    assert len({panel.shape[0] % 2 for panel in (bare, with_curves, with_phases)}) == 1


def test_the_playhead_moves_and_leaves_the_panel_as_it_is(planted):
    series, truth, _, _ = planted
    panel = draw_panel(series, truth.phases, width=640)
    before = panel.copy()
    places = [
        np.flatnonzero((draw_playhead(panel, k, frames=series.frames) != panel).any(axis=(0, 2)))[0] for k in (0, 50)
    ]
    assert places[0] < places[1]
    assert (panel == before).all()


def build(folder, planted) -> str:
    """A set of one kept candidate with a track, a clip, signals and a layer."""
    series, truth, measures, plan = planted
    create_set(folder, "set")
    path = f"media/aa/{measures.clip_id}.mp4"
    file = write_clip(folder / path, frames=render_film(plan, height_px=256), sound=plan.sound)
    clip = Clip(
        clip_id=measures.clip_id, source_id="src_a", track_id=measures.track_id, start_us=measures.start_us,
        end_us=measures.end_us, media_path=path, media_sha256=file.sha256, frames=file.frames, samples=file.samples,
        width=file.width, height=file.height,
    )  # fmt: skip
    head = np.array([series.head_x, series.head_y, series.head_height])
    (x, y, height), half = head, head[2] / 2
    edges = {"x0": x - height / 3, "x1": x + height / 3, "y0": y - half, "y1": y + half}
    track = FaceTrack(
        track_id=measures.track_id, source_id="src_a", detector="truth", start_frame=0, frames=series.frames,
        **{name: tuple(values.tolist()) for name, values in edges.items()},
    )  # fmt: skip
    rows: Iterator[tuple] = iter([
        (tables.SOURCES, [SourceVideo(source_id="src_a", path="film.mp4", status="ok")]),
        (tables.SHOTS, list(truth_shots(plan, "src_a"))), (tables.TRACKS, [track]), (tables.MEASURES, [measures]),
        (tables.CLIPS, [clip]), (tables.SIGNALS, [series]),
    ])  # fmt: skip
    for table, records in rows:
        tables.write_table(folder, table, records)
    write_layer(folder, truth_run(4), "gold", [truth])
    return measures.clip_id


@pytest.fixture(scope="module")
def planted_set(tmp_path_factory, planted) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("inspect") / "set"
    return folder, build(folder, planted)


@pytest.mark.slow
def test_the_video_has_every_frame_the_sound_and_the_panel_below(tmp_path, planted, planted_set):
    series, (folder, clip_id) = planted[0], planted_set
    out = write_inspection_video(folder, inspect_candidate(folder, clip_id), tmp_path / "out.mp4")
    with open_media(out, root=tmp_path) as media:
        assert media.size[1] > 256
        frames = [frame.rgb for frame in media.frames(size=media.size)]
        assert media.sound() is not None
    assert len(frames) == series.frames
    below = [frame[-40:].astype(int) for frame in (frames[5], frames[60])]
    assert np.abs(below[0] - below[1]).max() > 60  # the playhead has moved


@pytest.mark.slow
def test_a_candidate_without_its_clip_is_a_clear_error(tmp_path, planted_set):
    folder, clip_id = planted_set
    shutil.copytree(folder, tmp_path / "set", ignore=shutil.ignore_patterns("*.mp4"))
    with pytest.raises(ConfigError, match="a kept candidate"):
        write_inspection_video(tmp_path / "set", inspect_candidate(tmp_path / "set", clip_id), tmp_path / "out.mp4")
