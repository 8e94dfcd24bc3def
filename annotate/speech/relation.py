"""How a phase lies to the voice: computed from measured sound and known words, never asked of a model.

    co_speech     begins and ends with the voice, give or take `margin_s`
    onset_before  begins in a pause and goes on into the voice       offset_after  begins in the voice, outlasts it
    in_pause      hardly any voice in it                             no_speech     no voice in the whole clip
    unknown       the voice was not measured where the phase is

The lag is the apex of the stroke minus the word onset nearest to it, or minus the nearest onset of a syllable where no
words are known. On average strokes come 0.36 s before the accent of the sentence (Ebert et al., 2011).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.annotate.base import TranscriptWord
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Phase, SpeechRelation, annotation_id
from xsheet.schemas.clip import Signals
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, US_PER_S, Span, frame_start_us, frames_in, span_of_frames

SPEECH_METHOD_VERSION = "speech-1"
SpeedSeries = Sequence[float | None] | NDArray[np.float64]  # per frame, in any unit; None or NaN where it is not known
_SILENCE_DB = -100.0  # of full scale; below one step of 16 bits
_VOICE_DELAY_FRAMES = 2  # voice is found up to two frames late: its first consonants are no periods yet


class SpeechSettings(StrictModel):
    """What counts as voice, and when a phase leads or outlasts it."""

    voice_on_threshold: float = Field(
        default=0.5, ge=0, le=1, description="chance of voice that begins a stretch; Silero's own"
    )
    voice_off_threshold: float = Field(default=0.35, ge=0, le=1, description="chance that ends it; Silero: 0.15 less")
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
    """The annotation with every phase's relation to speech, under the id of what it now says.

    Args:
        annotation: of the clip that was measured; not yet the parent of another.
        signals: of the clip.
        words: of the clip, where known.
        speeds: (frames,) speed of the tracks, where known (series.speeds); tells the apex of a stroke.
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
    """The relation of one phase to the voice; the lag only where the phase has a stroke or its speed is known."""
    relation, overlap = _relation_and_overlap(phase.span, signals, settings)
    apex_us, told_by = find_apex(phase, speed)
    onset_us, word = (None, None) if apex_us is None else _nearest_onset(apex_us, signals, words, settings)
    return SpeechRelation(
        relation=relation,
        overlap=overlap,
        anchor_word=word.text if word else None,
        anchor_start_us=word.start_us if word else None,
        lag_us=None if apex_us is None or onset_us is None else apex_us - onset_us,
        method=(
            f"{SPEECH_METHOD_VERSION}: voice {settings.voice_on_threshold:g}/{settings.voice_off_threshold:g}; "
            f"apex {told_by}; onset "
        )
        + ("word" if word else "syllable" if onset_us is not None else "none"),
    )


def _relation_and_overlap(
    span: Span, signals: Signals, settings: SpeechSettings
) -> tuple[vocab.Relation, float | None]:
    frames = frames_in(span, CLIP_RATE)
    seen = [v for v in signals.voice[frames.start : frames.stop] if v is not None]
    if not frames or len(seen) < settings.min_measured_share * len(frames):
        return "unknown", None
    voice = voice_spans(signals, settings)
    heard = [part for part in voice if span.overlap_us(part)]
    overlap = sum(span.overlap_us(part) for part in heard) / span.duration_us
    if not voice:
        return "no_speech", 0.0
    if not heard or overlap < settings.min_overlap:
        return "in_pause", overlap
    leads_us, outlasts_us = heard[0].start_us - span.start_us, span.end_us - heard[-1].end_us
    if max(leads_us, outlasts_us) < settings.margin_s * US_PER_S:
        return "co_speech", overlap
    return "onset_before" if leads_us >= outlasts_us else "offset_after", overlap


def voice_spans(signals: Signals, settings: SpeechSettings = DEFAULT_SETTINGS) -> tuple[Span, ...]:
    """Stretches of voice: with hysteresis, short pauses bridged, short sounds left out. A null frame has no voice."""
    spans: list[Span] = []
    begun: int | None = None
    for frame, chance in enumerate((*(v or 0.0 for v in signals.voice), -1.0)):
        if begun is None and chance >= settings.voice_on_threshold:
            begun = frame
        elif begun is not None and chance < settings.voice_off_threshold:
            spans.append(span_of_frames(range(begun, frame), CLIP_RATE))
            begun = None
    joined: list[Span] = []
    for span in spans:
        if joined and span.start_us - joined[-1].end_us < settings.min_pause_s * US_PER_S:
            joined[-1] = Span(joined[-1].start_us, span.end_us)
        else:
            joined.append(span)
    return tuple(span for span in joined if span.duration_us >= settings.min_voice_s * US_PER_S)


def find_apex(phase: Phase, speed: SpeedSeries = ()) -> tuple[int | None, str]:
    """The instant at which the stroke is fastest, and what tells it: "speed", "stroke", or "none" where nothing does.

    Without a speed it is the middle of the first cycle: a movement from rest to rest is fastest half way.
    """
    if phase.kind == "rest":
        return None, "none"
    stroke = next((Span(k.start_us, k.end_us) for k in phase.kinematics if k.phase == "stroke"), None)
    frames = frames_in(stroke or phase.span, CLIP_RATE)
    known = np.array(speed[frames.start : frames.stop], np.float64)
    if np.any(known > 0):
        fastest = frames.start + int(np.nanargmax(known))
        return frame_start_us(fastest, CLIP_RATE) + frame_start_us(1, CLIP_RATE) // 2, "speed"
    if stroke is not None:
        return stroke.start_us + stroke.duration_us // (2 * (phase.repetitions or 1)), "stroke"
    return None, "none"


def _nearest_onset(
    apex_us: int, signals: Signals, words: Sequence[TranscriptWord], settings: SpeechSettings
) -> tuple[int | None, TranscriptWord | None]:
    """The nearest onset within reach, the earlier one at a tie, and its word where words are known."""
    onsets: list[tuple[int, TranscriptWord | None]] = [(word.start_us, word) for word in words]
    onsets = onsets or [(onset_us, None) for onset_us in syllable_onsets_us(signals, settings)]
    near = [one for one in onsets if abs(apex_us - one[0]) <= settings.max_lag_s * US_PER_S]
    return min(near, key=lambda one: (abs(apex_us - one[0]), one[0]), default=(None, None))


def syllable_onsets_us(signals: Signals, settings: SpeechSettings = DEFAULT_SETTINGS) -> tuple[int, ...]:
    """Instants at which the loudness rises to a syllable inside the voice; good to about a frame.

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
