"""Settings of an audit: limits of the checks, the gate, and the rules for automatic acceptance."""

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class TimelineLimits(StrictModel):
    """Limits of the timeline checks (B)."""

    min_coverage: float = Field(
        default=0.3, ge=0, le=1, description="share of the clip that phases cover, rests included"
    )
    max_overlap_ratio: float = Field(
        default=10.0,
        ge=0,
        description="summed pairwise overlap of phases / clip duration; 10 = five tracks busy throughout",
    )
    min_duration_cv: float = Field(
        default=0.1,
        ge=0,
        le=2,
        description="standard deviation / mean of phase durations; lower values are uniform segments",
    )
    max_even_partition_share: float = Field(
        default=0.8, gt=0, le=1, description="share of boundaries on an even partition of the clip"
    )
    min_phases_for_uniformity: int = Field(default=3, ge=2, description="fewest phases for which uniformity is judged")
    max_half_second_share: float = Field(
        default=0.5, gt=0, le=1, description="share of boundaries on half seconds; 0.04 by chance"
    )
    min_boundaries_for_rounding: int = Field(
        default=6, ge=2, description="fewest boundaries for which rounding is judged"
    )
    max_phase_share: float = Field(
        default=0.9, gt=0, le=1, description="share of the clip in one phase, except rest, talk and listen"
    )
    max_phases_per_s: float = Field(default=4.0, gt=0, description="4 = four tracks that change every second")


class TextCheckLimits(StrictModel):
    """Limits of the text checks (F)."""

    max_words_per_s: float = Field(
        default=12.6,
        gt=0,
        description="words of all phases / clip duration; MotionBench captions have 12.63 (arXiv:2501.02955)",
    )
    max_repeat_gap_s: float = Field(
        default=0.12,
        ge=0,
        le=5,
        description="phases of one track with equal text and a shorter gap are one phase; 0.12 = three frames",
    )
    min_distinct_2: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="distinct bigrams / bigrams; 0 disables it, as rule-based annotators repeat themselves",
    )
    max_top_20_share: float = Field(
        default=1.0, gt=0, le=1, description="share of the 20 most frequent texts; 1 disables it"
    )
    max_compression_ratio: float = Field(
        default=1e3, ge=1, description="uncompressed bytes / gzip bytes of all texts; 1000 disables it"
    )


class MotionCheckLimits(StrictModel):
    """Limits of the motion checks (G), fitted on the puppet (docs/log/audit.md#seeded-faults)."""

    min_motion_ratio: float = Field(default=1.2, ge=0, description="speed inside / speed outside; slow smiles have 1.3")
    max_rest_speed: float = Field(
        default=1.5, ge=0, description="mean speed in a rest, 1 = a small movement; rests of the puppet reach 1.49"
    )
    min_energy_gain: float = Field(
        default=-0.05, ge=-1, le=1, description="share of motion - share of time; a long hold is slightly below 0"
    )
    max_displacement_s: float = Field(
        default=0.25,
        ge=0,
        le=2,
        description="distance of a phase from its movement; twice the stated sigma if that is more",
    )
    max_sigma_tolerance_s: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="largest tolerance that a stated sigma gives; more would hide shifts of 0.4 s",
    )
    max_match_distance_s: float = Field(
        default=1.0, ge=0, le=5, description="a movement farther away is not the movement of the phase"
    )
    length_tolerance_s: float = Field(
        default=0.28,
        ge=0,
        le=2,
        description="length difference of a phase and its movement; 0.3 of the phase if that is more",
    )
    min_moving_share: float = Field(
        default=0.35, ge=0, le=1, description="share of the phase in which its motion quantity is away from rest"
    )
    min_side_share: float = Field(
        default=0.4, ge=0, le=1, description="motion of the named hand / motion of both hands"
    )
    min_class_strength: float = Field(
        default=0.8, ge=0, description="amplitude of the class, 1 = the minimum that the motion annotator counts"
    )
    min_visible_share: float = Field(
        default=0.8, ge=0, le=1, description="share of visible frames below which motion checks are undetermined"
    )
    max_camera_motion: float = Field(
        default=0.1, ge=0, description="picture heights per second from which a camera is not static"
    )
    min_missed_amplitude: float = Field(
        default=1.0, ge=0, description="amplitude of a movement that must have a phase, 1 = the minimum that counts"
    )
    min_missed_duration_s: float = Field(
        default=0.2, ge=0, le=5, description="duration of such a movement; a long blink has 0.28 s"
    )
    min_amplitude_correlation: float = Field(
        default=0.4, ge=-1, le=1, description="Spearman's rho of stated and measured amplitude"
    )


