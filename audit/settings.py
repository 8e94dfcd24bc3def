"""Settings of an audit: limits of the checks, the gate, and the rules for automatic acceptance."""

from pydantic import Field

from xsheet.schemas.settings import StrictModel


class TimelineLimits(StrictModel):
    """Limits of the timeline checks (B)."""

    min_coverage: float = Field(
        default=0.3, ge=0, le=1, description="minimum share of the clip that phases cover, rests included"
    )
    max_overlap_ratio: float = Field(
        default=10.0,
        ge=0,
        description="maximum of summed pairwise overlaps of phases / clip duration; 10 = five tracks busy throughout",
    )
    min_duration_cv: float = Field(
        default=0.1,
        ge=0,
        le=2,
        description="minimum of standard deviation / mean of phase durations; lower values mean uniform segments",
    )
    max_even_partition_share: float = Field(
        default=0.8, gt=0, le=1, description="maximum share of boundaries on an even partition of the clip"
    )
    min_phases_for_uniformity: int = Field(
        default=3, ge=2, description="minimum number of phases for the uniformity checks"
    )
    max_half_second_share: float = Field(
        default=0.5, gt=0, le=1, description="maximum share of boundaries on half seconds; 0.04 by chance"
    )
    min_boundaries_for_rounding: int = Field(
        default=6, ge=2, description="minimum number of boundaries for the rounding check"
    )
    max_phase_share: float = Field(
        default=0.9, gt=0, le=1, description="maximum share of the clip in one phase, except rest, talk and listen"
    )
    max_phases_per_s: float = Field(
        default=4.0, gt=0, description="maximum phases per second of clip; 4 = four tracks that change every second"
    )


class TextCheckLimits(StrictModel):
    """Limits of the text checks (F)."""

    max_words_per_s: float = Field(
        default=12.6,
        gt=0,
        description="maximum words of all phases / clip duration; MotionBench captions have 12.63 (arXiv:2501.02955)",
    )
    max_repeat_gap_s: float = Field(
        default=0.12,
        ge=0,
        le=5,
        description="phases of one track with equal text and a gap below this should be one phase; 0.12 = three frames",
    )
    min_distinct_2: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="minimum distinct bigrams / bigrams; 0 disables the check, because rule-based annotators "
        "repeat themselves",
    )
    max_top_20_share: float = Field(
        default=1.0, gt=0, le=1, description="maximum share of the 20 most frequent texts; 1 disables the check"
    )
    max_compression_ratio: float = Field(
        default=1e3, ge=1, description="maximum uncompressed bytes / gzip bytes of all texts; 1000 disables the check"
    )


class MotionCheckLimits(StrictModel):
    """Limits of the motion checks (G), fitted on the puppet (docs/log/audit.md#seeded-faults)."""

    min_motion_ratio: float = Field(
        default=1.2, ge=0, description="minimum speed inside the phase / speed outside; slow smiles have 1.3"
    )
    max_rest_speed: float = Field(
        default=1.5,
        ge=0,
        description="maximum mean speed in a rest, in units of a small movement; rests of the puppet reach 1.49",
    )
    min_energy_gain: float = Field(
        default=-0.05,
        ge=-1,
        le=1,
        description="minimum of (share of motion in the phases - share of time in the phases); a long hold is "
        "slightly below 0",
    )
    max_displacement_s: float = Field(
        default=0.25,
        ge=0,
        le=2,
        description="maximum distance of a phase from its movement; twice the stated sigma if that is larger",
    )
    max_sigma_tolerance_s: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="largest tolerance that a stated sigma can give; a larger one would hide shifts of 0.4 s",
    )
    max_match_distance_s: float = Field(
        default=1.0, ge=0, le=5, description="maximum distance at which a movement belongs to a phase"
    )
    length_tolerance_s: float = Field(
        default=0.28,
        ge=0,
        le=2,
        description="maximum length difference of a phase and its movement; 0.3 of the phase if that is larger",
    )
    min_moving_share: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="minimum share of the phase in which its motion quantity is away from rest",
    )
    min_side_share: float = Field(
        default=0.4, ge=0, le=1, description="minimum motion of the named hand / motion of both hands"
    )
    min_class_strength: float = Field(
        default=0.8, ge=0, description="minimum amplitude of the class, as a multiple of the motion annotator's minimum"
    )
    min_visible_share: float = Field(
        default=0.8, ge=0, le=1, description="share of visible frames below which motion checks are undetermined"
    )
    max_camera_motion: float = Field(
        default=0.1,
        ge=0,
        description="background motion in picture heights per second above which the camera is not static",
    )
    min_missed_amplitude: float = Field(
        default=1.0,
        ge=0,
        description="amplitude from which a movement must have a phase, as a multiple of the motion annotator's "
        "minimum",
    )
    min_missed_duration_s: float = Field(
        default=0.2,
        ge=0,
        le=5,
        description="duration from which a movement must have a phase, seconds; a long blink has 0.28 s",
    )
    min_amplitude_correlation: float = Field(
        default=0.4, ge=-1, le=1, description="minimum of Spearman's rho between stated and measured amplitude"
    )


