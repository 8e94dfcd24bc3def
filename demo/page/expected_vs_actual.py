"""What was planted in each film against what became of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from xsheet.curate.report.wording import reason_text
from xsheet.demo.corpus import read_truth
from xsheet.demo.film.plan import FilmKind
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Verdict
from xsheet.schemas.source import Shot, SourceVideo
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us

Disposition = Literal["kept", "mended", "dropped"]
FRAME_US = frame_start_us(1, CLIP_RATE)


@dataclass(frozen=True, slots=True)
class ExpectedOutcome:
    """What one kind of film must come to."""

    description: str
    clips: int  # clips
    reasons: frozenset[str] = frozenset()  # reasons that name the fault; one of them must


_OFFSET_REASONS, _NO_VOICE_REASONS = frozenset({"sync_offset"}), frozenset({"no_voice", "sync_not_measurable"})
_OTHER_VOICE_REASONS = frozenset({"sync_confidence", "sync_margin"})
EXPECTED_OUTCOMES: Mapping[FilmKind, ExpectedOutcome] = {
    "talk": ExpectedOutcome("no fault", 1),
    "offset": ExpectedOutcome("sound {}", 1),
    "far_offset": ExpectedOutcome("sound {}", 0, _OFFSET_REASONS),
    "swapped": ExpectedOutcome("another's voice", 0, _OTHER_VOICE_REASONS),
    "silence": ExpectedOutcome("no sound", 0, _NO_VOICE_REASONS),
    "music": ExpectedOutcome("music, no voice", 0, _NO_VOICE_REASONS),
    "voice_over": ExpectedOutcome("a voice, nobody seen", 0, frozenset({"no_face"})),
    "still": ExpectedOutcome("a frozen picture", 0, frozenset({"frozen"})),
    "two_heads": ExpectedOutcome("two faces, one voice", 1, frozenset({"not_the_speaker"})),
    "hard_cut": ExpectedOutcome("a cut", 2),
    "jump_cut": ExpectedOutcome("a jump cut", 2),
    "dissolve": ExpectedOutcome("a dissolve", 2),
    "flash": ExpectedOutcome("a white flash", 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOutcome:
    """One film."""

    name: str  # of the file
    kind: str
    fault: str
    result: str
    clips: int  # clips
    as_expected: bool
    media: Path
    shot_centres_us: tuple[int, ...]  # of its takes, where its pictures are taken

    @property
    def disposition(self) -> Disposition:
        """How it ended."""
        return "dropped" if not self.clips else "kept" if self.kind == "talk" else "mended"


def film_outcomes(set_folder: Path, corpus: Path) -> list[FilmOutcome]:
    """Every film of the corpus, in its order; one that was never looked at became nothing."""
    found = _CurationRows(
        sources={row.source_id: row for row in tables.iter_records(set_folder, tables.SOURCES)},
        verdicts=_group_by_source(tables.iter_records(set_folder, tables.VERDICTS)),
        clips=_group_by_source(tables.iter_records(set_folder, tables.CLIPS)),
        shots=_group_by_source(tables.iter_records(set_folder, tables.SHOTS)),
    )
    shots = _group_by_source(read_truth(corpus, tables.SHOTS))
    return [_film_outcome(film, shots[film.source_id], found, corpus) for film in read_truth(corpus, tables.SOURCES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CurationRows:
    """What curation made of the films, by source."""

    sources: Mapping[str, SourceVideo]
    verdicts: Mapping[str, Sequence[Verdict]]
    clips: Mapping[str, Sequence[Clip]]
    shots: Mapping[str, Sequence[Shot]]


def _film_outcome(film: SourceVideo, takes: Sequence[Shot], found: _CurationRows, corpus: Path) -> FilmOutcome:
    told = {one.key: one.value for one in film.manifest_columns}
    kind, offset = cast(FilmKind, told["kind"]), int(told["offset_frames"])
    planted, source, clips = EXPECTED_OUTCOMES[kind], found.sources.get(film.source_id), found.clips[film.source_id]
    reasons = [r for verdict in found.verdicts[film.source_id] for r in verdict.reasons]
    if source is not None and source.reason is not None:
        reasons.append(source.reason)
    cuts, seen = (
        [s.start_us for s in shots if s.opens_with == "cut"] for shots in (takes, found.shots[film.source_id])
    )
    moved = all(abs(clip.audio_shift_us + offset * FRAME_US) <= FRAME_US for clip in clips)
    return FilmOutcome(
        name=film.path.rpartition("/")[2],
        kind=kind,
        fault=planted.description.format(_offset_words(offset)),
        result=_describe_result(clips, reasons, seen),
        clips=len(clips),
        as_expected=len(clips) == planted.clips
        and (not planted.reasons or not planted.reasons.isdisjoint(reasons))
        and (not clips or (moved and cuts == seen)),
        media=corpus / film.path,
        shot_centres_us=tuple((take.start_us + take.end_us) // 2 for take in takes),
    )


def _describe_result(clips: Sequence[Clip], reasons: Sequence[str], cuts_us: Sequence[int]) -> str:
    """In a few words."""
    if not clips:
        return ", ".join(reason_text(reason) for reason in dict.fromkeys(reasons)) or "not looked at"
    told = ["1 clip" if len(clips) == 1 else f"{len(clips)} clips"]
    told += [
        f"its sound was {_offset_words(-clip.audio_shift_us // FRAME_US)}" for clip in clips if clip.audio_shift_us
    ][:1]
    if cuts_us:
        told.append(f"cut at {' and '.join(f'{seconds_from_us(us):.2f}' for us in cuts_us)} s")
    return "; ".join([*told, *(f"the other: {reason_text(reason)}" for reason in reasons[:1])])


def _offset_words(frames: int) -> str:
    return f"{abs(frames)} frame{'s' if abs(frames) != 1 else ''} {'late' if frames > 0 else 'early'}"


def _group_by_source(rows: Any) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.source_id].append(row)
    return found
