"""What was planted in each film against what became of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from xsheet.curate.report.wording import words
from xsheet.demo.corpus import read_truth
from xsheet.demo.film.plan import Kind
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Verdict
from xsheet.schemas.source import Shot, SourceVideo
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us

End = Literal["kept", "mended", "dropped"]
FRAME_US = frame_start_us(1, CLIP_RATE)


@dataclass(frozen=True, slots=True)
class Planted:
    """What one kind of film must come to."""

    words: str
    kept: int  # clips
    against: frozenset[str] = frozenset()  # reasons that name the fault; one of them must


_LATE, _VOICELESS = frozenset({"sync_offset"}), frozenset({"no_voice", "sync_not_measurable"})
_NOT_OURS = frozenset({"sync_confidence", "sync_margin"})
PLANTED: Mapping[Kind, Planted] = {
    "talk": Planted("no fault", 1),
    "offset": Planted("sound {}", 1),
    "far_offset": Planted("sound {}", 0, _LATE),
    "swapped": Planted("another's voice", 0, _NOT_OURS),
    "silence": Planted("no sound", 0, _VOICELESS),
    "music": Planted("music, no voice", 0, _VOICELESS),
    "voice_over": Planted("a voice, nobody seen", 0, frozenset({"no_face"})),
    "still": Planted("a frozen picture", 0, frozenset({"frozen"})),
    "two_heads": Planted("two faces, one voice", 1, frozenset({"not_the_speaker"})),
    "hard_cut": Planted("a cut", 2),
    "jump_cut": Planted("a jump cut", 2),
    "dissolve": Planted("a dissolve", 2),
    "flash": Planted("a white flash", 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """One film."""

    name: str  # of the file
    kind: str
    planted: str
    became: str
    kept: int  # clips
    as_planned: bool
    media: Path
    middles_us: tuple[int, ...]  # of its takes, where its pictures are taken

    @property
    def end(self) -> End:
        """How it ended."""
        return "dropped" if not self.kept else "kept" if self.kind == "talk" else "mended"


def fates(set_folder: Path, corpus: Path) -> list[Fate]:
    """Every film of the corpus, in its order; one that was never looked at became nothing."""
    found = _Found(
        sources={row.source_id: row for row in tables.iterate(set_folder, tables.SOURCES)},
        verdicts=_by_source(tables.iterate(set_folder, tables.VERDICTS)),
        clips=_by_source(tables.iterate(set_folder, tables.CLIPS)),
        shots=_by_source(tables.iterate(set_folder, tables.SHOTS)),
    )
    shots = _by_source(read_truth(corpus, tables.SHOTS))
    return [_fate(film, shots[film.source_id], found, corpus) for film in read_truth(corpus, tables.SOURCES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What curation made of the films, by source."""

    sources: Mapping[str, SourceVideo]
    verdicts: Mapping[str, Sequence[Verdict]]
    clips: Mapping[str, Sequence[Clip]]
    shots: Mapping[str, Sequence[Shot]]


def _fate(film: SourceVideo, takes: Sequence[Shot], found: _Found, corpus: Path) -> Fate:
    told = {one.key: one.value for one in film.extra}
    kind, offset = cast(Kind, told["kind"]), int(told["offset_frames"])
    planted, source, clips = PLANTED[kind], found.sources.get(film.source_id), found.clips[film.source_id]
    reasons = [r for verdict in found.verdicts[film.source_id] for r in verdict.reasons]
    if source is not None and source.reason is not None:
        reasons.append(source.reason)
    cuts, seen = (
        [s.start_us for s in shots if s.opens_with == "cut"] for shots in (takes, found.shots[film.source_id])
    )
    moved = all(abs(clip.audio_shift_us + offset * FRAME_US) <= FRAME_US for clip in clips)
    return Fate(
        name=film.path.rpartition("/")[2],
        kind=kind,
        planted=planted.words.format(_off(offset)),
        became=_became(clips, reasons, seen),
        kept=len(clips),
        as_planned=len(clips) == planted.kept
        and (not planted.against or not planted.against.isdisjoint(reasons))
        and (not clips or (moved and cuts == seen)),
        media=corpus / film.path,
        middles_us=tuple((take.start_us + take.end_us) // 2 for take in takes),
    )


def _became(clips: Sequence[Clip], reasons: Sequence[str], cuts_us: Sequence[int]) -> str:
    """In a few words."""
    if not clips:
        return ", ".join(words(reason) for reason in dict.fromkeys(reasons)) or "not looked at"
    told = ["1 clip" if len(clips) == 1 else f"{len(clips)} clips"]
    told += [f"its sound was {_off(-clip.audio_shift_us // FRAME_US)}" for clip in clips if clip.audio_shift_us][:1]
    if cuts_us:
        told.append(f"cut at {' and '.join(f'{seconds_from_us(us):.2f}' for us in cuts_us)} s")
    return "; ".join([*told, *(f"the other: {words(reason)}" for reason in reasons[:1])])


def _off(frames: int) -> str:
    return f"{abs(frames)} frame{'s' if abs(frames) != 1 else ''} {'late' if frames > 0 else 'early'}"


def _by_source(rows: Any) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.source_id].append(row)
    return found
