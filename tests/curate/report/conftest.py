"""A set made of records with plausible numbers, so that reports can be tested without a single film."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from xsheet.curate.filter.decide import decide
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.media.thumbnails import encode_thumbnail, write_thumbnails
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip, FaceMeasure, Measures, PartMotion, PictureMeasure, SoundMeasure, SyncScore
from xsheet.schemas.sets import RunManifest, create_set
from xsheet.schemas.settings import load_settings, settings_sha256
from xsheet.schemas.source import CutScore, FaceTrack, NearDuplicate, Shot, SourceVideo, Split, Timeline
from xsheet.schemas.time import CLIP_RATE, Span, frame_at, frames_in

HOUR_US = 3_600_000_000
PIECE_US = 5_000_000


def keep_limits(*overrides: str) -> FilterLimits:
    return load_settings(FilterLimits, preset=files("xsheet.curate") / "presets" / "keep.yaml", overrides=overrides)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What the set is to hold."""

    sources: int = 4
    pieces: int = 6  # candidates per source, end to end
    seed: int = 0
    limits: FilterLimits = field(default_factory=keep_limits)
    stills: bool = False
    word: str = ""  # put into every text that comes from outside
    broken: int = 2
    twice: int = 1

    def source(self, index: int) -> SourceVideo:
        sha = ids.content_key("film", self.seed, index)
        return SourceVideo(
            source_id=ids.source_id(sha), path=f"videos/talk-{index:04d}{self.word}.mp4", sha256=sha, status="ok",
            size_bytes=9_000_000, container="mov", duration_us=(self.pieces + 1) * PIECE_US, video_codec="h264",
            width=1280, height=720, fps_num=30, fps_den=1, audio_codec="aac", audio_rate_hz=48_000,
        )  # fmt: skip

    def all_sources(self) -> list[SourceVideo]:
        fine = [self.source(k) for k in range(self.sources)]
        copies = [replace(row, path=f"copy/{row.path}", duplicate_of=row.path) for row in fine[: self.twice]]
        bad = [
            SourceVideo(
                source_id=ids.unreadable_source_id(f"bad/{k}"), path=f"bad/{k}{self.word}.mp4", status="failed",
                stage="probe", reason=("broken_header", "not_media")[k % 2],
                message=f"bad/{k}.mp4: expected a header, got 12 bytes{self.word}; remove it",
            )
            for k in range(self.broken)
        ]  # fmt: skip
        return [*fine, *copies, *bad]

    def measures(self) -> list[Measures]:
        rng = np.random.default_rng(self.seed)
        return [
            measure(self.source(s), Span(k * PIECE_US, (k + 1) * PIECE_US), rng, word=self.word)
            for s in range(self.sources)
            for k in range(self.pieces)
        ]


