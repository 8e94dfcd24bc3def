"""Videos of an export: a copy of the clip's file, or its frames encoded again. The executor runs both tasks.

A worker writes each file atomically and returns its hash; committed files are not written again.
"""

import io
import shutil
import tarfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as record

from xsheet.curate.media.audio import Samples
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.curate.media.writer import ClipEncodingSettings, sample_count, write_clip
from xsheet.export.samples import ExportSample
from xsheet.runtime.executor import Item, Row
from xsheet.schemas import ids
from xsheet.schemas.columns import RECORD, Count, Sha256, Str
from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import atomic_path, write_bytes
from xsheet.schemas.time import AUDIO_RATE

SHARD_PREFIX = ".shard-"  # of the folder beside a tar file in which its videos are encoded


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One file of an export."""

    TAG: ClassVar[str] = "exported_file"
    file: Annotated[Str, "path within the export"]
    sha256: Annotated[Sha256, "hash of its bytes"]
    size_bytes: Annotated[Count, Field(gt=0), "its size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaJob:
    """One video for a worker, with its sound as a WAV file beside it on request."""

    sample: ExportSample
    set_folder: Path  # absolute
    out: Path  # absolute
    with_wav: bool = False

    def key(self, encoding: ClipEncodingSettings) -> str:
        """Identity of the file that is written."""
        sample = self.sample
        how = "copy" if sample.is_copy else encoding.model_dump(mode="json")
        parts = [sample.file, sample.clip.media_sha256, sample.frames, str(sample.rate), sample.is_mirrored]
        return ids.content_key("export", parts, how, self.with_wav)


class ExportVideoTask:
    """Writes one video. The payload of an item is a MediaJob."""

    name = "export-video"

    def __init__(self, encoding: ClipEncodingSettings) -> None:
        self.stage = "write"
        self._encoding = encoding

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """The file that was written.

        Raises:
            ContractError: the clip's file is not the one that the set describes.
            MediaError: it cannot be decoded or encoded.
        """
        job: MediaJob = item.payload
        path = job.out / job.sample.file
        write_video(job.sample, path, set_folder=job.set_folder, encoding=self._encoding)
        rows = [exported_file(path, job.out)]
        if job.with_wav and job.sample.clip.samples:
            self.stage = "sound"
            write_wav(job.sample, path.with_suffix(".wav"), set_folder=job.set_folder)
            rows.append(exported_file(path.with_suffix(".wav"), job.out))
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TarShardJob:
    """One tar file for a worker."""

    file: str  # path within the export
    samples: tuple[ExportSample, ...]
    sidecars: tuple[tuple[tuple[str, bytes], ...], ...]  # of each sample: suffix and content, beside the video
    set_folder: Path  # absolute
    out: Path  # absolute

    def key(self, encoding: ClipEncodingSettings) -> str:
        """Identity of the file that is written."""
        videos = [MediaJob(sample=one, set_folder=self.set_folder, out=self.out).key(encoding) for one in self.samples]
        texts = [[[suffix, data.decode()] for suffix, data in one] for one in self.sidecars]
        return ids.content_key("shard", self.file, videos, texts)


class ExportShardTask:
    """Writes one tar file. The payload of an item is a TarShardJob."""

    name = "export-shard"

    def __init__(self, encoding: ClipEncodingSettings) -> None:
        self.stage = "write"
        self._encoding = encoding

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """The file that was written; the same samples give the same bytes."""
        job: TarShardJob = item.payload
        path = job.out / job.file
        with (
            atomic_path(path) as temporary,
            TemporaryDirectory(dir=path.parent, prefix=SHARD_PREFIX) as folder,
            tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for sample, sidecars in zip(job.samples, job.sidecars, strict=True):
                video = Path(folder) / "video.mp4"
                write_video(sample, video, set_folder=job.set_folder, encoding=self._encoding)
                for suffix, data in (("mp4", video.read_bytes()), *sidecars):
                    member = tarfile.TarInfo(f"{sample.name}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return [exported_file(path, job.out)]


def write_video(sample: ExportSample, path: Path, *, set_folder: Path, encoding: ClipEncodingSettings) -> None:
    """Write the video of a sample.

    Raises:
        ContractError: the clip's file is missing or not the one that the set describes.
        MediaError: it cannot be decoded or encoded.
    """
    source = set_folder / sample.clip.media_path
    if not source.is_file() or ids.file_sha256(source) != sample.clip.media_sha256:
        raise ContractError(
            where=str(source), expected=f"the file with hash {sample.clip.media_sha256[:12]}",
            got="another file" if source.is_file() else "no file", hint="run `xsheet curate run` again",
        )  # fmt: skip
    if sample.is_copy:
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
        return
    with open_media(source, root=set_folder) as media:
        sound = _sound(sample, media) if sample.clip.samples else None
        frames = (frame.rgb for frame in media.frames(rate=sample.rate, span=sample.span))
        pictures = _mirrored(frames) if sample.is_mirrored else frames
        written = write_clip(path, frames=pictures, sound=sound, encoding=encoding, rate=sample.rate)
    if written.frames != sample.frames:
        path.unlink()
        raise ContractError(
            where=str(source), expected=f"{sample.frames} frames at {sample.rate} fps", got=str(written.frames),
            hint="check the set with `xsheet schemas check --hash-media`",
        )  # fmt: skip


def write_wav(sample: ExportSample, path: Path, *, set_folder: Path) -> None:
    """Write the sound of a sample: 16 bits, mono, 16 kHz; its first sample belongs to the first frame."""
    with open_media(set_folder / sample.clip.media_path, root=set_folder) as media:
        sound = _sound(sample, media)
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE.num)
        file.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
    write_bytes(path, data.getvalue())


def _sound(sample: ExportSample, media: MediaReader) -> Samples:
    """As many samples as the frames of the video take; silence where the clip has none."""
    found, wanted = media.sound(), sample_count(sample.frames, sample.rate)
    sound = np.zeros(wanted, np.float32)
    if found is not None:
        sound[: len(found)] = found[:wanted]
    return sound


def _mirrored(frames: Iterator[Rgb]) -> Iterator[Rgb]:
    return (np.ascontiguousarray(rgb[:, ::-1]) for rgb in frames)


def exported_file(path: Path, out: Path) -> ExportedFile:
    """The record of a file that is there."""
    return ExportedFile(
        file=path.relative_to(out).as_posix(), sha256=ids.file_sha256(path), size_bytes=path.stat().st_size
    )
