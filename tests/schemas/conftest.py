"""One sparse and one full example of every record, in the contract's own words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from xsheet.schemas import annotation, clip, run, source
from xsheet.schemas.tables import (
    ANNOTATIONS,
    CLIPS,
    FEATURES,
    FINDINGS,
    FINGERPRINTS,
    MEASURES,
    NEAR_DUPLICATES,
    REVIEWS,
    RUNS,
    SHOTS,
    SIGNALS,
    SOURCES,
    SPLITS,
    TIMELINES,
    TRACKS,
    VERDICTS,
    WORDS,
)

HASH = "ab" * 32


def nod(**changes: Any) -> annotation.Phase:
    values: dict[str, Any] = {
        "phase_id": "p0", "track": "head", "start_us": 400_000, "end_us": 1_200_000, "action": "nod",
        "text": "nods twice", "laterality": "none", "kind": "action", "origin": "motion",
    }  # fmt: skip
    return annotation.Phase(**values | changes)


def base() -> annotation.Base:
    return annotation.Base(
        text="A person in a green shirt speaks to the camera.", subject="a person in a green shirt",
        framing="head_shoulders", scene="plain wall", camera="static", speaking="speaking",
    )  # fmt: skip


def full_phase() -> annotation.Phase:
    return nod(
        phase_id="p1", start_us=1_200_000, end_us=2_000_000, start_sigma_us=36_000, end_sigma_us=36_000,
        action_raw="nodding", text_short="nods", body_parts=("head", "neck"), amplitude=2, speed=3, amplitude_z=0.1,
        speed_z=-1.25, repetitions=2, gesture_function=("interactive",),
        kinematics=(
            annotation.KinematicPhase(phase="preparation", start_us=1_200_000, end_us=1_300_000),
            annotation.KinematicPhase(phase="stroke", start_us=1_300_000, end_us=1_900_000),
            annotation.KinematicPhase(phase="retraction", start_us=1_900_000, end_us=2_000_000),
        ),
        speech=annotation.SpeechRelation(
            relation="co_speech", overlap=0.7, anchor_word="yes", anchor_start_us=1_250_000, lag_us=-120_000, method="v"
        ),
        emotion=annotation.FacialEmotion(label="happy", intensity=2, evidence="raised cheeks"),
        visibility=1.0, confidence=0.8,
        evidence=annotation.Evidence(support_k=2, k=3, motion_ratio=3.2, text="the chin goes down twice"),
    )  # fmt: skip


@pytest.fixture
def make_nod():
    """A factory for one valid phase, with changes."""
    return nod


@pytest.fixture
def make_annotation():
    """A factory for one valid annotation, with changes."""

    def make(**changes: Any) -> annotation.Annotation:
        values: dict[str, Any] = {
            "annotation_id": "ann_1", "vocab_version": "2026.11", "clip_id": "clip_1", "layer": "raw",
            "run_id": "run_1", "status": "ok", "duration_us": 4_000_000, "base": base(),
            "phases": (nod(), full_phase()),
        }  # fmt: skip
        return annotation.Annotation(**values | changes)

    return make


@pytest.fixture
def examples(make_annotation) -> dict[str, list[Any]]:
    """Rows of every table; the last one of each has all optional fields filled."""
    candidate: dict[str, Any] = {"clip_id": "clip_1", "source_id": "src_1", "start_us": 0, "end_us": 4_000_000}
    scores = annotation.Scores(overall=0.9, consistency=1.0, motion=0.8, speech=0.7, text=1.0)
    model_input = annotation.ModelInput(
        frame_indices=(0, 3, 6),
        stamps_us=(0, 120_000, 240_000),
        width=448,
        height=448,
        patches=900,
        transcript_sha256=HASH,
        signals_sha256=HASH,
    )
    sync = clip.SyncScore(scorer="lip@1", offset_frames=-2, confidence=4.5, distance=8.0, margin=1.5, windows=7)
    return {
        SOURCES.name: [
            source.SourceVideo(
                source_id="srx_1",
                path="gone.mp4",
                status="failed",
                stage="probe",
                reason="missing",
                message="no such file",
            ),
            source.SourceVideo(
                source_id="src_1",
                path="a 'b' ü.mp4",
                sha256=HASH,
                size_bytes=10,
                status="ok",
                manifest_columns=(source.ManifestColumn(key="rights", value="CC BY"),),
                container="mov",
                duration_us=4_004_000,
                video_codec="h264",
                width=640,
                height=360,
                rotation_deg=90,
                fps_num=30_000,
                fps_den=1_001,
                is_vfr=False,
                frames_header=120,
                frames_decoded=119,
                start_us=-5,
                audio_streams=1,
                audio_codec="aac",
                audio_rate_hz=44_100,
                audio_channels=2,
                audio_start_us=21_333,
            ),
        ],
        SHOTS.name: [
            source.Shot(shot_id="shot_1", source_id="src_1", start_us=0, end_us=2_000_000, opens_with="start"),
            source.Shot(
                shot_id="shot_2",
                source_id="src_1",
                start_us=2_000_000,
                end_us=4_000_000,
                opens_with="cut",
                cut_scores=(source.CutScore(detector="adaptive@3.5", score=7.25),),
            ),
        ],
        TIMELINES.name: [
            source.Timeline(source_id="src_1", frames=2, extractor="t@1", luma=(90.5, 91.0), energy_db=(None, -20.5)),
        ],
        TRACKS.name: [
            source.FaceTrack(
                track_id="track_1",
                source_id="src_1",
                detector="d@1",
                start_frame=5,
                frames=2,
                x0=(0.25, None),
                y0=(0.25, None),
                x1=(0.5, None),
                y1=(0.5, None),
                yaw_deg=(1.5, None),
                blendshapes=((0.5, 0.25),),
                identity_embedding=(0.1, 0.2),
                identity_model="mesh@1",
            ),
        ],
        FINGERPRINTS.name: [
            source.Fingerprint(source_id="src_1", extractor="w@1", frames=2, picture=(None, -(2**31)), sound=(7, 8)),
        ],
        NEAR_DUPLICATES.name: [
            source.NearDuplicate(
                group="src_1",
                source_id="src_1",
                other_id="src_1",
                by="picture",
                lag_frames=-3,
                matched_frames=80,
                bit_error=0.125,
            ),
        ],
        SPLITS.name: [
            source.Split(clip_id="clip_1", source_id="src_1", cluster="src_1", split="val", identity_by="source"),
        ],
        MEASURES.name: [
            clip.Measures(shot_id="shot_1", **candidate),
            clip.Measures(
                shot_id="shot_1",
                track_id="track_1",
                sync=sync,
                sync_corrected=sync,
                face=clip.FaceMeasure(
                    share_of_frames=1.0,
                    faces_median=1.0,
                    height_px=200.0,
                    height_share=0.4,
                    yaw_abs_deg=12.0,
                    pitch_abs_deg=3.0,
                    sharpness=80.5,
                    cut_off=0.0,
                ),
                picture=clip.PictureMeasure(
                    luma_mean=110.0, frozen_share=0.0, letterbox_share=0.0, camera_motion=0.01, text_likelihood=0.2
                ),
                sound=clip.SoundMeasure(
                    voice_share=0.8,
                    voice_detector="energy@1",
                    loudness_db=-23.0,
                    snr_db=20.0,
                    clipped_share=0.0,
                    silent_share=0.0,
                    music_likelihood=0.1,
                ),
                motion=(clip.PartMotion(part="head", speed_median=0.1, speed_p90=0.6, visible_share=1.0),),
                speaker="only",
                **candidate | {"clip_id": "clip_2"},
            ),
        ],
        VERDICTS.name: [
            clip.Verdict(clip_id="clip_1", source_id="src_1", kept=True, limits_sha256=HASH),
            clip.Verdict(
                clip_id="clip_2", source_id="src_1", kept=False, reasons=("no_face", "blurred"), limits_sha256=HASH
            ),
        ],
        CLIPS.name: [
            clip.Clip(
                track_id="track_1",
                media_path="media/cl/clip_1.mp4",
                media_sha256=HASH,
                frames=100,
                samples=64_000,
                width=640,
                height=360,
                audio_shift_us=-80_000,
                **candidate,
            ),
        ],
        SIGNALS.name: [
            clip.Signals(clip_id="clip_1", frames=3, extractor="t@1", yaw_deg=(0.1, None, -3.3), voice=(0.0, 1.0, 1.0)),
        ],
        WORDS.name: [
            clip.ClipWords(
                clip_id="clip_1",
                status="ok",
                origin="alignment",
                method="pocketsphinx 5",
                transcript_sha256=HASH,
                score=-12.5,
                words=(
                    clip.TranscriptWord(
                        text="Ü",
                        start_us=10_000,
                        end_us=200_000,
                        phones=(clip.PhoneTime(name="UW", start_us=10_000, end_us=200_000),),
                        pronunciation="guessed",
                    ),
                ),
            ),
        ],
        RUNS.name: [
            run.Run(run_id="run_1", kind="truth", tool_version="0.1.0"),
            run.Run(
                run_id="run_2",
                kind="annotate",
                tool_version="0.1.0",
                model=run.Model(id="m", revision="r", dtype="bfloat16", quantisation="awq"),
                engine=run.Version(name="transformers", version="5"),
                libraries=(run.Version(name="torch", version="2"),),
                prompts=(
                    run.Prompt(
                        id="describe",
                        version="1",
                        text="…",
                        sha256=HASH,
                        response_schema="{}",
                        response_schema_sha256=HASH,
                        grammar="llguidance 1",
                    ),
                ),
                sampling=run.Sampling(temperature=0.5, top_p=0.9, max_tokens=512, samples=3, seed=7),
                frames=run.FrameSampling(fps=8.0, max_pixels=10**6, max_pixels_per_frame=200_000),
                settings_sha256=HASH,
                parent_run_ids=("run_1",),
            ),
        ],
        ANNOTATIONS.name: [
            make_annotation(phases=()),
            make_annotation(
                annotation_id="ann_2",
                media_sha256=HASH,
                layer="normalised",
                parent_ids=("ann_1",),
                sample_index=1,
                seed=3,
                raw_text='{"a": "\\u00fc"}',
                raw_sha256=HASH,
                model_input=model_input,
                scores=scores,
                repairs=(annotation.Repair(op="snap", path="phases/0/end_us", before="1", after="2", reason="grid"),),
                usage=run.Usage(prompt_tokens=9, vision_tokens=5, output_tokens=3, latency_s=0.2, finish_reason="stop"),
            ),
        ],
        FINDINGS.name: [
            annotation.Finding(finding_id="f1", run_id="run_1", check="I3", severity="info", message="few classes"),
            annotation.Finding(
                finding_id="f2",
                run_id="run_1",
                check="G1",
                severity="error",
                annotation_id="ann_2",
                clip_id="clip_1",
                phase_id="p0",
                start_us=0,
                end_us=400_000,
                message="no motion",
                evidence=(annotation.EvidenceValue(name="motion_ratio", value=0.3),),
            ),
        ],
        REVIEWS.name: [
            annotation.Review(
                review_id="r1",
                annotation_id="ann_2",
                clip_id="clip_1",
                operation="edit",
                phase_ids=("p0",),
                after=(full_phase(),),
                before_sha256=HASH,
                reviewer="A. B.",
                note="late",
                at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            ),
            annotation.Review(
                review_id="r2",
                annotation_id="ann_2",
                clip_id="clip_1",
                operation="undo",
                undoes="r1",
                before_sha256=HASH,
                reviewer="A. B.",
                at=datetime(2026, 1, 2, tzinfo=UTC),
            ),
        ],
        FEATURES.name: [
            clip.Feature(
                clip_id="clip_1",
                fingerprint=HASH,
                annotation_id="ann_2",
                tensor_entry="cache/clips-0/clip_0-0",
                frames=33,
                latent_frames=9,
                height=64,
                width=64,
                text_tokens=80,
            ),
        ],
    }
