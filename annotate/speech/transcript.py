"""Transcript of a clip: its row of the table `words`, else the user's manifest. xsheet recognises no speech.

Two further columns of the manifest are read: `transcript`, the text, and `words`, word times in seconds from the first
video frame of the source (xsheet.annotate.speech.word_times). Where the manifest names segments of the source, the
columns are those of the clip's segment. Both are untrusted: an unreadable value is reported in `Transcript.problem` and
never ends a run.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xsheet.annotate.speech.word_times import TimedWord, parse_words
from xsheet.schemas.clip import Clip, ClipWords, PhoneTime, TranscriptWord
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import us_from_seconds

MAX_UNTIMED_CHARS = 2_000  # about two minutes of speech; a longer text without times says nothing of a clip of seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Transcript of one clip. `problem` states why text or times could not be used."""

    text: str | None = None
    words: tuple[TranscriptWord, ...] = ()
    problem: str | None = None


def transcript_of(source: SourceVideo, clip: Clip, row: ClipWords | None = None) -> Transcript:
    """The words of a clip, in µs of the clip.

    Args:
        source: of the clip.
        clip: the clip.
        row: of the table `words`; its times are used before those of the manifest.

    Without any times, the text of the whole source is used if it is short enough.
    """
    if row is not None and row.status == "ok":
        return Transcript(text=" ".join(word.text for word in row.words) or None, words=row.words)
    columns = source.columns_at(clip.start_us)
    if columns.get("words"):
        try:
            words = words_in_clip(parse_words(columns["words"]), clip)
        except ValueError as error:
            return Transcript(problem=str(error))
        return Transcript(text=" ".join(word.text for word in words) or None, words=words)
    problem = None if row is None else f"word times: {row.message}"
    text = columns.get("transcript", "").strip()
    if len(text) > MAX_UNTIMED_CHARS:
        return Transcript(
            problem=f"transcript: expected at most {MAX_UNTIMED_CHARS} characters where there are no word times, "
            f"got {len(text)}; add the column 'words'"
        )
    return Transcript(text=text or None, problem=problem)


def words_in_clip(timed_words: Iterable[TimedWord], clip: Clip) -> tuple[TranscriptWord, ...]:
    """Words of the source whose middle lies inside the clip, cut to it; no word is in two clips.

    Args:
        timed_words: of the source, in any order; times are those of the source's sound.
        clip: the clip; its sound may be shifted, and the words are with it.
    """
    shift_us = clip.audio_shift_us - clip.start_us

    def inside(seconds: float) -> int:
        return min(max(us_from_seconds(seconds) + shift_us, 0), clip.duration_us)

    words = []
    for word in sorted(timed_words, key=lambda word: (word.start_s, word.end_s)):
        text, end_s = " ".join(word.word.split()), max(word.start_s, word.end_s)
        middle_us = us_from_seconds((word.start_s + end_s) / 2) + shift_us
        if text and 0 <= middle_us < clip.duration_us:
            start_us, end_us = inside(word.start_s), inside(end_s)
            phones = (
                PhoneTime(name=phone.name, start_us=inside(phone.start_s), end_us=inside(phone.end_s))
                for phone in word.phones
                if phone.start_s <= phone.end_s and inside(phone.start_s) < inside(phone.end_s)
            )
            words.append(TranscriptWord(text=text, start_us=start_us, end_us=end_us, phones=tuple(phones)))
    return tuple(words)
