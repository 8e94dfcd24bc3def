"""The fault of each film of the corpus against the result of curation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from xsheet.curate.report.wording import reason_text
from xsheet.demo.corpus import read_truth
from xsheet.demo.film.plan import FilmKind
from xsheet.pages.wording import plural
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Verdict
from xsheet.schemas.source import Shot, SourceVideo
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us

Disposition = Literal["kept", "mended", "dropped"]
FRAME_US = frame_start_us(1, CLIP_RATE)


@dataclass(frozen=True, slots=True)
class ExpectedOutcome:
    """The result that one kind of film must have."""

    description: str
    clips: int
    reasons: frozenset[str] = frozenset()  # one of them must be given, unless it is empty


_OFFSET_REASONS, _NO_VOICE_REASONS = frozenset({"sync_offset"}), frozenset({"no_voice", "sync_not_measurable"})
_OTHER_VOICE_REASONS = frozenset({"sync_confidence", "sync_margin"})
EXPECTED_OUTCOMES: Mapping[FilmKind, ExpectedOutcome] = {
    "talk": ExpectedOutcome("no fault", 1),
    "offset": ExpectedOutcome("sound {}", 1),
    "far_offset": ExpectedOutcome("sound {}", 0, _OFFSET_REASONS),
    "swapped": ExpectedOutcome("voice of another person", 0, _OTHER_VOICE_REASONS),
    "silence": ExpectedOutcome("no sound", 0, _NO_VOICE_REASONS),
    "music": ExpectedOutcome("music, no voice", 0, _NO_VOICE_REASONS),
    "voice_over": ExpectedOutcome("voice without a face", 0, frozenset({"no_face"})),
    "still": ExpectedOutcome("frozen picture", 0, frozenset({"frozen"})),
    "two_heads": ExpectedOutcome("two faces, one voice", 1, frozenset({"not_the_speaker"})),
    "hard_cut": ExpectedOutcome("cut", 2),
    "jump_cut": ExpectedOutcome("jump cut", 2),
    "dissolve": ExpectedOutcome("dissolve", 2),
    "flash": ExpectedOutcome("white flash", 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOutcome:
    """One film with its fault and its result."""

    name: str  # file name
    kind: str
    fault: str
    result: str
    clips: int
    as_expected: bool
    media: Path
    shot_centres_us: tuple[int, ...]  # where its still is taken

    @property
    def disposition(self) -> Disposition:
        """Kept unchanged, kept after the fault was removed, or rejected."""
        return "dropped" if not self.clips else "kept" if self.kind == "talk" else "mended"


def film_outcomes(set_folder: Path, corpus: Path) -> list[FilmOutcome]:
    """Every film of the corpus, in its order; a film that was not processed has no clips."""
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
    """Rows of curation by source id."""

    sources: Mapping[str, SourceVideo]
    verdicts: Mapping[str, Sequence[Verdict]]
    clips: Mapping[str, Sequence[Clip]]
    shots: Mapping[str, Sequence[Shot]]


def _film_outcome(film: SourceVideo, true_shots: Sequence[Shot], found: _CurationRows, corpus: Path) -> FilmOutcome:
    columns = {column.key: column.value for column in film.manifest_columns}
    kind, offset = cast(FilmKind, columns["kind"]), int(columns["offset_frames"])
    expected, source, clips = EXPECTED_OUTCOMES[kind], found.sources.get(film.source_id), found.clips[film.source_id]
    reasons = [r for verdict in found.verdicts[film.source_id] for r in verdict.reasons]
    if source is not None and source.reason is not None:
        reasons.append(source.reason)
    # A flash of one frame is no shot of its own to curation; the cut is where the next shot begins.
    true_cuts, found_cuts = (
        [s.start_us for s in shots if s.opens_with == "cut" and s.end_us - s.start_us > FRAME_US]
        for shots in (true_shots, found.shots[film.source_id])
    )
    is_corrected = all(abs(clip.audio_shift_us + offset * FRAME_US) <= FRAME_US for clip in clips)
    return FilmOutcome(
        name=film.path.rpartition("/")[2],
        kind=kind,
        fault=expected.description.format(_offset_words(offset)),
        result=_describe_result(clips, reasons, found_cuts),
        clips=len(clips),
        as_expected=len(clips) == expected.clips
        and (not expected.reasons or not expected.reasons.isdisjoint(reasons))
        and (not clips or (is_corrected and true_cuts == found_cuts)),
        media=corpus / film.path,
        shot_centres_us=tuple((shot.start_us + shot.end_us) // 2 for shot in true_shots),
    )


def _describe_result(clips: Sequence[Clip], reasons: Sequence[str], cuts_us: Sequence[int]) -> str:
    """The result of one film in a few words."""
    if not clips:
        return ", ".join(reason_text(reason) for reason in dict.fromkeys(reasons)) or "not processed"
    parts = [plural(len(clips), "clip")]
    parts += [f"sound was {_offset_words(-clip.audio_shift_us // FRAME_US)}" for clip in clips if clip.audio_shift_us][
        :1
    ]
    if cuts_us:
        parts.append(f"cut at {' and '.join(f'{seconds_from_us(us):.2f}' for us in cuts_us)} s")
    return "; ".join([*parts, *(f"other candidate: {reason_text(reason)}" for reason in reasons[:1])])


def _offset_words(frames: int) -> str:
    return f"{plural(abs(frames), 'frame')} {'late' if frames > 0 else 'early'}"


def _group_by_source(rows: Any) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.source_id].append(row)
    return found
