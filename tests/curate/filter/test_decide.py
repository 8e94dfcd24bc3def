"""Reasons of a single candidate: what each preset and each limit reject."""

from dataclasses import replace
from typing import Any

import pytest
from candidate_rows import (
    BARE,
    PRESETS,
    all_limits,
    good,
    motion,
    preset,
    reasons,
)

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import FILTER_RULES, decide
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.filter.sweep import with_limit
from xsheet.schemas import clip
from xsheet.schemas.tables import (
    MEASURES,
    to_arrow,
)

LATE_VOICE = clip.SyncScore(scorer="lip_audio@1", offset_frames=5, confidence=9.0, margin=9.0)


MUTE = clip.SyncScore(scorer="lip_audio@1", not_measurable="unvoiced")


SPEAKS = clip.SyncScore(scorer="light_asd@1", confidence=2.0, windows=3)  # a second scorer without an offset


# what is wrong with a candidate, and the reasons that `keep` gives
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "no face": (
        {"face": None, "sync": None, "track_id": None, "speaker": None},
        ("no_face", "sync_not_measurable"),
    ),
    "face hidden": ({"face__share_of_frames": 0.9}, ("face_hidden",)),
    "small face": ({"face__height_px": 99.0}, ("face_small",)),
    "profile": ({"face__yaw_abs_deg": 75.0}, ("face_yaw",)),
    "looks down": ({"face__pitch_abs_deg": 41.0}, ("face_pitch",)),
    "blurred": ({"face__sharpness": 12.0}, ("face_blurred",)),
    "sharpness unknown": ({"face__sharpness": None}, ("sharpness_not_measured",)),
    "cut off": ({"face__cut_off": 0.5}, ("face_cut_off",)),
    "listener": ({"speaker": "listener"}, ("not_the_speaker",)),
    "two talk": ({"speaker": "ambiguous"}, ("speaker_ambiguous",)),
    "short": ({"end_us": 2_960_000}, ("too_short",)),
    "just long enough": ({"end_us": 3_000_000}, ()),
    "long": ({"end_us": 10_040_000}, ("too_long",)),
    "dark face": ({"face__luma": 4.0}, ("too_dark",)),
    "smears": ({"picture__damaged_share": 0.2}, ("decode_errors",)),
    "upside down": ({"picture__upside_down_share": 1.0}, ("upside_down",)),
    "bright": ({"picture__luma_mean": 250.0}, ("too_bright",)),
    "still": ({"picture__frozen_share": 1.0}, ("frozen",)),
    "stamp in bars": ({"picture__letterbox_share": 0.8}, ("letterbox",)),
    "no sound": ({"sound": None, "sync": MUTE}, ("no_sound", "sync_not_measurable")),
    "silence": (
        {"sound__voice_share": 0.0, "sound__silent_share": 1.0, "sound__loudness_db": None, "sync": MUTE},
        ("little_voice", "silent", "loudness_db_not_measured", "sync_not_measurable"),
    ),
    "quiet": ({"sound__loudness_db": -60.0}, ("quiet",)),
    "clipped": ({"sound__clipped_share": 0.2}, ("clipped",)),
    "never scored": ({"sync": None}, ("sync_not_measurable",)),
    "low confidence": ({"sync__confidence": 2.9}, ("sync_confidence",)),
    "large distance": ({"sync__distance": 9.6}, ("sync_distance",)),
    "distance unknown": ({"sync__distance": None}, ("sync_not_measurable",)),
    "voice late": ({"sync__offset_frames": 4}, ("sync_offset",)),
    "voice early": ({"sync__offset_frames": -4}, ("sync_offset",)),
    "a second scorer without an offset": ({"sync_second": SPEAKS}, ()),
    "corrected": ({"sync": LATE_VOICE, "sync_corrected": replace(LATE_VOICE, offset_frames=1)}, ()),
    "not corrected": ({"sync": LATE_VOICE}, ("sync_offset",)),
    "lost by the correction": ({"sync": LATE_VOICE, "sync_corrected": MUTE}, ("sync_not_measurable",)),
    "a scorer without limits": ({"sync__scorer": "truth"}, ("sync_scorer_unknown",)),
    "two faults": ({"end_us": 2_000_000, "face__height_px": 50.0}, ("face_small", "too_short")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_keep_gives_the_expected_reasons_for_each_fault(fault):
    changes, expected = FAULTS[fault]
    assert reasons(good(**changes), preset("keep")) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_keeps_a_good_candidate(name):
    assert reasons(good(), preset(name)) == ()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), ("motion_not_measured",)),
        ((motion("head", 2.0),), ("speed_p90_not_measured", "visible_share_not_measured")),
        ((motion("hand_left", 0.1), motion("hand_right", 0.9)), ()),
        ((motion("hand_left", 0.1), motion("hand_right", 0.4)), ("hands_still",)),
        ((motion("hand_right", 0.9, seen=0.2),), ("hands_not_visible",)),
    ],
)
def test_stage2_requires_one_visible_moving_hand(parts, expected):
    assert reasons(good(motion=parts), preset("stage2_motion")) == expected