class FlowCheckLimits(StrictModel):
    """Limits of the flow checks (G11, G12), measured in docs/log/audit.md#independence."""

    min_flow_ratio: float = Field(
        default=1.5, ge=0, description="fast flow inside the phase / median flow outside the phases of the track"
    )
    peak_quantile: float = Field(default=0.9, gt=0, le=1, description="quantile of the flow inside the phase")
    min_still_flow: float = Field(
        default=0.01, gt=0, description="picture heights per second; the noise of a still picture is below it"
    )
    min_missed_flow: float = Field(
        default=0.15, gt=0, description="picture heights per second from which a part moves clearly"
    )
    missed_flow_ratio: float = Field(
        default=4.0, ge=1, description="flow / median flow of the part from which it moves"
    )
    min_missed_duration_s: float = Field(default=0.3, ge=0, le=5, description="duration of such a movement")


class SpeechCheckLimits(StrictModel):
    """Limits of the speech checks (H)."""

    min_voice_overlap: float = Field(
        default=0.1, ge=0, le=1, description="share of a co-speech or talk phase with voice activity"
    )
    max_pause_voice_overlap: float = Field(
        default=0.5, ge=0, le=1, description="share of a phase in a speech pause with voice activity"
    )
    max_lag_s: float = Field(
        default=0.6, ge=0, description="distance of a stroke from its word; viewers accept 0.5 to 0.6 s"
    )
    min_speaking_voice_share: float = Field(
        default=0.05, ge=0, le=1, description="share of the clip with voice activity; below it nobody speaks"
    )
    max_silent_voice_share: float = Field(
        default=0.5, ge=0, le=1, description="share of the clip with voice activity; above it somebody speaks"
    )
    min_mouth_correlation: float = Field(
        default=0.05, ge=-1, le=1, description="Pearson's r of mouth opening and loudness of a speaking person"
    )


class ConsistencyLimits(StrictModel):
    """Limits of the consistency checks (D)."""

    min_support: float = Field(default=0.6, ge=0, le=1, description="share of the samples that contain the phase")
    min_sample_f1: float = Field(
        default=0.5, ge=0, le=1, description="mean F1 at tIoU 0.5 over pairs of samples of a clip"
    )


class GateLimits(StrictModel):
    """Limits of the gate; a limit of null disables its criterion."""

    max_structural_error_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of annotations that fail a structure check"
    )
    max_movement_not_visible_rate: float | None = Field(
        default=0.10,
        ge=0,
        le=1,
        description="share of the verifiable phases whose claimed movement is not visible (G1, G4)",
    )
    max_missed_motion_share: float | None = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the moving time that no phase covers (G9); it is unknown in the accepted layer",
    )
    max_unusable_response_rate: float | None = Field(
        default=0.01, ge=0, le=1, description="share of responses that are truncated or invalid"
    )
    min_agreement_f1: float | None = Field(
        default=None, ge=0, le=1, description="F1 at tIoU 0.5 against the reference layer; 0.65 is a good start"
    )
    min_acceptance_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="lower Wilson bound of the acceptance rate of a random sample; 0.85 is a good start",
    )
    min_verifiable_share: float | None = Field(
        default=None, ge=0, le=1, description="share of the phases whose body part is visible"
    )


class AcceptRules(StrictModel):
    """Which annotations of a layer that passed the gate are accepted without review."""

    min_score: float = Field(
        default=0.5, ge=0, le=1, description="smallest overall score, which is that of the worst check family"
    )
    max_warnings: int | None = Field(
        default=None, ge=0, description="most warnings of an annotation; null is any number"
    )


class AuditSettings(StrictModel):
    """All settings of an audit."""

    timeline: TimelineLimits = TimelineLimits()
    text: TextCheckLimits = TextCheckLimits()
    motion: MotionCheckLimits = MotionCheckLimits()
    flow: FlowCheckLimits = FlowCheckLimits()
    speech: SpeechCheckLimits = SpeechCheckLimits()
    consistency: ConsistencyLimits = ConsistencyLimits()
    gate: GateLimits = GateLimits()
    accept: AcceptRules = AcceptRules()
