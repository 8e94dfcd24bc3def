"""Items of the steps after the probe, each with a result key of exactly what its step reads."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xsheet.curate.discover import InputFile
from xsheet.curate.settings import AnalysisSettings, ClipExportSettings, SegmentSettings
from xsheet.curate.sync.base import SyncMethod
from xsheet.curate.tasks.analyse import AnalysisJob, AnalysisTask
from xsheet.curate.tasks.export import ExportJob, ExportTask
from xsheet.curate.tasks.probe import source_path
from xsheet.curate.tasks.segment import SegmentJob, SegmentTask
from xsheet.curate.weights import model_hashes
from xsheet.runtime.executor import Item, RunResults
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Measures
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceVideo


def analysis_items(
    inputs: Sequence[InputFile],
    sources: Sequence[SourceVideo],
    settings: AnalysisSettings,
    *,
    set_folder: Path,
    models: Path | None,
) -> list[Item]:
    """Return one item per usable source; files with identical bytes share one item.

    Raises:
        ConfigError: the sync scorer needs weights that are not in the models folder.
    """
    read = [settings_sha256(settings.decode), _network_key(settings.sync, models), model_hashes(models)]
    return [
        Item(
            key=ids.content_key("analysis", AnalysisTask.VERSION, source.sha256, *read),
            name=source.path,
            payload=AnalysisJob(
                source_path=replace(source_path(input_file), sha256=source.sha256),
                source=source,
                set_folder=set_folder.absolute(),
            ),
        )
        for input_file, source in zip(inputs, sources, strict=True)
        if source.status == "ok" and source.duplicate_of is None
    ]


def segment_items(sources: Sequence[SourceVideo], settings: SegmentSettings, *, set_folder: Path) -> list[Item]:
    """Return one item per analysed source, in the order of the keys of its results."""
    analysed = {source.analysis_key: source for source in sources if source.analysis_key is not None}
    read = settings_sha256(settings)
    return [
        Item(
            key=ids.content_key("segment", SegmentTask.VERSION, key, _segments_key(analysed[key]), read),
            name=analysed[key].path,
            payload=SegmentJob(source=analysed[key], set_folder=set_folder.absolute(), analysis_key=key),
        )
        for key in sorted(analysed)
    ]


class KeptClipItems:
    """One export item per kept candidate. The length is known at once; items are built lazily."""

    def __init__(
        self,
        analysis: Sequence[Item],
        segments: Sequence[Item],
        segmented: RunResults,
        settings: ClipExportSettings,
        *,
        set_folder: Path,
    ) -> None:
        verdicts = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
        self._kept_ids = set(verdicts.filter(verdicts["kept"])["clip_id"].to_pylist())
        self._analysis_jobs: dict[str, AnalysisJob] = {item.key: item.payload for item in analysis}
        self._segments = segments
        self._segmented = segmented
        self._settings_sha256 = settings_sha256(settings)

    def __len__(self) -> int:
        return len(self._kept_ids)

    def __iter__(self) -> Iterator[Item]:
        for item in self._segments:
            job: SegmentJob = item.payload
            for candidate in self._segmented.rows_of(item.key, Measures):
                if candidate.clip_id in self._kept_ids:
                    yield self._item(job, candidate)

    def _item(self, job: SegmentJob, candidate: Measures) -> Item:
        segment = job.source.segment_at(candidate.start_us)
        export = ExportJob(
            source_path=self._analysis_jobs[job.analysis_key].source_path,
            set_folder=job.set_folder,
            candidate=candidate,
            source_key=job.analysis_key,
            crop=None if segment is None else segment.crop,
        )
        return Item(
            key=ids.content_key(
                "export", ExportTask.VERSION, job.analysis_key, candidate.clip_id, export.shift_frames,
                list(export.crop or ()), self._settings_sha256,
            ),
            name=f"{job.source.path} {candidate.span}",
            payload=export,
        )  # fmt: skip


def _network_key(sync: SyncMethod, models: Path | None) -> list[object]:
    weights = sync.weights(models)
    return (
        [] if sync.network is None or weights is None else [sync.network.model_dump(mode="json"), file_sha256(weights)]
    )


def _segments_key(source: SourceVideo) -> list[list[object]]:
    """Key of what affects the candidates: times and crops of the segments, not their texts."""
    return [[one.start_us, one.end_us, list(one.crop or ())] for one in source.segments]