def measure(source: SourceVideo, span: Span, rng: np.random.Generator, *, word: str = "") -> Measures:
    """One candidate; some have no face, some no voice, the others plausible numbers around the limits."""
    shot, faceless = ids.shot_id(source.source_id, span), rng.random() < 0.08
    track = None if faceless else ids.track_id(shot, span.start_us, (0.2, 0.1, 0.5, 0.6))
    sync = SyncScore(
        scorer=f"lip_audio@1{word}", offset_frames=int(rng.integers(-4, 5)), confidence=float(rng.normal(5.5, 2.0)),
        margin=abs(float(rng.normal(3.0, 1.0))), windows=int(rng.integers(3, 40)),
    ) if rng.random() > 0.1 else SyncScore(scorer=f"lip_audio@1{word}", not_measurable=f"unvoiced{word}")  # fmt: skip
    late = sync.offset_frames is not None and abs(sync.offset_frames) > 1
    return Measures(
        clip_id=ids.clip_id(source.source_id, span, track), source_id=source.source_id, shot_id=shot, track_id=track,
        start_us=span.start_us, end_us=span.end_us, speaker=None if faceless else "only",
        sync=None if faceless else sync,
        sync_corrected=replace(sync, offset_frames=0) if late and not faceless else None,
        face=None if faceless else FaceMeasure(
            share_of_frames=float(min(1, rng.normal(1.0, 0.03))), faces_median=1.0,
            height_px=float(rng.lognormal(5.2, 0.5)), height_share=0.3, yaw_abs_deg=abs(float(rng.normal(15, 15))),
            pitch_abs_deg=abs(float(rng.normal(8, 6))), sharpness=float(rng.lognormal(5, 1.2)),
            cut_off=max(0.0, float(rng.normal(-0.05, 0.08))), luma=110.0,
        ),
        picture=PictureMeasure(
            luma_mean=float(np.clip(rng.normal(110, 40), 0, 255)), frozen_share=max(0.0, float(rng.normal(-0.1, 0.15))),
            letterbox_share=0.0, camera_motion=float(rng.lognormal(-4, 1)), damaged_share=0.0, upside_down_share=0.0,
        ),
        sound=SoundMeasure(
            voice_share=float(np.clip(rng.normal(0.75, 0.2), 0, 1)), voice_detector=f"energy@1{word}",
            loudness_db=float(rng.normal(-26, 6)), snr_db=float(rng.normal(24, 8)), clipped_share=0.0,
            silent_share=max(0.0, float(rng.normal(-0.2, 0.2))), music_likelihood=0.0,
        ),
        motion=(
            PartMotion(part="head", speed_median=0.1, speed_p90=float(rng.lognormal(-1.5, 0.5)), visible_share=1.0),
            PartMotion(part="hand_left", speed_median=0.2, speed_p90=float(rng.lognormal(-1, 0.8)), visible_share=0.6),
        ),
    )  # fmt: skip


def write(folder: Path, planted: Planted) -> Path:
    """Write the set with its verdicts, clips, shots, timelines, tracks, manifest and stills."""
    create_set(folder, f"talks{planted.word}")
    measures = planted.measures()
    tables.write_table(folder, tables.SOURCES, planted.all_sources())
    tables.write_table(folder, tables.MEASURES, measures)
    rows = tables.to_arrow(measures, tables.MEASURES)
    verdicts = tables.from_arrow(decide(rows, planted.limits), tables.VERDICTS) if measures else []
    tables.write_table(folder, tables.VERDICTS, verdicts)
    kept = [m for m, v in zip(measures, verdicts, strict=True) if v.kept]
    tables.write_table(folder, tables.CLIPS, [clip(m) for m in kept])
    tables.write_table(folder, tables.SHOTS, [shot(m) for m in measures])
    tables.write_table(folder, tables.TIMELINES, [timeline(planted.source(k)) for k in range(planted.sources)])
    tables.write_table(folder, tables.TRACKS, [t for m in measures if (t := track(m)) is not None])
    tables.write_table(folder, tables.NEAR_DUPLICATES, alike(planted))
    tables.write_table(folder, tables.SPLITS, [split(m, planted) for m in kept])
    manifest(planted, counts={"ok": planted.sources, "failed": planted.broken}).write(folder)
    if planted.stills:
        draw_stills(folder, measures)
    return folder


def clip(m: Measures) -> Clip:
    frames = len(frames_in(m.span, CLIP_RATE))
    return Clip(
        clip_id=m.clip_id, source_id=m.source_id, track_id=m.track_id, start_us=m.start_us, end_us=m.end_us,
        media_path=f"media/{m.clip_id[5:7]}/{m.clip_id}.mp4", media_sha256="0" * 64, frames=frames,
        samples=frames * 640, width=1280, height=720,
    )  # fmt: skip


def alike(planted: Planted) -> list[NearDuplicate]:
    """The second source is a copy of the first, in picture and sound."""
    if planted.sources < 2:
        return []
    one, other = (planted.source(k).source_id for k in (0, 1))
    return [
        NearDuplicate(
            group=min(one, other), source_id=one, other_id=other, by=by, lag_frames=3, matched_frames=500,
            bit_error=0.04,
        )
        for by in ("picture", "sound")
    ]  # fmt: skip


def split(m: Measures, planted: Planted) -> Split:
    name = "val" if m.source_id == planted.source(planted.sources - 1).source_id else "train"
    by = f"shape@1{planted.word}"
    return Split(clip_id=m.clip_id, source_id=m.source_id, cluster=m.source_id, split=name, identity_by=by)


