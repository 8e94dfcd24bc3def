"""Probe every input file once: one `sources` row per input, usable or not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from xsheet.curate.discover import InputFile
from xsheet.curate.manifest import ManifestSegment
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.paths import path_to_text
from xsheet.curate.remote import fetched
from xsheet.runtime.executor import Execution, Item, Outcome, Progress, RunResults, run_task
from xsheet.runtime.storage.place import is_other_url, is_url
from xsheet.runtime.storage.stores import RemoteObject
from xsheet.schemas import ids
from xsheet.schemas.errors import MediaError
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceSegment, SourceVideo, UnusableSegment
from xsheet.schemas.time import US_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePath:
    """Absolute path of an input and the folder it must lie below, or its URL."""

    path: str
    root: Path
    remote: RemoteObject | None = None
    sha256: str | None = None  # what a fetched file must have; None before it was probed

    @contextmanager
    def local(self, on_progress: Callable[[], None]) -> Iterator["SourcePath"]:
        """The input as a local file; a remote one is fetched, and stays while the block runs.

        Raises:
            MediaError: missing or fetch_failed.
        """
        if not is_url(self.path):
            yield self
            return
        if self.remote is None:
            raise MediaError(
                reason="missing", where=self.path, expected="an object", got="nothing", hint="check the URL"
            )
        with fetched(self.remote, sha256=self.sha256, on_progress=on_progress) as path:
            yield SourcePath(path=str(path), root=path.parent)


class ProbeTask:
    """Probes one input per item; the payload is a SourcePath."""

    name = "probe"
    VERSION = 1  # part of the keys of results; raise it with every change of the rows
    WORKER_MODULES = ("xsheet.curate.media.reader",)

    def __init__(self, *, limits: MediaLimits | None = None, count_frames: bool = False) -> None:
        self.stage = "probe"
        self._limits = limits or MediaLimits()
        self._count_frames = count_frames

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> list[SourceVideo]:
        """Return one `sources` row.

        Raises:
            MediaError: the input cannot be used; the executor records a failed row.
        """
        from xsheet.curate.media.reader import probe  # noqa: PLC0415 - only workers need the decoder

        remote_or_local: SourcePath = item.payload
        with remote_or_local.local(self._fetching) as source:
            self.stage = "probe"
            return [probe(source.path, root=source.root, limits=self._limits, count_frames=self._count_frames)]

    def _fetching(self) -> None:
        self.stage = "fetch"


def probe_sources(
    inputs: Sequence[InputFile],
    *,
    out: Path,
    limits: MediaLimits,
    execution: Execution,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[SourceVideo]:
    """Probe files; one row for each, in the given order.

    Returns:
        Rows with status ok, or failed with stage, reason and message. Byte-identical files name the first one as
        `duplicate_of`.
    """
    items = [_item(input_file, limits) for input_file in inputs]
    # Two inputs can be one file, as `a.mp4` and its absolute path are.
    distinct = {item.key: item for item in items}
    task = ProbeTask(limits=limits)
    results = run_task(
        task, distinct.values(), out=out, execution=execution, retry_failed=retry_failed, progress=progress
    )
    outcomes = {outcome.key: outcome for outcome in results.outcomes()}
    rows = (_source_row(outcomes[item.key], results, path=item.name) for item in items)
    return list(_mark_duplicates(with_manifest(row, file) for row, file in zip(rows, inputs, strict=True)))


def with_manifest(source: SourceVideo, file: InputFile) -> SourceVideo:
    """The row with what the manifest states; segments that do not fit the video are kept apart.

    It is failed if no segment fits.
    """
    source = replace(source, manifest_columns=file.manifest_columns)
    if source.status != "ok" or not file.segments:
        return source
    segments: list[SourceSegment] = []
    unusable: list[UnusableSegment] = []
    for one in file.segments:
        try:
            segments.append(_resolve_segment(one, source))
        except MediaError as error:
            unusable.append(
                UnusableSegment(
                    start_us=one.start_us,
                    end_us=one.end_us,
                    crop=one.crop or (),
                    crop_height=one.crop_height,
                    columns=one.columns,
                    message=str(error),
                )
            )
    source = replace(source, segments=tuple(segments), unusable_segments=tuple(unusable))
    if segments:
        return source
    return replace(source, status="failed", stage="segments", reason="bad_segment", message=unusable[0].message)


def _resolve_segment(segment: ManifestSegment, source: SourceVideo) -> SourceSegment:
    """A segment within its video; an end up to a second behind it is the end of the video.

    Raises:
        MediaError: bad_segment.
    """
    assert source.duration_us is not None and source.width is not None and source.height is not None
    end_us = source.duration_us if segment.end_us is None else min(segment.end_us, source.duration_us)
    if segment.start_us >= end_us or (segment.end_us or 0) > source.duration_us + _END_TOLERANCE_US:
        wanted = "its end" if segment.end_us is None else f"{segment.end_us / US_PER_S:g} s"
        raise _segment_error(
            source, f"segments within its {source.duration_us / US_PER_S:.3f} s",
            f"{segment.start_us / US_PER_S:g} s to {wanted}",
        )  # fmt: skip
    if segment.crop is None:
        return SourceSegment(start_us=segment.start_us, end_us=end_us, columns=segment.columns)
    x0, y0, x1, y1 = segment.crop
    if max(segment.crop) > 1:
        # Heights of one video differ between downloads, its shape does not.
        height = segment.crop_height or source.height
        width = source.width * height / source.height
        x0, y0, x1, y1 = x0 / width, y0 / height, x1 / width, y1 / height
    if max(segment.crop) > 1 and min((x1 - x0) * source.width, (y1 - y0) * source.height) < MIN_CROP_PX:
        got = ", ".join(f"{edge:g}" for edge in segment.crop)
        raise _segment_error(source, f"shares of at most 1, or a crop of at least {MIN_CROP_PX} pixels", got)
    if max(x1, y1) > 1:
        got = ", ".join(f"{edge:g}" for edge in segment.crop)
        raise _segment_error(source, f"a crop within {source.width}×{source.height} pixels", got)
    return SourceSegment(start_us=segment.start_us, end_us=end_us, x0=x0, y0=y0, x1=x1, y1=y1, columns=segment.columns)


def _segment_error(source: SourceVideo, expected: str, got: str) -> MediaError:
    hint = "correct the row of the manifest"
    return MediaError(reason="bad_segment", where=source.path, expected=expected, got=got, hint=hint)


MIN_CROP_PX = 2  # a smaller crop is one in shares that reaches beyond the picture, not one in pixels
_END_TOLERANCE_US = 1_000_000  # published lists round to seconds


def source_path(input_file: InputFile) -> SourcePath:
    """Absolute path and root of an input, or its URL."""
    if input_file.is_remote:
        return SourcePath(path=input_file.path, root=input_file.root, remote=input_file.remote)
    # A worker runs in another folder; a URL stays one, and is refused as one.
    path = input_file.path if is_other_url(input_file.path) else str(Path(input_file.path).absolute())
    return SourcePath(path=path, root=input_file.root)


def with_outcome(source: SourceVideo, outcome: Outcome) -> SourceVideo:
    """Return the row of a source that a step rejected or failed."""
    return replace(source, status=outcome.status, stage=outcome.stage, reason=outcome.reason, message=outcome.message)


MEASURED_FIELDS = (
    "frames_decoded", "frames_damaged", "frames_unordered", "frames_resized", "audio_track", "audio_codec",
    "audio_rate_hz", "audio_channels", "audio_start_us",
)  # fmt: skip
"""Fields of a source that the analysis knows better than the probe."""


def with_measured_fields(source: SourceVideo, measured: SourceVideo) -> SourceVideo:
    """The row of a source with the fields that its analysis found."""
    return replace(source, **{name: getattr(measured, name) for name in MEASURED_FIELDS})


def _item(input_file: InputFile, limits: MediaLimits) -> Item:
    # Size and modification time stand for the content here; the task hashes the file when it reads it.
    try:
        content: list[object] = []
        if input_file.remote is not None:
            content = [input_file.remote.size_bytes, input_file.remote.version]
        elif not input_file.is_remote:
            stat = Path(input_file.path).stat()
            content = [stat.st_size, stat.st_mtime_ns]
    except (OSError, ValueError):  # ValueError: a NUL byte; the task says what is wrong
        content = []
    path = source_path(input_file)
    key = ids.content_key(
        "probe",
        ProbeTask.VERSION,
        path_to_text(path.path),
        path_to_text(str(path.root)),
        content,
        settings_sha256(limits),
    )
    return Item(key=key, name=input_file.name, payload=path)


def _source_row(outcome: Outcome, results: RunResults, *, path: str) -> SourceVideo:
    if outcome.status == "ok":
        (row,) = results.rows_of(outcome.key, SourceVideo)
        return replace(row, path=path)
    return with_outcome(SourceVideo(source_id=ids.unreadable_source_id(path), path=path, status="ok"), outcome)


def _mark_duplicates(rows: Iterable[SourceVideo]) -> Iterator[SourceVideo]:
    """Of byte-identical files the first is measured, so segments that only a later one has are unusable."""
    first: dict[str, SourceVideo] = {}
    for row in rows:
        original = row if row.sha256 is None else first.setdefault(row.sha256, row)
        if original is row:
            yield row
            continue
        lost = [one for one in row.segments if one not in original.segments]
        message = (
            f"{row.path}: expected segments of one file, got those of a copy of {original.path}; name that file instead"
        )
        unusable = tuple(
            UnusableSegment(
                start_us=one.start_us, end_us=one.end_us, crop=one.crop or (), columns=one.columns, message=message
            )
            for one in lost
        )
        yield replace(
            row,
            duplicate_of=original.path,
            segments=tuple(one for one in row.segments if one not in lost),
            unusable_segments=(*row.unusable_segments, *unusable),
        )