def test_measures_without_limits_are_not_judged():
    worst = good(face=None, sound=None, sync=None, picture=None, motion=(), end_us=40_000, speaker="ambiguous")
    assert reasons(worst, FilterLimits()) == ()


def test_verdicts_name_the_limits_they_were_judged_by():
    rows = to_arrow([good()], MEASURES)
    loose, strict = (decide(rows, preset(name))["limits_sha256"][0].as_py() for name in ("keep", "train"))
    assert loose != strict
    assert decide(rows, preset("keep"))["limits_sha256"][0].as_py() == loose


def planted(measure: str, value: float) -> clip.Measures:
    """A good candidate whose measure has this value."""
    match measure.split("."):
        case ["clip", _]:
            return good(end_us=round(value * 1_000_000))
        case ["sync", scorer, name]:
            sync = clip.SyncScore(scorer=f"{scorer}@1", offset_frames=0, confidence=1.0, margin=1.0, distance=1.0)
            change = {"offset_frames": -int(value)} if name == "abs_offset_frames" else {name: value}
            return good(sync=replace(sync, **change))
        case ["motion", group, name]:
            part = replace(motion("head" if group == "head" else "hand_left", 0.0, seen=0.0), **{name: value})
            return good(motion=(part,))
        case [section, name]:
            return good(**{f"{section}__{name}": value})
    raise AssertionError(measure)


@pytest.mark.parametrize("rule", FILTER_RULES, ids=lambda rule: rule.limit_path)
def test_a_value_at_its_limit_passes_and_one_beyond_it_fails(rule):
    at = -30.0 if rule.limit_path.endswith("loudness_db") else 1.0
    step = -0.5 if rule.bound == "min" else 0.5
    if rule.limit_path.endswith("_frames") or rule.limit_path.endswith("max_faces"):
        step *= 2
    elif rule.bound == "max" and (
        "share" in rule.limit_path or "cut_off" in rule.limit_path or "likelihood" in rule.limit_path
    ):
        at, step = 0.5, 0.5
    limits = with_limit(BARE, rule.limit_path, at)
    assert reasons(planted(rule.measure_path, at), limits) == ()
    assert reasons(planted(rule.measure_path, at + step), limits) == (rule.reason,)
    assert measure_values(to_arrow([planted(rule.measure_path, at)], MEASURES), rule.measure_path)[0] == at


def test_every_limit_has_a_rule():
    def numbers(model: Any, at: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            kinds = [k for k in getattr(field.annotation, "__args__", ()) if hasattr(k, "model_fields")]
            found |= numbers(kinds[0], f"{at}{name}.") if kinds else {at + name}
        return found

    assert numbers(FilterLimits) - {"face.require_active_speaker"} == {rule.limit_path for rule in FILTER_RULES}


@pytest.mark.parametrize(
    "changes",
    [{}, {"sound": None, "sync": None}, {"speaker": "listener", "sync": None}, {"end_us": 600_000},
     {"picture__luma_mean": 3.0, "picture__frozen_share": 1.0}],
)  # fmt: skip
def test_the_preset_all_keeps_whatever_shows_a_face(changes):
    assert reasons(good(**changes), all_limits()) == ()


def test_the_preset_all_rejects_what_shows_no_face():
    assert reasons(good(face=None, track_id=None, sync=None, speaker=None), all_limits()) == ("no_face",)


@pytest.mark.parametrize("section", ["sound", "sync"])
def test_a_section_without_any_limit_needs_no_measure(section):
    limits = FilterLimits.model_validate({section: {"lip_audio": {}} if section == "sync" else {}})
    assert reasons(good(**{section: None}), limits) == ()