def shot(m: Measures) -> Shot:
    scores = (CutScore(detector="adaptive@3.5", score=7.25),) if m.start_us else ()
    opens = "cut" if m.start_us else "start"
    return Shot(
        shot_id=m.shot_id, source_id=m.source_id, start_us=m.start_us, end_us=m.end_us, opens_with=opens,
        cut_scores=scores,
    )  # fmt: skip


def timeline(source: SourceVideo) -> Timeline:
    frames = len(frames_in(Span(0, source.duration_us), CLIP_RATE))
    wave = np.sin(np.arange(frames) / 9)
    return Timeline(
        source_id=source.source_id, frames=frames, extractor="synthetic@1", voice=tuple((wave > 0).astype(float)),
        energy_db=tuple(-30 + 10 * wave), mouth_open_from_audio=tuple(wave),
    )  # fmt: skip


def track(m: Measures) -> FaceTrack | None:
    if m.track_id is None:
        return None
    seen = frames_in(m.span, CLIP_RATE)
    flat = (0.25,) * len(seen)
    return FaceTrack(
        track_id=m.track_id, source_id=m.source_id, detector="synthetic@1", start_frame=seen.start, frames=len(seen),
        x0=flat, y0=flat, x1=flat, y1=flat, mouth_open=tuple(0.1 + 0.1 * np.sin(np.arange(len(seen)) / 3)),
    )  # fmt: skip


def manifest(planted: Planted, *, counts: dict[str, int]) -> RunManifest:
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return RunManifest(
        command="curate run", arguments={"out": f"set{planted.word}", "jobs": "2"},
        settings={"limits": planted.limits.model_dump(mode="json"), "note": planted.word},
        settings_sha256=settings_sha256(planted.limits), versions={"python": "3.11", "av": f"18{planted.word}"},
        started=started, finished=started + timedelta(seconds=420), counts=counts,
        seconds={"probe": 12.5, "measure": 310.0, "decide": 0.4, "encode": 90.0, f"cpu.decode{planted.word}": 120.0,
                 "cpu.faces": 340.0, "cpu.sync": 60.0},
    )  # fmt: skip


def draw_stills(folder: Path, rows: list[Measures], *, identities: int = 3) -> None:
    """A picture of a puppet per candidate; few identities, for making one takes as long as many pictures."""
    puppets = [Puppet(random_identity(k), height_px=192) for k in range(min(identities, len(rows)))]
    rng = np.random.default_rng(5)
    stills: dict[str, dict[int, bytes]] = {}
    for k, row in enumerate(rows):
        pose = Pose(yaw_deg=float(rng.normal(0, 14)), mouth_open=float(rng.random()), smile=float(rng.random()))
        picture = puppets[k % len(puppets)].draw(pose)
        still = encode_thumbnail(np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8))
        stills.setdefault(row.source_id, {})[frame_at((row.start_us + row.end_us) // 2, CLIP_RATE)] = still
    for source_id, of_source in stills.items():
        write_thumbnails(folder, source_id, of_source)


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Planted], Path]:
    """Write a set once for all tests; to be read only."""
    written: dict[str, Path] = {}

    def write_once(planted: Planted) -> Path:
        key = repr(planted)
        if key not in written:
            written[key] = write(tmp_path_factory.mktemp("planted") / "set", planted)
        return written[key]

    return write_once


@pytest.fixture
def make_set(tmp_path: Path, written_once: Callable[[Planted], Path]) -> Callable[..., Path]:
    """A copy of a set in the test's folder; arguments are those of Planted."""

    def make(name: str = "set", **planted: object) -> Path:
        return Path(shutil.copytree(written_once(Planted(**planted)), tmp_path / name))

    return make


@pytest.fixture
def limits() -> Callable[..., FilterLimits]:
    """The preset `keep` with overrides."""
    return keep_limits


@pytest.fixture
def plausible() -> Callable[..., Measures]:
    """One candidate of a source over a span, with numbers drawn from a generator."""
    return measure
