"""Speech checks (H): compare phases and caption with voice activity and mouth motion."""

from collections.abc import Iterator

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S, Span

_KINDS_WITH_STROKE = ("gesture", "action")


def _check_co_speech(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.speech.min_voice_overlap
    for phase, overlap in _phases_with_relation(view, "co_speech", "onset_before", "offset_after"):
        yield CheckResult(overlap >= limit, overlap, limit, phase)


def _check_in_pause(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.speech.max_pause_voice_overlap
    for phase, overlap in _phases_with_relation(view, "in_pause", "no_speech"):
        yield CheckResult(overlap <= limit, overlap, limit, phase)


def _phases_with_relation(view: AnnotationView, *relations: vocab.Relation) -> Iterator[tuple[Phase, float]]:
    """Phases with one of these relations to speech, and the share of each with voice activity."""
    voice = None if view.clip_evidence is None else view.clip_evidence.voice
    for phase in view.annotation.phases if voice is not None else ():
        if phase.speech is not None and phase.speech.relation in relations:
            yield phase, _voice_share_of_span(phase.span, voice or ())


def _voice_share_of_span(span: Span, voice: tuple[Span, ...]) -> float:
    """Share of a span with voice activity."""
    return sum(span.overlap_us(part) for part in voice) / span.duration_us


def _check_lag(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.speech.max_lag_s
    for phase in view.annotation.phases:
        speech = phase.speech
        if speech is not None and speech.relation == "co_speech" and speech.lag_us is not None:
            lag = abs(speech.lag_us) / US_PER_S
            yield CheckResult(lag <= limit, lag, limit, phase)


def _voice_share_of_clip(view: AnnotationView) -> float | None:
    voice = None if view.clip_evidence is None else view.clip_evidence.voice
    return None if voice is None else min(1.0, sum(span.duration_us for span in voice) / view.duration_us)


def _check_speaking(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    base, share, limits = view.annotation.base, _voice_share_of_clip(view), settings.speech
    if base is None or share is None:
        return
    if base.speaking == "speaking":
        yield CheckResult(
            share >= limits.min_speaking_voice_share,
            share,
            limits.min_speaking_voice_share,
            detail="the caption says 'speaking'",
        )
    elif base.speaking == "mixed":
        yield CheckResult(share > 0, share, 0.0, detail="the caption says 'mixed'")


def _check_silent(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    base, share, limit = view.annotation.base, _voice_share_of_clip(view), settings.speech.max_silent_voice_share
    if base is not None and share is not None and base.speaking == "silent":
        # The voice may be another person's; then the mouth does not follow the sound.
        correlation = None if view.clip_evidence is None else view.clip_evidence.mouth_correlation
        is_other_voice = correlation is not None and correlation < settings.speech.min_mouth_correlation
        yield CheckResult(share <= limit or is_other_voice, share, limit, detail="the caption says 'silent'")


def _check_mouth_correlation(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    base, limit = view.annotation.base, settings.speech.min_mouth_correlation
    if (
        base is not None
        and base.speaking == "speaking"
        and (_voice_share_of_clip(view) or 0.0) >= settings.speech.max_silent_voice_share
    ):
        r = None if view.clip_evidence is None else view.clip_evidence.mouth_correlation
        yield CheckResult(None if r is None else r >= limit, r, limit, track="mouth")


def _check_talk(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    voice = None if view.clip_evidence is None else view.clip_evidence.voice
    if voice is None:
        return
    limits = settings.speech
    for phase in view.annotation.phases:
        if phase.action == "talk":
            overlap = _voice_share_of_span(phase.span, voice)
            yield CheckResult(
                overlap >= limits.min_voice_overlap, overlap, limits.min_voice_overlap, phase, "action is talk"
            )


def _check_pause(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    voice = None if view.clip_evidence is None else view.clip_evidence.voice
    if voice is None:
        return
    limits = settings.speech
    for phase in view.annotation.phases:
        if phase.action in ("pause", "open_mouth"):
            overlap = _voice_share_of_span(phase.span, voice)
            yield CheckResult(
                overlap <= limits.max_pause_voice_overlap,
                overlap,
                limits.max_pause_voice_overlap,
                phase,
                f"action is {phase.action}",
            )


def _check_stroke_crossing(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    voice = None if view.clip_evidence is None else view.clip_evidence.voice
    for phase in view.annotation.phases if voice else ():
        stroke = _stroke_span(phase)
        if stroke is not None and phase.kind in _KINDS_WITH_STROKE:
            crossed = [span for span in voice or () if stroke.start_us < span.end_us < stroke.end_us]
            yield CheckResult(not crossed, phase=phase, detail="the stroke continues after the end of the voice")


def _stroke_span(phase: Phase) -> Span | None:
    return next((Span(k.start_us, k.end_us) for k in phase.kinematics if k.phase == "stroke"), None)


SPEECH_CHECKS = (
    Check(
        id="H1",
        requirement="A co-speech phase overlaps with voice activity",
        severity="error",
        metric="phase_voice_share",
        comparator=">=",
        evaluate=_check_co_speech,
        formula="share of the phase with voice activity",
    ),
    Check(
        id="H1b",
        requirement="A phase in a speech pause has no voice activity",
        severity="error",
        metric="phase_voice_share",
        comparator="<=",
        evaluate=_check_in_pause,
        formula="share of the phase with voice activity",
    ),
    Check(
        id="H2",
        requirement="A gesture stroke is synchronous with its word",
        severity="warning",
        metric="lag_s",
        comparator="<=",
        evaluate=_check_lag,
        formula="|stroke apex − nearest word onset| in seconds; viewers accept 0.5 to 0.6 s",
    ),
    Check(
        id="H3",
        requirement="A clip described as speaking contains voice activity",
        severity="error",
        metric="clip_voice_share",
        comparator=">=",
        evaluate=_check_speaking,
        formula="share of the clip with voice activity",
    ),
    Check(
        id="H3b",
        requirement="A clip described as silent contains no voice activity of the person",
        severity="error",
        metric="clip_voice_share",
        comparator="<=",
        evaluate=_check_silent,
        formula="share of the clip with voice activity, unless the mouth does not follow the audio",
    ),
    Check(
        id="H4",
        requirement="The mouth of a speaking person follows the voice",
        severity="warning",
        metric="mouth_correlation",
        comparator=">=",
        evaluate=_check_mouth_correlation,
        formula="Pearson's r of mouth opening and loudness",
    ),
    Check(
        id="H5",
        requirement="A talk phase contains voice activity",
        severity="error",
        metric="phase_voice_share",
        comparator=">=",
        evaluate=_check_talk,
        formula="share of the phase with voice activity",
    ),
    Check(
        id="H5b",
        requirement="A pause or open-mouth phase contains no voice activity",
        severity="error",
        metric="phase_voice_share",
        comparator="<=",
        evaluate=_check_pause,
        formula="share of the phase with voice activity",
    ),
    Check(
        id="H6",
        requirement="A gesture stroke does not cross the end of an utterance",
        severity="info",
        evaluate=_check_stroke_crossing,
        formula="no end of voice activity strictly inside the stroke",
    ),
)
