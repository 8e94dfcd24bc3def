"""Timing of a phase relative to speech: computed from measured sound and known words, never by a model.

    co_speech     starts and ends with the voice within `margin_s`
    onset_before  starts in a pause, continues into the voice        offset_after  starts in the voice, outlasts it
    in_pause      hardly any voice during the phase                  no_speech     no voice in the whole clip
    unknown       the voice was not measured during the phase

Where the words of a clip are known, the voice is their spans: measured voice also holds laughter, breath and other
people. A phase then names the word that it starts on and the word that it ends on.

The lag is the apex of the stroke minus the word onset nearest to it, or minus the nearest onset of a syllable where no
words are known. On average strokes come 0.36 s before the accent of the sentence (Ebert et al., 2011).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Phase, SpeechRelation, annotation_id
from xsheet.schemas.clip import Signals, TranscriptWord
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, US_PER_S, Span, frame_start_us, frames_in, span_of_frames

SPEECH_METHOD_VERSION = "speech-2"
SpeedSeries = Sequence[float | None] | NDArray[np.float64]  # per frame, in any unit; None or NaN where it is not known
_SILENCE_DB = -100.0  # of full scale; below one step of 16 bits
_VOICE_DELAY_FRAMES = 2  # voice is detected up to two frames late: initial consonants are aperiodic


class SpeechSettings(StrictModel):
    """Limits of voice and of leading or outlasting it."""

    voice_on_threshold: float = Field(
        default=0.5, ge=0, le=1, description="voice probability that starts a span; Silero's default"
    )
    voice_off_threshold: float = Field(
        default=0.35, ge=0, le=1, description="voice probability that ends it; Silero: 0.15 less"
    )
    min_pause_s: float = Field(
        default=0.2, ge=0, le=2, description="seconds; a shorter silence is the closure of a consonant (below 0.15)"
    )
    min_voice_s: float = Field(default=0.08, ge=0, le=2, description="seconds; two frames, a shorter sound is no word")
    margin_s: float = Field(
        default=0.2, ge=0, le=2, description="seconds by which a phase leads or outlasts the voice; five frames"
    )
    min_overlap: float = Field(default=0.1, ge=0, le=1, description="share with voice below which it lies in a pause")
    min_measured_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the phase in which voice must be measured"
    )
    max_lag_s: float = Field(
        default=1.0, ge=0, le=5, description="seconds; farther apart than twice what viewers accept (Kirchhof, 2014)"
    )
    min_rise_db: float = Field(
        default=2.0,
        gt=0,
        le=40,
        description="dB from valley to peak (de Jong & Wempe, 2009; docs/log/annotate.md#syllables)",
    )


DEFAULT_SETTINGS = SpeechSettings()


def add_speech_relations(
    annotation: Annotation,
    signals: Signals,
    words: Sequence[TranscriptWord] = (),
    *,
    speeds: Mapping[vocab.Track, SpeedSeries] | None = None,
    settings: SpeechSettings = DEFAULT_SETTINGS,
) -> Annotation:
    """The annotation with the speech relation of every phase and a new id.

    Args:
        annotation: of the clip; not yet the parent of another.
        signals: of the clip.
        words: of the clip, where known.
        speeds: (frames,) speed by track, where known (curves.track_speeds); locates the apex of a stroke.
        settings: limits.
    """
    phases = tuple(
        replace(
            p, speech=speech_relation_of(p, signals, words, speed=(speeds or {}).get(p.track, ()), settings=settings)
        )
        for p in annotation.phases
    )
    new_id = annotation_id(
        clip_id=annotation.clip_id, layer=annotation.layer, run_id=annotation.run_id,
        sample_index=annotation.sample_index, base=annotation.base, phases=phases, raw_text=annotation.raw_text,
    )  # fmt: skip
    return replace(annotation, annotation_id=new_id, phases=phases)


def speech_relation_of(
    phase: Phase,
    signals: Signals,
    words: Sequence[TranscriptWord] = (),
    *,
    speed: SpeedSeries = (),
    settings: SpeechSettings = DEFAULT_SETTINGS,
) -> SpeechRelation:
    """The speech relation of one phase; its lag needs a stroke or a known speed."""
    relation, overlap = _relation_and_overlap(phase.span, signals, words, settings)
    apex_us, apex_source = find_apex(phase, speed)
    onset_us, word = (None, None) if apex_us is None else _nearest_onset(apex_us, signals, words, settings)
    return SpeechRelation(
        relation=relation,
        overlap=overlap,
        anchor_word=word.text if word else None,
        anchor_start_us=word.start_us if word else None,
        start_word=_word_at(phase.start_us, words, settings, edge="start_us"),
        end_word=_word_at(phase.end_us, words, settings, edge="end_us"),
        lag_us=None if apex_us is None or onset_us is None else apex_us - onset_us,
        method=(
            f"{SPEECH_METHOD_VERSION}: voice {_voice_source(words, settings)}; apex {apex_source}; onset "
            + ("word" if word else "syllable" if onset_us is not None else "none")
        ),
    )


def _voice_source(words: Sequence[TranscriptWord], settings: SpeechSettings) -> str:
    return "words" if words else f"{settings.voice_on_threshold:g}/{settings.voice_off_threshold:g}"


def _relation_and_overlap(
    span: Span, signals: Signals, words: Sequence[TranscriptWord], settings: SpeechSettings
) -> tuple[vocab.Relation, float | None]:
    frames = frames_in(span, CLIP_RATE)
    measured = [v for v in signals.voice[frames.start : frames.stop] if v is not None]
    if not words and (not frames or len(measured) < settings.min_measured_share * len(frames)):
        return "unknown", None
    voice = word_spans(words, settings) if words else voice_spans(signals, settings)
    overlapping = [part for part in voice if span.overlap_us(part)]
    overlap = sum(span.overlap_us(part) for part in overlapping) / span.duration_us
    if not voice:
        return "no_speech", 0.0
    if not overlapping or overlap < settings.min_overlap:
        return "in_pause", overlap
    leads_us, outlasts_us = overlapping[0].start_us - span.start_us, span.end_us - overlapping[-1].end_us
    if max(leads_us, outlasts_us) < settings.margin_s * US_PER_S:
        return "co_speech", overlap
    return "onset_before" if leads_us >= outlasts_us else "offset_after", overlap


def voice_spans(signals: Signals, settings: SpeechSettings = DEFAULT_SETTINGS) -> tuple[Span, ...]:
    """Voice spans by hysteresis; short pauses are bridged, short sounds dropped. A null frame is unvoiced."""
    spans: list[Span] = []
    span_start: int | None = None
    for frame, probability in enumerate((*(v or 0.0 for v in signals.voice), -1.0)):
        if span_start is None and probability >= settings.voice_on_threshold:
            span_start = frame
        elif span_start is not None and probability < settings.voice_off_threshold:
            spans.append(span_of_frames(range(span_start, frame), CLIP_RATE))
            span_start = None
    return tuple(span for span in _joined(spans, settings) if span.duration_us >= settings.min_voice_s * US_PER_S)


def word_spans(words: Sequence[TranscriptWord], settings: SpeechSettings = DEFAULT_SETTINGS) -> tuple[Span, ...]:
    """Spans of speech from the words of a clip, in order of time; short pauses between words are bridged."""
    return tuple(_joined([Span(word.start_us, word.end_us) for word in words if word.end_us > word.start_us], settings))


def _joined(spans: Sequence[Span], settings: SpeechSettings) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.start_us - joined[-1].end_us < settings.min_pause_s * US_PER_S:
            joined[-1] = Span(joined[-1].start_us, max(span.end_us, joined[-1].end_us))
        else:
            joined.append(span)
    return joined


def _word_at(
    us: int, words: Sequence[TranscriptWord], settings: SpeechSettings, *, edge: Literal["start_us", "end_us"]
) -> str | None:
    """The word in progress at an instant, else the one whose start (or end) is nearest within the margin."""
    inside = next((word for word in words if word.start_us <= us < word.end_us), None)
    if inside is None or getattr(inside, edge) == us:
        distance = {word: abs(getattr(word, edge) - us) for word in words}
        inside = min(distance, key=lambda word: (distance[word], word.start_us), default=None)
        if inside is None or distance[inside] > settings.margin_s * US_PER_S:
            return None
    return inside.text


def find_apex(phase: Phase, speed: SpeedSeries = ()) -> tuple[int | None, str]:
    """The instant of peak speed of the stroke, and its source: "speed", "stroke", or "none" if unknown.

    Without a speed it is the middle of the first cycle: a movement from rest to rest peaks half way.
    """
    if phase.kind == "rest":
        return None, "none"
    stroke = next((Span(k.start_us, k.end_us) for k in phase.kinematics if k.phase == "stroke"), None)
    frames = frames_in(stroke or phase.span, CLIP_RATE)
    speeds = np.array(speed[frames.start : frames.stop], np.float64)
    if np.any(speeds > 0):
        peak_frame = frames.start + int(np.nanargmax(speeds))
        return frame_start_us(peak_frame, CLIP_RATE) + frame_start_us(1, CLIP_RATE) // 2, "speed"
    if stroke is not None:
        return stroke.start_us + stroke.duration_us // (2 * (phase.repetitions or 1)), "stroke"
    return None, "none"


def _nearest_onset(
    apex_us: int, signals: Signals, words: Sequence[TranscriptWord], settings: SpeechSettings
) -> tuple[int | None, TranscriptWord | None]:
    """The nearest onset within max_lag_s, the earlier at a tie, and its word if known."""
    onsets: list[tuple[int, TranscriptWord | None]] = [(word.start_us, word) for word in words]
    onsets = onsets or [(onset_us, None) for onset_us in syllable_onsets_us(signals, settings)]
    candidates = [onset for onset in onsets if abs(apex_us - onset[0]) <= settings.max_lag_s * US_PER_S]
    return min(candidates, key=lambda onset: (abs(apex_us - onset[0]), onset[0]), default=(None, None))


def syllable_onsets_us(signals: Signals, settings: SpeechSettings = DEFAULT_SETTINGS) -> tuple[int, ...]:
    """Onsets of syllables inside the voice, from the level; accurate to about a frame.

    A syllable is a peak of the level that stands `min_rise_db` above the valley before it (after de Jong & Wempe,
    2009); its onset is the start of the frame with the steepest step of that rise.
    """
    if not signals.energy_db:
        return ()
    voiced = {frame for span in voice_spans(signals, settings) for frame in frames_in(span, CLIP_RATE)}
    level = np.nan_to_num(np.array(signals.energy_db, np.float64), nan=_SILENCE_DB)
    steps = np.diff(level, prepend=_SILENCE_DB)
    onsets = list[int]()
    low = high = 0  # frames of the valley and of the peak since the last turn
    is_rising = False
    for frame in range(len(level)):
        if level[frame] > level[high]:
            high = frame
        if level[frame] < level[low]:
            low = frame
        if not is_rising and level[frame] - level[low] >= settings.min_rise_db:
            is_rising, high = True, frame
            onsets.append(low + 1 + int(np.argmax(steps[low + 1 : frame + 1])))
        elif is_rising and level[high] - level[frame] >= settings.min_rise_db:
            is_rising, low = False, frame
    return tuple(
        frame_start_us(frame, CLIP_RATE)
        for frame in onsets
        if voiced.intersection(range(frame, frame + _VOICE_DELAY_FRAMES + 1))
    )
