"""Transcript of a clip from the user's manifest. xsheet recognises no speech.

Two further columns of the manifest are read: `transcript`, the text, and `words`, word times in seconds from the first
video frame of the source (xsheet.annotate.speech.word_times). Where the manifest names segments of the source, the
columns are those of the clip's segment. Both were written by someone else: what cannot be read is a sentence in
`Transcript.problem`, never the end of a run.
"""

from dataclasses import dataclass

from xsheet.annotate.base import TranscriptWord
from xsheet.annotate.speech.word_times import parse_words
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import us_from_seconds

MAX_UNTIMED_CHARS = 2_000  # about two minutes of speech; a longer text without times says nothing of a clip of seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Transcript of one clip. `problem` states why the manifest's columns could not be used."""

    text: str | None = None
    words: tuple[TranscriptWord, ...] = ()
    problem: str | None = None


def transcript_of(source: SourceVideo, clip: Clip) -> Transcript:
    """The words of the source that start inside the clip, in µs of the clip; no word is in two clips.

    Without word times, the text of the whole source is used if it is short enough.
    """
    columns = source.columns_at(clip.start_us)
    if columns.get("words"):
        return _words_in_clip(columns["words"], clip)
    text = columns.get("transcript", "").strip()
    if len(text) > MAX_UNTIMED_CHARS:
        return Transcript(
            problem=f"transcript: expected at most {MAX_UNTIMED_CHARS} characters where there are no word times, "
            f"got {len(text)}; add the column 'words'"
        )
    return Transcript(text=text or None)


def _words_in_clip(text: str, clip: Clip) -> Transcript:
    try:
        manifest_words = parse_words(text)
    except ValueError as error:
        return Transcript(problem=str(error))
    # The audio was shifted inside the clip, and the words with it.
    shift_us = clip.audio_shift_us - clip.start_us
    words = tuple(
        TranscriptWord(
            text=text,
            start_us=start_us,
            end_us=max(start_us, min(us_from_seconds(word.end_s) + shift_us, clip.duration_us)),
        )
        for word in sorted(manifest_words, key=lambda word: (word.start_s, word.end_s))
        if (text := " ".join(word.word.split()))
        and 0 <= (start_us := us_from_seconds(word.start_s) + shift_us) < clip.duration_us
    )
    return Transcript(text=" ".join(word.text for word in words) or None, words=words)
