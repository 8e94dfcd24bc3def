"""What is said in a clip and when, where the user's own manifest has it. xsheet recognises no speech.

Two further columns of the manifest are read: `transcript`, the text, and `words`, a JSON list of
{"word": "hello", "start_s": 1.2, "end_s": 1.5} in seconds from the first video frame of the source. Both were written
by someone else: what cannot be read is a sentence in `Transcript.problem`, never the end of a run.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from xsheet.annotate.base import TranscriptWord
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import us_from_seconds

MAX_UNTIMED_CHARS = 2_000  # about two minutes of speech; a longer text without times says nothing of a clip of seconds


class _ManifestWord(BaseModel):
    # Recognisers add scores and speakers of their own, so other keys are let through.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    word: Annotated[str, Field(max_length=100)]
    start_s: Annotated[float, Field(ge=0, le=1e6)]
    end_s: Annotated[float, Field(ge=0, le=1e6)]


_MANIFEST_WORDS = TypeAdapter(Annotated[list[_ManifestWord], Field(max_length=1_000_000)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What is said in one clip. `problem` tells why there is less than the manifest seems to hold."""

    text: str | None = None
    words: tuple[TranscriptWord, ...] = ()
    problem: str | None = None


def transcript_of(source: SourceVideo, clip: Clip) -> Transcript:
    """The words of the source that begin inside the clip, on the clip's own clock; so no word is in two clips.

    Without word times the text of the whole source is given, if it is short enough to mean this clip.
    """
    given = {extra.key: extra.value for extra in source.manifest_columns}
    if "words" in given:
        return _words_in_clip(given["words"], clip)
    text = given.get("transcript", "").strip()
    if len(text) > MAX_UNTIMED_CHARS:
        return Transcript(
            problem=f"transcript: expected at most {MAX_UNTIMED_CHARS} characters where there are no word times, "
            f"got {len(text)}; add the column 'words'"
        )
    return Transcript(text=text or None)


def _words_in_clip(text: str, clip: Clip) -> Transcript:
    try:
        timed = _MANIFEST_WORDS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        return Transcript(problem=f"words{where}: {first['msg']}; expected [{{'word', 'start_s', 'end_s'}}, ...]")
    # The sound was moved inside the clip, and the words with it.
    moved_us = clip.audio_shift_us - clip.start_us
    words = tuple(
        TranscriptWord(
            text=said,
            start_us=start_us,
            end_us=max(start_us, min(us_from_seconds(one.end_s) + moved_us, clip.duration_us)),
        )
        for one in sorted(timed, key=lambda one: (one.start_s, one.end_s))
        if (said := " ".join(one.word.split()))
        and 0 <= (start_us := us_from_seconds(one.start_s) + moved_us) < clip.duration_us
    )
    return Transcript(text=" ".join(word.text for word in words) or None, words=words)
