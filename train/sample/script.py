"""The script of a sample, and its conversion to an annotation.

In YAML or JSON (script_sources.py reads it, and other sources):

base: A woman with short dark hair speaks in front of a plain wall.
phases:
- {start_s: 0.4, end_s: 1.4, text: nods twice}
- {start_s: 1.8, end_s: 3.0, text: tilts the head to the left}
"""

from pydantic import Field, ValidationError

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, annotation_id, sorted_phases
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import seconds_from_us, us_from_seconds

SCRIPT_ID = "script"
"""Clip and run of an annotation that describes no clip."""


class ScriptPhase(StrictModel):
    """One timed action."""

    start_s: float = Field(ge=0, le=3600, description="start in seconds from the first frame")
    end_s: float = Field(gt=0, le=3600, description="end in seconds, half-open")
    text: str = Field(min_length=3, max_length=400, description="the action in plain words, present tense")
    track: vocab.Track = Field(default="whole_body", description="body part; phases of one track never overlap")
    action: vocab.Action = Field(default="other", description="action class, if there is one; evaluation requires it")
    laterality: vocab.Laterality = Field(default="none", description="the subject's own side")


class ActionScript(StrictModel):
    """The script of a sample: base text and timed actions."""

    base: str = Field(
        min_length=20, max_length=600, description="what holds for the whole clip: appearance, scene, mood"
    )
    speaking: vocab.Speaking = Field(default="speaking", description="speaking style of the subject")
    phases: tuple[ScriptPhase, ...] = Field(default=(), max_length=1000, description="timed actions")

    def annotation(self, duration_us: int, *, where: str) -> Annotation:
        """The script as an annotation; ConfigError if phases overlap on a track or exceed the duration."""
        base = Base(
            text=self.base, subject=self.base, framing="head_shoulders", scene="as described", camera="static",
            speaking=self.speaking,
        )  # fmt: skip
        try:
            phases = sorted_phases(_phase(k, one) for k, one in enumerate(self.phases))
            return Annotation(
                annotation_id=annotation_id(
                    clip_id=SCRIPT_ID, layer="imported", run_id=SCRIPT_ID, sample_index=None, base=base, phases=phases
                ),
                vocab_version=vocab.VOCAB_VERSION, clip_id=SCRIPT_ID, layer="imported", run_id=SCRIPT_ID, status="ok",
                duration_us=duration_us, base=base, phases=phases,
            )  # fmt: skip
        except (ValidationError, ValueError) as error:
            first = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            end_s = seconds_from_us(duration_us)
            raise ConfigError(
                where=where,
                expected=f"phases of at least 0.12 s within {end_s:.2f} s that do not overlap on one track", got=first,
                hint="move them, put them on different tracks, or use longer audio",
            ) from error  # fmt: skip


def _phase(index: int, script_phase: ScriptPhase) -> Phase:
    return Phase(
        phase_id=f"p{index}",
        track=script_phase.track,
        start_us=us_from_seconds(script_phase.start_s),
        end_us=us_from_seconds(script_phase.end_s),
        action=script_phase.action,
        text=script_phase.text,
        laterality=vocab.SIDED_TRACK.get(script_phase.track, script_phase.laterality),
        kind="action",
        origin="human",
    )
