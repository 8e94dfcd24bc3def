"""Forced alignment of an English transcript to the sound of one clip, by PocketSphinx and its own en-us model.

The transcript may be that of a whole recording: the clip's part of it is found first (any run of consecutive words),
then aligned to words and sounds. Frames are 10 ms. Needs the extra `speech`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from xsheet.annotate.speech.pronunciation import SpokenWord, spoken_words
from xsheet.curate.media.audio import Samples
from xsheet.schemas.clip import PhoneTime, TranscriptWord
from xsheet.schemas.errors import RunError, install_extra
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import AUDIO_RATE

FRAME_US = 10_000
_PART, _FULL_SCALE = "part", 32767
_WORD_PROBABILITY = 1e-9  # a short word beside the clip's part must not be found in its pauses


class AlignSettings(StrictModel):
    """Limits of forced alignment."""

    min_score: float = Field(
        default=-28.0,
        description="mean log score per 10 ms; right texts reach -12 to -22, wrong ones -31 and less "
        "(docs/log/annotate.md#words)",
    )
    max_words: int = Field(
        default=400, ge=1, le=5000, description="words of the transcript; the search takes 10 s per clip and 400 words"
    )


DEFAULT_SETTINGS = AlignSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The words that a clip contains, and their mean acoustic log score per 10 ms."""

    words: tuple[TranscriptWord, ...]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _AlignedPart:
    word: str
    start_us: int
    end_us: int
    score: float  # sum over its frames
    phones: tuple[PhoneTime, ...]


class Aligner:
    """The loaded acoustic model and dictionary. The same input gives the same result, whatever was aligned before.

    Raises:
        RunError: the extra `speech` is not installed.
    """

    def __init__(self, settings: AlignSettings = DEFAULT_SETTINGS) -> None:
        try:
            import pocketsphinx  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise RunError(
                where="alignment of words",
                expected="pocketsphinx",
                got="not installed",
                hint=f"{install_extra('speech')}; or give word times in the column `words`",
            ) from error
        self._settings = settings
        # cmn: the mean of the one utterance, not a running one of all before it. bestpath: its rescoring of the lattice
        # can leave two pauses side by side, and the pass for the sounds then fails.
        self._decoder: Any = pocketsphinx.Decoder(lm=None, cmn="batch", bestpath=False, loglevel="FATAL")
        self._guessed: set[str] = set()

    def __call__(self, sound: Samples, transcript: str) -> Alignment:
        """Align the part of a transcript that a clip contains.

        Args:
            sound: (samples,) float32 at 16 kHz, mono.
            transcript: of the clip or of a longer recording; untrusted.

        Raises:
            ValueError: no alignment; the message says what was expected and what was found.
        """
        spoken = list(spoken_words(transcript, sounds_of=self._sounds_of))
        if not 0 < len(spoken) <= self._settings.max_words:
            raise ValueError(f"1 to {self._settings.max_words} words, got {len(spoken)}; give word times for more")
        self._add_guesses(spoken)
        pcm = np.clip(sound * _FULL_SCALE, -_FULL_SCALE, _FULL_SCALE).astype("<i2").tobytes()
        parts = [part for word in spoken for part in word.parts]
        found = self._find_part(parts, pcm)
        aligned = self._align(found, pcm)
        frames = sum(part.end_us - part.start_us for part in aligned) / FRAME_US
        score = sum(part.score for part in aligned) / frames
        if score < self._settings.min_score:
            raise ValueError(f"a transcript of this audio (score {self._settings.min_score:g}), got {score:.1f}")
        end_us = len(sound) * 1_000_000 // AUDIO_RATE.num
        return Alignment(words=tuple(_words(spoken, _index_of(found, parts), aligned, end_us=end_us)), score=score)

    def _sounds_of(self, word: str) -> str | None:
        # A guess of an earlier transcript is in the decoder's dictionary by now.
        sounds: str | None = None if word in self._guessed else self._decoder.lookup_word(word)
        return sounds

    def _add_guesses(self, spoken: Sequence[SpokenWord]) -> None:
        for word, sounds in (guess for one in spoken for guess in one.guesses):
            if word not in self._guessed:
                self._decoder.add_word(word, sounds, True)
                self._guessed.add(word)

    def _find_part(self, parts: Sequence[str], pcm: bytes) -> list[str]:
        """The run of consecutive words that explains the sound best."""
        count = len(parts)
        start, end = count + 1, count + 2  # states 0..count lie between the words
        transitions: list[tuple[Any, ...]] = [(at, at + 1, _WORD_PROBABILITY, part) for at, part in enumerate(parts)]
        transitions += [(start, at, 1.0) for at in range(count)]
        transitions += [(at, end, 1.0) for at in range(1, count + 1)]
        self._decoder.add_fsg(_PART, self._decoder.create_fsg(_PART, start, end, transitions))
        self._decoder.activate_search(_PART)
        self._decode(pcm)
        hypothesis = self._decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            raise ValueError("words of the transcript in the audio, got none")
        return str(hypothesis.hypstr).split()

    def _align(self, parts: Sequence[str], pcm: bytes) -> list[_AlignedPart]:
        try:
            self._decoder.set_align_text(" ".join(parts))
            self._decode(pcm)
            self._decoder.set_alignment()
            self._decode(pcm)
            found = self._decoder.get_alignment()
        except RuntimeError as error:
            raise ValueError(f"words that fit the audio, got no alignment of {' '.join(parts)[:80]!r}") from error
        return [_aligned_part(entry) for entry in found or () if not entry.name.startswith(("<", "[", "+"))]

    def _decode(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def _aligned_part(entry: Any) -> _AlignedPart:
    return _AlignedPart(
        word=entry.name,
        start_us=entry.start * FRAME_US,
        end_us=(entry.start + entry.duration) * FRAME_US,
        score=float(entry.score),
        phones=tuple(
            PhoneTime(name=p.name, start_us=p.start * FRAME_US, end_us=(p.start + p.duration) * FRAME_US) for p in entry
        ),
    )


def _index_of(found: Sequence[str], parts: Sequence[str]) -> int:
    """Where the found run begins; the first place if it occurs several times, as the words are the same."""
    return next(at for at in range(len(parts)) if list(parts[at : at + len(found)]) == list(found))


def _words(
    spoken: Sequence[SpokenWord], first: int, aligned: Sequence[_AlignedPart], *, end_us: int
) -> list[TranscriptWord]:
    words, at = list[TranscriptWord](), -first
    for word in spoken:
        own = aligned[max(0, at) : max(0, at + len(word.parts))]
        at += len(word.parts)
        if own:
            words.append(
                TranscriptWord(
                    text=word.text,
                    start_us=min(own[0].start_us, end_us),
                    end_us=min(own[-1].end_us, end_us),
                    phones=tuple(phone for part in own for phone in part.phones if phone.end_us <= end_us),
                    pronunciation="guessed" if word.guesses else "dictionary",
                )
            )
    return words
