"""The corpora by name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, assert_never, get_args

from xsheet.curate.corpora.celebv_hq import celebv_hq_clips
from xsheet.curate.corpora.clip_tables import table_clips
from xsheet.curate.corpora.clips import CorpusClip, CorpusProblem
from xsheet.curate.corpora.hdtf import hdtf_clips
from xsheet.curate.corpora.speakervid import speakervid_clips
from xsheet.curate.corpora.talkvid import talkvid_clips
from xsheet.curate.corpora.video_folder import video_folder_clips
from xsheet.curate.corpora.vip_200k import vip_200k_clips
from xsheet.curate.corpora.voxceleb2 import voxceleb2_clips
from xsheet.schemas.errors import ConfigError

CorpusKind = Literal[
    "hdtf", "celebv-hq", "talkvid", "voxceleb2", "speakervid-5m", "talkverse", "vip-200k", "openhumanvid",
    "video-folder",
]  # fmt: skip
KINDS: tuple[CorpusKind, ...] = get_args(CorpusKind)


def parse_kind(text: str) -> CorpusKind:
    """The kind with a name.

    Raises:
        ConfigError: no such kind.
    """
    for kind in KINDS:
        if kind == text:
            return kind
    raise ConfigError(
        where="KIND", expected=f"one of {', '.join(KINDS)}", got=repr(text[:80]),
        hint="for another table use `xsheet curate run TABLE --columns path=COLUMN`",
    )  # fmt: skip


def corpus_clips(kind: CorpusKind, meta: Path, columns: Mapping[str, str]) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of a corpus's metadata, in its order.

    Args:
        kind: which corpus.
        meta: its metadata, a file or a folder.
        columns: {column of xsheet: column of the metadata}; only where the corpus has no documented columns.

    Raises:
        ConfigError: the metadata cannot be read, or columns are named for a corpus that has its own.
    """
    if columns and kind not in ("talkverse", "openhumanvid", "video-folder"):
        raise ConfigError(
            where="--columns", expected=f"no column map for {kind}", got=f"{len(columns)} columns",
            hint="its metadata has documented names; omit --columns",
        )  # fmt: skip
    clips: Iterator[CorpusClip | CorpusProblem]
    match kind:
        case "hdtf":
            clips = hdtf_clips(meta)
        case "celebv-hq":
            clips = celebv_hq_clips(meta)
        case "talkvid":
            clips = talkvid_clips(meta)
        case "voxceleb2":
            clips = voxceleb2_clips(meta)
        case "speakervid-5m":
            clips = speakervid_clips(meta)
        case "vip-200k":
            clips = vip_200k_clips(meta)
        case "talkverse":
            clips = table_clips(meta, columns, licence="Snap Inc. Non-Commercial License")
        case "openhumanvid":
            clips = table_clips(meta, columns, licence=None)
        case "video-folder":
            clips = video_folder_clips(meta, columns)
        case _:
            assert_never(kind)
    return clips
