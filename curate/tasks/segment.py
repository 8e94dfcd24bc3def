"""Segment one source: shots, candidates and their measures, from the stored results of its decode alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.curate.candidates.measure import extract_candidates
from xsheet.curate.settings import SegmentSettings
from xsheet.curate.shots.detect import find_shots
from xsheet.curate.sync.base import SyncDistances, SyncScorer
from xsheet.curate.tasks.analyse import AnalysisTask
from xsheet.curate.tasks.cpu_usage import CpuProfiler
from xsheet.runtime.executor import Item, Row
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.errors import RunError
from xsheet.schemas.source import FaceTrack, SourceVideo, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentJob:
    """One analysed source for a worker."""

    source: SourceVideo
    set_folder: Path  # absolute; has the stored results
    analysis_key: str  # key of those results


class SegmentTask:
    """Finds shots and candidates of one source; no pictures, no sound. The payload of an item is a SegmentJob."""

    name = "segment"
    VERSION = 1  # part of the keys of results; raise it with every change of the rows

    def __init__(self, settings: SegmentSettings) -> None:
        self.stage = "segment"
        self._settings = settings
        self._stored: ResultStore | None = None  # kept over items, with its index

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Return shots and measured candidates.

        Raises:
            RunError: the results of the decode lack what the sync scorer needs.
        """
        job: SegmentJob = item.payload
        profiler = CpuProfiler()
        with profiler("segment"):
            rows = self._segment(job)
        return [*rows, *profiler.usage()]

    def _segment(self, job: SegmentJob) -> list[Row]:
        settings, source = self._settings, job.source
        assert source.width is not None, "an analysed source has a size"
        assert source.height is not None, "an analysed source has a size"
        self._stored = self._stored or ResultStore(job.set_folder, AnalysisTask.name)
        stored = self._stored.rows_by_kind(job.analysis_key, Timeline, FaceTrack, SyncDistances)
        if not stored[Timeline]:
            raise RunError(
                where=source.path, expected="stored results of its decode", got="none or damaged ones",
                hint="xsheet curate run decodes it again",
            )  # fmt: skip
        (timeline,), tracks = stored[Timeline], stored[FaceTrack]
        shots = find_shots(timeline, settings.shots)
        scorers = self._scorers(timeline, tracks, stored[SyncDistances], where=source.path)
        candidates = extract_candidates(
            timeline,
            shots,
            tracks,
            height_px=source.height,
            scorer=scorers[0],
            second_scorer=scorers[1] if len(scorers) > 1 else None,
            speaker_scorer=scorers[settings.sync.speaker_scorer],
            select_speaker=settings.sync.select_speaker,
            settings=settings.candidates,
            segments=source.segments,
            aspect=source.width / source.height,
        )
        return [*shots, *candidates]

    def _scorers(
        self, timeline: Timeline, tracks: Sequence[FaceTrack], distances: Sequence[SyncDistances], *, where: str
    ) -> tuple[SyncScorer, ...]:
        sync, network = self._settings.sync, self._settings.sync.network
        if network is not None and timeline.voice and tracks:
            lags = {row.max_lag_frames for row in distances}
            if len(distances) < len(tracks) or lags != {network.max_lag_frames}:
                raise RunError(
                    where=where, expected=f"distances of {sync.name} up to {network.max_lag_frames} frames",
                    got=f"up to {max(lags)} frames" if lags else "none; another scorer was chosen for the decode",
                    hint=f"decode again: xsheet curate run --set analysis.sync.name={sync.name} --models DIR",
                )  # fmt: skip
        return sync.scorers(timeline, distances)
