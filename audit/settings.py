"""Settings of an audit: the limits of the checks, the gate, and what may be accepted without a person.

Numbers marked §9 are starting values of the annotation study; the others say where they were chosen.
"""

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class TimelineLimits(StrictModel):
    """What an ordinary timeline of one clip looks like."""

    min_coverage: float = Field(default=0.3, ge=0, le=1, description="share of the clip in any phase, rests too; §9-B")
    max_overlap_ratio: float = Field(
        default=10.0, ge=0, description="seconds of pairs of phases by seconds of clip; five tracks that never rest"
    )
    min_duration_cv: float = Field(
        default=0.1, ge=0, le=2, description="spread of the durations by their mean, below it they are slabs; §9-B"
    )
    max_even_partition_share: float = Field(
        default=0.8, gt=0, le=1, description="share of boundaries on an even partition of the clip; §9-B"
    )
    min_phases_for_uniformity: int = Field(
        default=3, ge=2, description="phases from which durations can be called even; §9-B"
    )
    max_half_second_share: float = Field(
        default=0.5, gt=0, le=1, description="share of boundaries on half seconds; by chance 0.04 (§9-B)"
    )
    min_boundaries_for_rounding: int = Field(
        default=6, ge=2, description="boundaries from which that share means something"
    )
    max_phase_share: float = Field(
        default=0.9, gt=0, le=1, description="share of the clip in one phase that is no rest; §9-B"
    )
    max_phases_per_s: float = Field(default=4.0, gt=0, description="four tracks that change every second")


class TextCheckLimits(StrictModel):
    """What ordinary wording looks like."""

    max_words_per_s: float = Field(
        default=12.6, gt=0, description="words of all phases by seconds of clip; captions of MotionBench have 12.63"
    )
    max_repeat_gap_s: float = Field(
        default=0.12, ge=0, le=5, description="phases of a track so near with the same words are one; three frames"
    )
    min_distinct_2: float = Field(
        default=0.0, ge=0, le=1, description="pairs of words that differ, by all; off for annotators that write by rule"
    )
    max_top_20_share: float = Field(
        default=1.0, gt=0, le=1, description="share of the 20 most frequent texts; as above"
    )
    max_compression_ratio: float = Field(
        default=1e3, ge=1, description="size of the texts by their gzip size; as above"
    )


class MotionCheckLimits(StrictModel):
    """When measured motion speaks for a phase. Fitted on the puppet (docs/log/audit.md#seeded-faults)."""

    min_motion_ratio: float = Field(
        default=1.2, ge=0, description="speed inside by that outside; §9-G has 1.5, slow smiles 1.3"
    )
    max_rest_speed: float = Field(
        default=1.5, ge=0, description="mean speed in a rest, 1 = a small movement; rests of puppets reach 1.49"
    )
    min_energy_gain: float = Field(
        default=-0.05, ge=-1, le=1, description="share of motion less share of time; §9-G has 0, a long hold is below"
    )
    max_displacement_s: float = Field(
        default=0.25, ge=0, le=2, description="of a phase from the movement it means, or twice its stated sigma; §9-G"
    )
    max_sigma_tolerance_s: float = Field(
        default=0.3, ge=0, le=2, description="the most that a stated sigma excuses; above it 0.4 s would go unseen"
    )
    max_match_distance_s: float = Field(default=1.0, ge=0, le=5, description="farther away it is another movement")
    length_tolerance_s: float = Field(
        default=0.28, ge=0, le=2, description="or 0.3 of the phase: lengths so near are those of one movement, moved"
    )
    min_moving_share: float = Field(
        default=0.35, ge=0, le=1, description="share of the phase in which its quantity is away from rest"
    )
    min_side_share: float = Field(default=0.4, ge=0, le=1, description="of the named hand in the motion of both; §9-G")
    min_class_strength: float = Field(
        default=0.8, ge=0, description="of the class, 1 = the least that the annotator counts"
    )
    min_visible_share: float = Field(
        default=0.8, ge=0, le=1, description="share of frames below which nothing is verified; §9-G"
    )
    max_camera_motion: float = Field(
        default=0.1, ge=0, description="picture heights per second from which a camera is not static"
    )
    min_missed_amplitude: float = Field(
        default=1.0, ge=0, description="size of a movement that must not be missed, by the least that counts"
    )
    min_missed_duration_s: float = Field(default=0.2, ge=0, le=5, description="length of it; a long blink has 0.28 s")
    min_amplitude_correlation: float = Field(
        default=0.4, ge=-1, le=1, description="Spearman, stated levels with sizes; §9-G"
    )


class SpeechCheckLimits(StrictModel):
    """When voice and mouth speak for a claim about them."""

    min_voice_overlap: float = Field(
        default=0.1, ge=0, le=1, description="share with voice of what is called co-speech"
    )
    max_pause_voice_overlap: float = Field(
        default=0.5, ge=0, le=1, description="share with voice of what is said to lie in a pause"
    )
    max_lag_s: float = Field(default=0.6, ge=0, description="of a co-speech stroke; viewers accept 0.5 to 0.6 (§9-H)")
    min_speaking_voice_share: float = Field(
        default=0.05, ge=0, le=1, description="share of the clip with voice: nobody speaks"
    )
    max_silent_voice_share: float = Field(
        default=0.5, ge=0, le=1, description="share of the clip with voice: somebody speaks"
    )
    min_mouth_correlation: float = Field(
        default=0.05, ge=-1, le=1, description="of mouth opening with loudness while somebody is said to speak"
    )


class ConsistencyLimits(StrictModel):
    """What other samples must say."""

    min_support: float = Field(default=0.6, ge=0, le=1, description="share of the samples that have the phase; §9-D")
    min_sample_f1: float = Field(default=0.5, ge=0, le=1, description="mean F1@0.5 of the samples of a clip")


class GateLimits(StrictModel):
    """What a layer must keep to be trusted; a limit that is null is not asked for."""

    max_structural_error_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of annotations that fail A; §9 release gate"
    )
    max_hallucination_rate: float | None = Field(
        default=0.10, ge=0, le=1, description="share of the visible phases that motion refutes; §9"
    )
    max_missed_motion_share: float | None = Field(
        default=0.10, ge=0, le=1, description="share of the moving time; §9, G9"
    )
    max_unusable_response_rate: float | None = Field(
        default=0.01, ge=0, le=1, description="truncated and invalid replies; §9"
    )
    min_agreement_f1: float | None = Field(
        default=None, ge=0, le=1, description="F1@0.5 with the layer of --against; §9-C: 0.65"
    )
    min_acceptance_rate: float | None = Field(
        default=None, ge=0, le=1, description="lower Wilson bound of what people accept of a random sample; §9-J: 0.85"
    )
    min_verifiable_share: float | None = Field(
        default=None, ge=0, le=1, description="share of the phases whose part is seen; below, the gate knows too little"
    )


class AcceptRules(StrictModel):
    """Which annotations of a layer that passed are accepted without a person."""

    min_score: float = Field(default=0.5, ge=0, le=1, description="overall; half of what was checked of its worst side")
    max_warnings: int | None = Field(default=None, ge=0, description="findings of severity warning; null is any number")


class AuditSettings(StrictModel):
    """All of an audit."""

    timeline: TimelineLimits = TimelineLimits()
    text: TextCheckLimits = TextCheckLimits()
    motion: MotionCheckLimits = MotionCheckLimits()
    speech: SpeechCheckLimits = SpeechCheckLimits()
    consistency: ConsistencyLimits = ConsistencyLimits()
    gate: GateLimits = GateLimits()
    accept: AcceptRules = AcceptRules()
