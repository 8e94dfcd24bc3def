"""Ground truth of a film as schema records: shots, planted offset, per-frame signals, annotated phases."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xsheet import __version__
from xsheet.demo.film.plan import SAMPLES_PER_FRAME, CastMember, FilmPlan, ShotPlan
from xsheet.demo.puppet.identity import Identity
from xsheet.demo.puppet.script import PlannedAction, rest_phases
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, annotation_id, sorted_phases
from xsheet.schemas.clip import Measures, Signals, SyncScore
from xsheet.schemas.run import Model, Run
from xsheet.schemas.source import CutScore, Shot

TRUTH_NAME = "truth"
ACTION_KINDS: dict[vocab.Action, vocab.PhaseKind] = {
    "look_away": "gaze", "blink_long": "gaze", "raise_brows": "expression", "smile": "expression",
    "open_mouth": "expression", "lean_in": "posture", "lean_back": "posture", "sway": "posture", "shrug": "gesture",
    "raise_hand": "gesture", "lower_hand": "gesture", "wave": "gesture", "rest": "rest",
}  # fmt: skip
TRACK_BODY_PARTS: dict[vocab.Track, tuple[vocab.BodyPart, ...]] = {
    "head": ("head",), "gaze": ("eyes",), "brows": ("brows",), "face": ("mouth", "cheeks"), "mouth": ("mouth",),
    "torso": ("torso",), "whole_body": (), "arm_left": ("arm_left", "hand_left"),
    "arm_right": ("arm_right", "hand_right"),
}  # fmt: skip
ACTION_PHRASES: dict[vocab.Action, str] = {
    "nod": "nods", "shake_head": "shakes the head", "tilt_head": "tilts the head to the {side}",
    "turn_head": "turns the head to the {side}", "look_away": "looks away to the {side}",
    "blink_long": "closes both eyes for a moment", "raise_brows": "raises both brows", "smile": "smiles",
    "open_mouth": "opens the mouth without speaking", "lean_in": "leans towards the camera", "lean_back": "leans back",
    "sway": "sways from side to side", "shrug": "shrugs both shoulders", "raise_hand": "raises the {side} hand",
    "lower_hand": "lowers the {side} hand", "wave": "waves with the {side} hand", "rest": "keeps still",
}  # fmt: skip
REPETITION_WORDS = {1: "once", 2: "twice", 3: "three times", 4: "four times"}
AMPLITUDE_WORDS = {1: "slightly", 3: "widely"}
_SEEN_FROM: dict[vocab.Framing, str] = {"head_shoulders": "the chest", "upper_body": "the waist"}
SPEED_WORDS = {1: "slowly", 3: "quickly"}
FACE_HEIGHT, FACE_CENTRE = 0.8, 0.13
"""Height of the face from forehead to chin, and its centre below the eyes, in heights of the head with its hair: the
box of the face mesh on 40 drawn people (.73 to .86, .11 to .15), so that drawn and measured sets are framed alike."""


def truth_run(seed: int) -> Run:
    """Return the run that every annotation of a corpus refers to."""
    model = Model(id="xsheet.demo", revision=__version__)
    run_id = "run_" + ids.content_key(TRUTH_NAME, model.revision, seed)[:20]
    return Run(run_id=run_id, kind="truth", tool_version=__version__, model=model)


def truth_shots(plan: FilmPlan, source_id: str) -> Iterator[Shot]:
    """Yield the shots; frames of a dissolve belong to none."""
    for shot in plan.shots:
        scores = () if shot.opens_with == "start" else (CutScore(detector=TRUTH_NAME, score=1.0),)
        yield Shot(
            shot_id=ids.shot_id(source_id, shot.span),
            source_id=source_id,
            start_us=shot.span.start_us,
            end_us=shot.span.end_us,
            opens_with=shot.opens_with,
            cut_scores=scores,
        )


def truth_rows(plan: FilmPlan, source_id: str) -> Iterator[Measures | Signals | Annotation]:
    """Yield planted offset, signals and phases of every puppet in every shot."""
    for shot in plan.shots:
        for column, member in enumerate(shot.cast_members):
            measures = _measures(plan, shot, column, source_id)
            yield measures
            yield _signals(plan, shot, column, measures.clip_id)
            yield _annotation(plan, shot, member, measures.clip_id)


def _measures(plan: FilmPlan, shot: ShotPlan, column: int, source_id: str) -> Measures:
    shot_id = ids.shot_id(source_id, shot.span)
    track = ids.track_id(
        shot_id, shot.span.start_us, (column / len(shot.cast_members), 0.0, (column + 1) / len(shot.cast_members), 1.0)
    )
    is_speaker = shot.speaker == column
    return Measures(
        clip_id=ids.clip_id(source_id, shot.span, track),
        source_id=source_id,
        shot_id=shot_id,
        track_id=track,
        start_us=shot.span.start_us,
        end_us=shot.span.end_us,
        # Null where no offset makes lips and sound agree: another voice, music, silence, a still.
        sync=SyncScore(scorer=TRUTH_NAME, offset_frames=plan.offset_frames) if is_speaker else None,
    )


def _signals(plan: FilmPlan, shot: ShotPlan, column: int, clip_id: str) -> Signals:
    member = shot.cast_members[column]
    motion, scene = member.motion, shot.identity(member).scene
    voice = np.zeros(len(motion), np.float32)
    if shot.speaker == column and member.speech is not None:
        voice = _shift_frames(member.speech.voiced.astype(np.float32), plan.offset_frames)
    series: dict[str, NDArray[np.floating]] = {
        "mouth_open": motion.mouth_open, "mouth_wide": motion.mouth_wide, "smile": motion.smile,
        "yaw_deg": motion.yaw_deg, "pitch_deg": motion.pitch_deg, "roll_deg": motion.roll_deg,
        "brow_raise": motion.brow_raise, "eye_left_open": motion.eye_left_open, "eye_right_open": motion.eye_right_open,
        "gaze_x": motion.gaze_x, "gaze_y": motion.gaze_y,
        "head_x": column + 0.5 + scene.centre_x + motion.shift_x,
        "head_y": scene.eye_line + FACE_CENTRE * scene.head_share - motion.shift_y,
        "head_height": np.full(len(motion), FACE_HEIGHT * scene.head_share),
        "face_visible": np.ones(len(motion)), "voice": voice, "energy_db": _energy_db(plan, shot),
    }  # fmt: skip
    return Signals(
        clip_id=clip_id,
        frames=len(motion),
        extractor=TRUTH_NAME,
        **{name: tuple(map(float, values)) for name, values in series.items()},
    )


def _energy_db(plan: FilmPlan, shot: ShotPlan) -> NDArray[np.floating]:
    frames = plan.sound.reshape(-1, SAMPLES_PER_FRAME)[shot.frames.start : shot.frames.stop].astype(np.float64)
    # Digital silence has no level in dB: the floor is one step of 16 bits. A tenth of a dB is precise enough.
    level: NDArray[np.float64] = np.maximum(np.sqrt((frames**2).mean(axis=1)), 2.0**-15)
    return np.asarray(np.round(20 * np.log10(level), 1))


def _shift_frames(voice: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    shifted = np.zeros_like(voice)
    if frames >= 0:
        shifted[frames:] = voice[: len(voice) - frames]
    else:
        shifted[:frames] = voice[-frames:]
    return shifted


def _annotation(plan: FilmPlan, shot: ShotPlan, member: CastMember, clip_id: str) -> Annotation:
    run, base = (
        truth_run(plan.seed),
        _base(shot.identity(member), speaking=member.speech is not None, framing=shot.framing),
    )
    planned = (*member.actions, *rest_phases(member.actions, len(shot.frames)))
    phases = sorted_phases(_phase(i, one) for i, one in enumerate(planned))
    return Annotation(
        annotation_id=annotation_id(
            clip_id=clip_id, layer="gold", run_id=run.run_id, sample_index=None, base=base, phases=phases
        ),
        vocab_version=vocab.VOCAB_VERSION,
        clip_id=clip_id,
        layer="gold",
        run_id=run.run_id,
        status="ok",
        duration_us=shot.span.duration_us,
        base=base,
        phases=phases,
    )


def _phase(index: int, planned: PlannedAction) -> Phase:
    return Phase(
        phase_id=f"p{index}",
        track=planned.track,
        start_us=planned.span.start_us,
        end_us=planned.span.end_us,
        start_sigma_us=0,
        end_sigma_us=0,
        action=planned.action,
        text=action_text(planned),
        body_parts=TRACK_BODY_PARTS[planned.track],
        laterality=planned.laterality,
        kind=ACTION_KINDS.get(planned.action, "action"),
        amplitude=planned.amplitude,
        speed=planned.speed,
        repetitions=planned.repetitions,
        kinematics=planned.kinematics,
        visibility=1.0,
        origin="truth",
    )


def action_text(planned: PlannedAction) -> str:
    """Describe the action in words, e.g. 'nods twice, slightly, quickly'."""
    text = ACTION_PHRASES[planned.action].format(side=planned.laterality)
    if planned.repetitions > 1:
        text += f" {REPETITION_WORDS[planned.repetitions]}"
    style = [AMPLITUDE_WORDS.get(planned.amplitude), SPEED_WORDS.get(planned.speed)]
    return ", ".join([text, *filter(None, style)])


def _base(puppet: Identity, *, speaking: bool, framing: vocab.Framing) -> Base:
    subject = f"a drawn person with {puppet.appearance.hair} hair"
    scene = "a plain coloured wall"
    verb = "speaks" if speaking else "is silent"
    seen = f"seen from {_SEEN_FROM[framing]} up"
    return Base(
        text=f"A drawn person with {puppet.appearance.hair} hair {verb} in front of {scene}, {seen}.",
        subject=subject,
        framing=framing,
        scene=scene,
        camera="static",
        speaking="speaking" if speaking else "silent",
    )
