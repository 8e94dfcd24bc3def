"""Speech (H): claims about voice, mouth and timing to the voice, beside what was measured of them."""

from collections.abc import Iterator

from xsheet.audit.checks.base import Check, Outcome, View
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S, Span

_STROKES = ("gesture", "action")


def _with_voice(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.speech.min_overlap
    for phase, overlap in _related(view, "co_speech", "onset_before", "offset_after"):
        yield Outcome(overlap >= limit, overlap, limit, phase)


def _without_voice(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.speech.max_overlap
    for phase, overlap in _related(view, "in_pause", "no_speech"):
        yield Outcome(overlap <= limit, overlap, limit, phase)


def _related(view: View, *relations: vocab.Relation) -> Iterator[tuple[Phase, float]]:
    """Phases that state one of these relations, and the share of each with voice."""
    voice = None if view.measured is None else view.measured.voice
    for phase in view.annotation.phases if voice is not None else ():
        if phase.speech is not None and phase.speech.relation in relations:
            yield phase, _overlap(phase.span, voice or ())


def _overlap(span: Span, voice: tuple[Span, ...]) -> float:
    """Share of a span with voice."""
    return sum(span.overlap_us(part) for part in voice) / span.duration_us


def _lag(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.speech.max_lag_s
    for phase in view.annotation.phases:
        said = phase.speech
        if said is not None and said.relation == "co_speech" and said.lag_us is not None:
            lag = abs(said.lag_us) / US_PER_S
            yield Outcome(lag <= limit, lag, limit, phase)


def _voice_share(view: View) -> float | None:
    voice = None if view.measured is None else view.measured.voice
    return None if voice is None else min(1.0, sum(span.duration_us for span in voice) / view.duration_us)


def _speaking(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    base, share, limits = view.annotation.base, _voice_share(view), settings.speech
    if base is None or share is None:
        return
    if base.speaking == "speaking":
        yield Outcome(share >= limits.silent_below, share, limits.silent_below, detail="the base says 'speaking'")
    elif base.speaking == "mixed":
        yield Outcome(share > 0, share, 0.0, detail="the base says 'mixed'")


def _silent(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    base, share, limit = view.annotation.base, _voice_share(view), settings.speech.speaking_above
    if base is not None and share is not None and base.speaking == "silent":
        # Somebody else may be heard; then the mouth does not follow the sound.
        own = None if view.measured is None else view.measured.mouth_correlation
        heard_else = own is not None and own < settings.speech.min_mouth_correlation
        yield Outcome(share <= limit or heard_else, share, limit, detail="the base says 'silent'")


def _mouth(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    base, limit = view.annotation.base, settings.speech.min_mouth_correlation
    if (
        base is not None
        and base.speaking == "speaking"
        and (_voice_share(view) or 0.0) >= settings.speech.speaking_above
    ):
        found = None if view.measured is None else view.measured.mouth_correlation
        yield Outcome(None if found is None else found >= limit, found, limit)


def _talks(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    voice = None if view.measured is None else view.measured.voice
    if voice is None:
        return
    limits = settings.speech
    for phase in view.annotation.phases:
        if phase.action == "talk":
            overlap = _overlap(phase.span, voice)
            yield Outcome(overlap >= limits.min_overlap, overlap, limits.min_overlap, phase, "claims talk")


def _pauses(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    voice = None if view.measured is None else view.measured.voice
    if voice is None:
        return
    limits = settings.speech
    for phase in view.annotation.phases:
        if phase.action in ("pause", "open_mouth"):
            overlap = _overlap(phase.span, voice)
            yield Outcome(overlap <= limits.max_overlap, overlap, limits.max_overlap, phase, f"claims {phase.action}")


def _crossing(view: View, _: AuditSettings) -> Iterator[Outcome]:
    voice = None if view.measured is None else view.measured.voice
    for phase in view.annotation.phases if voice else ():
        stroke = _stroke(phase)
        if stroke is not None and phase.kind in _STROKES:
            crossed = [span for span in voice or () if stroke.start_us < span.end_us < stroke.end_us]
            yield Outcome(not crossed, phase=phase, detail="its stroke goes on after the voice has ended")


def _stroke(phase: Phase) -> Span | None:
    return next((Span(k.start_us, k.end_us) for k in phase.kinematics if k.phase == "stroke"), None)


SPEECH = (
    Check(id="H1", why="what is said to go with speech is done while there is voice", severity="error",
          number="voice_overlap", sense=">=", judge=_with_voice,
          formula="share of the phase with voice activity (§9-H)"),
    Check(id="H1b", why="what is said to lie in a pause is done without voice", severity="error",
          number="voice_overlap", sense="<=", judge=_without_voice,
          formula="share of the phase with voice activity (§9-H)"),
    Check(id="H2", why="a gesture goes with its word", severity="warning", number="lag_s", sense="<=", judge=_lag,
          formula="|apex of the stroke - nearest onset|; viewers accept 0.5 to 0.6 s (§9-H)"),
    Check(id="H3", why="who is said to speak is heard", severity="error", number="voice_share", sense=">=",
          judge=_speaking, formula="share of the clip with voice activity (§9-H)"),
    Check(id="H3b", why="who is said to be silent is not heard", severity="error", number="voice_share", sense="<=",
          judge=_silent, formula="share of the clip with voice activity while the mouth follows the sound (§9-H)"),
    Check(id="H4", why="a mouth that speaks follows the voice", severity="warning", number="mouth_correlation",
          sense=">=", judge=_mouth, formula="Pearson's r of mouth opening with loudness (§9-H)"),
    Check(id="H5", why="who talks in a phase is heard in it", severity="error", number="voice_overlap", sense=">=",
          judge=_talks, formula="share of the phase with voice activity (§9-H)"),
    Check(id="H5b", why="who pauses is not heard meanwhile", severity="error", number="voice_overlap", sense="<=",
          judge=_pauses, formula="share of the phase with voice activity (§9-H)"),
    Check(id="H6", why="strokes rarely cross the end of an utterance", severity="info", judge=_crossing,
          formula="no end of voice strictly inside the stroke (§9-H)"),
)  # fmt: skip