class FlowCheckLimits(StrictModel):
    """Limits of the flow checks (G11, G12), measured in docs/log/audit.md#independence."""

    min_flow_ratio: float = Field(
        default=1.5,
        ge=0,
        description="minimum of fast flow inside the phase / median flow outside the phases of the track",
    )
    peak_quantile: float = Field(default=0.9, gt=0, le=1, description="quantile of the flow inside the phase")
    min_still_flow: float = Field(
        default=0.01,
        gt=0,
        description="flow in picture heights per second below which a part is still; above the noise of a still "
        "picture",
    )
    min_missed_flow: float = Field(
        default=0.15, gt=0, description="flow in picture heights per second from which a part clearly moves"
    )
    missed_flow_ratio: float = Field(
        default=4.0, ge=1, description="flow / median flow of the part from which it clearly moves"
    )
    min_missed_duration_s: float = Field(
        default=0.3, ge=0, le=5, description="duration from which a clear movement must have a phase, seconds"
    )


class SpeechCheckLimits(StrictModel):
    """Limits of the speech checks (H)."""

    min_voice_overlap: float = Field(
        default=0.1, ge=0, le=1, description="minimum share of a co-speech or talk phase with voice activity"
    )
    max_pause_voice_overlap: float = Field(
        default=0.5, ge=0, le=1, description="maximum share of a phase in a speech pause with voice activity"
    )
    max_lag_s: float = Field(
        default=0.6, ge=0, description="maximum distance of a stroke from its word; viewers accept 0.5 to 0.6 s"
    )
    min_speaking_voice_share: float = Field(
        default=0.05, ge=0, le=1, description="minimum share of voice activity in a clip described as speaking"
    )
    max_silent_voice_share: float = Field(
        default=0.5, ge=0, le=1, description="maximum share of voice activity in a clip described as silent"
    )
    min_mouth_correlation: float = Field(
        default=0.05,
        ge=-1,
        le=1,
        description="minimum of Pearson's r between mouth opening and loudness of a speaking person",
    )


class ConsistencyLimits(StrictModel):
    """Limits of the consistency checks (D)."""

    min_support: float = Field(
        default=0.6, ge=0, le=1, description="minimum share of the samples that contain the phase"
    )
    min_sample_f1: float = Field(
        default=0.5, ge=0, le=1, description="minimum of mean F1 at tIoU 0.5 over pairs of samples of a clip"
    )


class GateLimits(StrictModel):
    """Limits of the gate; a limit of null disables its criterion."""

    max_structural_error_rate: float = Field(
        default=0.0, ge=0, le=1, description="maximum share of annotations that fail a structure check"
    )
    max_movement_not_visible_rate: float | None = Field(
        default=0.10,
        ge=0,
        le=1,
        description="maximum share of the verifiable phases whose claimed movement is not visible (G1, G4)",
    )
    max_missed_motion_share: float | None = Field(
        default=0.5,
        ge=0,
        le=1,
        description="maximum share of the moving time that no phase covers (G9); marked unknown in the accepted layer",
    )
    max_unusable_response_rate: float | None = Field(
        default=0.01, ge=0, le=1, description="maximum share of responses that are truncated or invalid"
    )
    min_agreement_f1: float | None = Field(
        default=None, ge=0, le=1, description="minimum F1 at tIoU 0.5 against the reference layer; 0.65 is a good start"
    )
    min_acceptance_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="minimum of the lower Wilson bound of the acceptance rate of a random sample; 0.85 is a good start",
    )
    min_verifiable_share: float | None = Field(
        default=None, ge=0, le=1, description="minimum share of the phases whose body part is visible"
    )


class AcceptRules(StrictModel):
    """Which annotations of a layer that passed the gate are accepted without review."""

    min_score: float = Field(
        default=0.5, ge=0, le=1, description="minimum overall score, which is the score of the worst check family"
    )
    max_warnings: int | None = Field(
        default=None, ge=0, description="maximum number of warnings of an annotation; null = any number"
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
