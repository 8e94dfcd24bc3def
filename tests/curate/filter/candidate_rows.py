"""Candidates with planted measures, presets of limits, and Hypothesis strategies of both."""

from dataclasses import replace
from importlib.resources import files
from typing import Any

from hypothesis import strategies as st

from xsheet.curate.filter.decide import decide
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.settings import CurateSettings
from xsheet.schemas import clip
from xsheet.schemas.settings import load_settings
from xsheet.schemas.tables import (
    MEASURES,
    VERDICTS,
    from_arrow,
    to_arrow,
)

PRESETS = ("keep", "train", "stage2_motion")


def preset(name: str, *overrides: str) -> FilterLimits:
    return load_settings(FilterLimits, preset=files("xsheet.curate") / "presets" / f"{name}.yaml", overrides=overrides)


def all_limits() -> FilterLimits:
    return load_settings(CurateSettings, preset=files("xsheet.curate") / "presets" / "all.yaml").limits


def good(index: int = 0, **changes: Any) -> clip.Measures:
    """A candidate that every preset keeps, with changes written as section__field."""
    sections: dict[str, Any] = {
        "sync": clip.SyncScore(scorer="syncnet_v2@1", offset_frames=0, confidence=7.0, margin=1.0, distance=7.0),
        "face": clip.FaceMeasure(
            share_of_frames=1.0, faces_median=1.0, height_px=400.0, height_share=0.4, yaw_abs_deg=10.0,
            pitch_abs_deg=5.0, sharpness=200.0, cut_off=0.0, luma=110.0,
        ),
        "picture": clip.PictureMeasure(luma_mean=110.0, frozen_share=0.0, letterbox_share=0.0, camera_motion=0.0,
            damaged_share=0.0, upside_down_share=0.0, text_likelihood=0.0,
        ),
        "sound": clip.SoundMeasure(
            voice_share=0.8, voice_detector="v@1", loudness_db=-23.0, snr_db=25.0, clipped_share=0.0, silent_share=0.0,
            music_likelihood=0.0,
        ),
    }  # fmt: skip
    row: dict[str, Any] = {
        "clip_id": f"clip_{index}", "source_id": "src_1", "shot_id": "shot_1", "track_id": "track_1",
        "start_us": 0, "end_us": 5_000_000, "speaker": "only", "motion": (motion("hand_left", 1.0),),
    }  # fmt: skip
    for name, value in changes.items():
        section, _, field = name.partition("__")
        if field:
            sections[section] = replace(sections[section], **{field: value})
        else:
            row[name] = value
    return clip.Measures(**sections | row)


def motion(part: str, speed: float, seen: float = 1.0) -> clip.PartMotion:
    return clip.PartMotion(part=part, speed_median=speed / 2, speed_p90=speed, visible_share=seen)


def reasons(row: clip.Measures, limits: FilterLimits) -> tuple[str, ...]:
    (verdict,) = from_arrow(decide(to_arrow([row], MEASURES), limits), VERDICTS)
    return verdict.reasons


BARE = FilterLimits()


share = st.floats(0, 1, width=32).map(float)


maybe = st.none() | st.floats(0, 300, width=32).map(float)


sync_scores = st.none() | st.builds(
    clip.SyncScore,
    scorer=st.sampled_from(["lip_audio@1", "syncnet_v2@1", "other@1"]),
    offset_frames=st.none() | st.integers(-8, 8),
    confidence=st.none() | st.floats(-1, 9, width=32).map(float),
    margin=st.none() | st.floats(0, 1, width=32).map(float),
    distance=st.none() | st.floats(0, 14, width=32).map(float),
)


candidates = st.builds(
    clip.Measures,
    clip_id=st.uuids().map(lambda u: f"clip_{u.hex}"),
    source_id=st.just("src_1"),
    shot_id=st.just("shot_1"),
    start_us=st.just(0),
    end_us=st.integers(1, 300).map(lambda frames: frames * 40_000),
    sync=sync_scores,
    sync_corrected=sync_scores,
    face=st.none()
    | st.builds(
        clip.FaceMeasure,
        share_of_frames=share,
        faces_median=share,
        height_px=maybe,
        yaw_abs_deg=maybe,
        cut_off=share,
    ),
    picture=st.none()
    | st.builds(
        clip.PictureMeasure,
        luma_mean=maybe.filter(lambda v: v is not None),
        frozen_share=share,
        letterbox_share=share,
    ),
    sound=st.none()
    | st.builds(
        clip.SoundMeasure,
        voice_share=share,
        voice_detector=st.just("v@1"),
        clipped_share=share,
        silent_share=share,
    ),
    motion=st.just(()) | st.tuples(st.builds(motion, st.sampled_from(["head", "hand_left"]), share, share)),
    speaker=st.none() | st.sampled_from(["only", "active", "listener", "ambiguous"]),
)


sets = st.lists(candidates, max_size=6, unique_by=lambda row: row.clip_id)


limit_sets = st.sampled_from([preset(name) for name in PRESETS] + [BARE])
