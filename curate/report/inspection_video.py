"""Inspection video: a clip with boxes, mesh, track ids, curves and phases burnt in, to find what is wrong with them.

write_inspection_video(set_folder, inspect_candidate(set_folder, "clip_3f2a"), Path("out.mp4"))
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.image import Rgb, fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import write_clip
from xsheet.curate.report.inspect import CandidateDetails
from xsheet.curate.report.overlay import FaceBox, draw_panel, draw_picture, draw_playhead
from xsheet.runtime.executor import Execution, Item, Row, run_task
from xsheet.schemas import ids, tables
from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ConfigError, MediaError
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.source import FaceTrack
from xsheet.schemas.time import CLIP_RATE, Span, frames_in

_LONG_SIDE_PX = 720  # of the picture
_MIN_WIDTH_PX = 640  # of the video: the panel needs room


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionJob:
    """What a worker needs to draw one clip."""

    media: Path
    out: Path
    signals: Signals
    phases: tuple[Phase, ...]
    boxes: tuple[tuple[FaceBox, ...], ...]  # per frame


class InspectionVideoTask:
    """Decodes one clip, tracks its faces again for the mesh, and writes the video."""

    name = "inspection_video"

    def open(self) -> None:
        """Nothing to load; each clip gets its own tracker."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Returns no rows: the video is a file.

        Raises:
            MediaError: the clip cannot be decoded, or the video cannot be encoded.
        """
        job: InspectionJob = item.payload
        with open_media(job.media, root=job.media.parent) as media:
            sound = media.sound()
            size = fit_size(*media.size, long_side=_LONG_SIDE_PX, multiple=2)
            width = max(size[0], _MIN_WIDTH_PX)
            panel = draw_panel(job.signals, job.phases, width=width)

            def pictures() -> Iterator[Rgb]:
                with FaceTracker(FaceSettings()) as tracker:
                    for frame in media.frames(size=size):
                        tracker.add(frame)
                        boxes = job.boxes[frame.index] if frame.index < len(job.boxes) else ()
                        meshes = [face.points for face in tracker.faces]
                        shown = draw_picture(
                            frame.rgb, frame=frame.index, signals=job.signals, boxes=boxes, meshes=meshes
                        )
                        below = draw_playhead(panel, frame.index, frames=job.signals.frames)
                        yield np.concatenate([_widened(shown, width), below])

            write_clip(job.out, frames=pictures(), sound=sound)
        return ()


def write_inspection_video(
    set_folder: Path, details: CandidateDetails, out: Path, *, layer: LayerRun | None = None
) -> Path:
    """Write the video of one kept candidate, in a worker process; returns the file.

    Args:
        set_folder: the set.
        details: the candidate.
        out: the MP4 file.
        layer: whose phases to draw; None takes the last layer that has the clip.

    Raises:
        ConfigError: the candidate was not kept, or its file is missing.
        MediaError: the clip cannot be decoded.
        RunError: no worker starts, or the disk is full.
    """
    clip = details.clip
    media = None if clip is None else (set_folder / clip.media_path).absolute()
    signals = None if clip is None else _signals_of(set_folder, clip.clip_id)
    if clip is None or media is None or signals is None or not media.is_file():
        raise ConfigError(
            where=details.measures.clip_id, expected="a kept candidate with its clip and signals",
            got="none" if clip is None else "a clip without its file or signals",
            hint="choose a candidate that `xsheet curate decide` kept, or run `xsheet curate run` again",
        )  # fmt: skip
    job = InspectionJob(
        media=media, out=out.absolute(), signals=signals, phases=_phases_of(set_folder, clip.clip_id, layer),
        boxes=_boxes(set_folder, clip, signals, details.track),
    )  # fmt: skip
    key = ids.content_key("inspection video", clip.clip_id, clip.media_sha256)
    with tempfile.TemporaryDirectory(prefix="xsheet-inspect-") as scratch:
        item = Item(key=key, name=clip.clip_id, payload=job)
        results = run_task(InspectionVideoTask(), [item], out=Path(scratch), execution=Execution(jobs=1))
        (outcome,) = results.outcomes()
    if outcome.status != "ok":
        raise MediaError(
            reason="decode_failed", where=clip.clip_id, expected="a clip that can be decoded",
            got=outcome.message or outcome.status, hint="run `xsheet curate run` to write the clip again",
        )  # fmt: skip
    return out


def _signals_of(set_folder: Path, clip_id: str) -> Signals | None:
    return next((row for row in tables.iter_records(set_folder, tables.SIGNALS) if row.clip_id == clip_id), None)


def _phases_of(set_folder: Path, clip_id: str, layer: LayerRun | None) -> tuple[Phase, ...]:
    layers = list(reversed(list_layers(set_folder))) if layer is None else [layer]
    for one in layers:
        for row in one.read():
            if row.clip_id == clip_id and row.status == "ok":
                return row.phases
    return ()


def _boxes(set_folder: Path, clip: Clip, signals: Signals, own: FaceTrack | None) -> tuple[tuple[FaceBox, ...], ...]:
    """Faces per frame of the clip: its own track and every other track of the source at that time."""
    if own is None:
        return ()
    frames = frames_in(Span(clip.start_us, clip.end_us), CLIP_RATE)
    offset_x, offset_y, scale = _crop_of(own, signals, frames)
    tracks = [one for one in tables.iter_records(set_folder, tables.TRACKS) if one.source_id == clip.source_id]
    boxes: list[tuple[FaceBox, ...]] = []
    for frame in frames:
        found = []
        for track in tracks:
            edges = _edges(track, frame)
            if edges is not None:
                x0, y0, x1, y1 = edges
                moved = (
                    (x0 - offset_x) / scale,
                    (y0 - offset_y) / scale,
                    (x1 - offset_x) / scale,
                    (y1 - offset_y) / scale,
                )
                found.append(FaceBox(track_id=track.track_id, is_own=track.track_id == own.track_id, box=moved))
        boxes.append(tuple(found))
    return tuple(boxes)


def _crop_of(own: FaceTrack, signals: Signals, frames: range) -> tuple[float, float, float]:
    """Origin and height of the clip's picture within its source, in heights of the source.

    A clip may be a crop; the signals are on its picture, the track is on the source's.
    """
    pairs = [
        (edges, signals.head_x[k], signals.head_y[k], signals.head_height[k])
        for k, frame in enumerate(frames)
        if (edges := _edges(own, frame)) is not None and k < len(signals.head_x)
    ]
    known = [(edges, x, y, h) for edges, x, y, h in pairs if x is not None and y is not None and h]
    if not known:
        return 0.0, 0.0, 1.0
    scale = float(np.median([(edges[3] - edges[1]) / h for edges, _, _, h in known]))
    x = float(np.median([(edges[0] + edges[2]) / 2 - scale * x for edges, x, _, _ in known]))
    y = float(np.median([(edges[1] + edges[3]) / 2 - scale * y for edges, _, y, _ in known]))
    return x, y, scale


def _edges(track: FaceTrack, frame: int) -> tuple[float, float, float, float] | None:
    k = frame - track.start_frame
    if not 0 <= k < len(track.x0):
        return None
    x0, y0, x1, y1 = track.x0[k], track.y0[k], track.x1[k], track.y1[k]
    return None if x0 is None or y0 is None or x1 is None or y1 is None else (x0, y0, x1, y1)


def _widened(picture: Rgb, width: int) -> Rgb:
    """The picture in the middle of a wider black one."""
    missing = width - picture.shape[1]
    if missing <= 0:
        return picture
    left = missing // 2
    return np.asarray(cv2.copyMakeBorder(picture, 0, 0, left, missing - left, cv2.BORDER_CONSTANT), np.uint8)
