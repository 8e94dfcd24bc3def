from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.filter.columns import measure_values
from xsheet.curate.filter.decide import FILTER_RULES, decide, decide_set, failure_masks
from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.filter.sweep import parse_range, sweep, sweep_set, with_limit
from xsheet.curate.settings import CurateSettings
from xsheet.schemas import clip
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.settings import load_settings
from xsheet.schemas.tables import (
    MEASURES,
    VERDICTS,
    from_arrow,
    iter_records,
    read_table,
    to_arrow,
    write_arrow,
    write_table,
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


# ---- each limit by itself: a mutated comparison, path or section would fail here


BARE = FilterLimits()


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


# ---- properties

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


@pytest.mark.slow
@given(sets, limit_sets)
def test_a_candidate_is_kept_exactly_when_there_is_no_reason(rows, limits):
    verdicts = from_arrow(decide(to_arrow(rows, MEASURES), limits), VERDICTS)
    assert [v.clip_id for v in verdicts] == [row.clip_id for row in rows]
    assert all(v.kept == (not v.reasons) for v in verdicts)
    assert all(len(set(v.reasons)) == len(v.reasons) for v in verdicts)


@pytest.mark.slow
@given(sets, limit_sets, st.randoms(use_true_random=False))
def test_a_verdict_does_not_depend_on_the_other_candidates(rows, limits, random):
    alone = {v.clip_id: v for row in rows for v in from_arrow(decide(to_arrow([row], MEASURES), limits), VERDICTS)}
    random.shuffle(rows)
    assert from_arrow(decide(to_arrow(rows, MEASURES), limits), VERDICTS) == [alone[row.clip_id] for row in rows]


@pytest.mark.slow
@given(sets, limit_sets, st.sampled_from(FILTER_RULES), st.floats(0, 1), st.floats(0, 10))
def test_a_stricter_limit_never_keeps_more(rows, limits, rule, at, further):
    whole = rule.limit_path.endswith("_frames")
    loose, strict = (at * 5, at * 5 + further) if rule.bound == "min" else (at * 5 + further, at * 5)
    if whole:
        loose, strict = int(loose), int(strict)
    try:
        before, after = (with_limit(limits, rule.limit_path, v) for v in (loose, strict))
    except ConfigError:  # outside the limit's range
        return
    table = to_arrow(rows, MEASURES)
    kept = [np.array(decide(table, chosen)["kept"], dtype=bool) for chosen in (before, after)]
    assert not (kept[1] & ~kept[0]).any()


@pytest.mark.slow
@given(sets, limit_sets)
def test_reasons_come_in_the_order_of_the_limits(rows, limits):
    table = to_arrow(rows, MEASURES)
    order = list(failure_masks(table, limits))
    for verdict in from_arrow(decide(table, limits), VERDICTS):
        places = [order.index(reason) for reason in verdict.reasons]
        assert places == sorted(places)


# ---- sets


def test_deciding_a_set_again_reports_changes(tmp_path):
    rows = [good(k, face__height_px=float(60 * k)) for k in range(8)]  # 0, 60, ... 420 px, 5 s each
    write_table(tmp_path, MEASURES, rows)
    first = decide_set(tmp_path, preset("keep"))
    assert (first.all.clips, first.kept.clips, first.without_previous_verdict.clips, first.newly_kept.clips) == (
        8,
        6,
        8,
        0,
    )
    assert first.reasons == {"face_small": 2}
    second = decide_set(tmp_path, preset("keep", "face.min_height_px=250"))
    assert (
        second.kept.clips,
        second.without_previous_verdict.clips,
        second.newly_kept.clips,
        second.newly_rejected.clips,
    ) == (3, 0, 0, 3)
    assert second.newly_rejected.duration_us == 15_000_000
    third = decide_set(tmp_path, preset("keep"))
    assert (third.newly_kept.clips, third.newly_rejected.clips) == (3, 0)
    assert [v.kept for v in iter_records(tmp_path, VERDICTS)] == [False, False] + [True] * 6


def test_a_candidate_that_comes_before_the_known_ones_is_the_only_new_one(tmp_path):
    rows = [good(k, face__height_px=float(60 * k)) for k in range(8)]
    write_table(tmp_path, MEASURES, rows[1:])
    decide_set(tmp_path, preset("keep"))
    write_table(tmp_path, MEASURES, rows)
    again = decide_set(tmp_path, preset("keep", "face.min_height_px=250"))
    assert (again.without_previous_verdict.clips, again.newly_rejected.clips, again.kept.clips) == (1, 3, 3)


def test_a_set_of_many_parts_is_decided_like_one_table(tmp_path):
    rows = [good(k, face__height_px=float(40 * k)) for k in range(25)]
    small = replace(MEASURES, rows_per_part=7)
    write_table(tmp_path, small, rows)
    decide_set(tmp_path, preset("keep"))
    assert len(list((tmp_path / "verdicts").iterdir())) == 4
    assert read_table(tmp_path, VERDICTS).equals(decide(to_arrow(rows, MEASURES), preset("keep")))


def test_an_empty_set_can_be_decided(tmp_path):
    write_table(tmp_path, MEASURES, [])
    assert decide_set(tmp_path, preset("keep")).all.clips == 0
    assert read_table(tmp_path, VERDICTS).num_rows == 0


# ---- sweeping


def test_a_range_of_values_holds_both_ends():
    assert parse_range("sync.lip_audio.min_confidence=0.2:0.6:0.1") == (
        "sync.lip_audio.min_confidence", (0.2, 0.3, 0.4, 0.5, 0.6),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a.b", "a.b=1", "a.b=1:2", "a.b=1:2:0", "a.b=2:1:1", "=1:2:1", "a.b=nan:2:1", "a=0:1e9:1"]
)
def test_an_invalid_range_is_refused(text):
    with pytest.raises(ConfigError, match="--over"):
        parse_range(text)


def test_an_unknown_limit_names_the_nearest():
    with pytest.raises(ConfigError, match=r"sync\.lip_audio\.min_confidence"):
        sweep([], preset("keep"), limit="sync.lip.min_confidence", values=[1.0])


@pytest.mark.slow
@given(sets, limit_sets.filter(lambda limits: limits != BARE), st.sampled_from(FILTER_RULES))
def test_a_sweep_counts_what_each_value_would_keep(rows, limits, rule):
    values = {"sound.min_loudness_db": (-40.0, 0.0), "clip.max_seconds": (4.0, 8.0)}.get(rule.limit_path, (0.0, 1.0))
    values = (1.0, 2.0) if rule.limit_path == "face.max_faces" else values
    table = to_arrow(rows, MEASURES)
    swept = sweep([table[:5], table[5:]], limits, limit=rule.limit_path, values=values)
    standing = sum(v.as_py() for v in decide(table, limits)["kept"])
    for row in swept:
        kept = decide(table, with_limit(limits, rule.limit_path, row.value))["kept"]
        assert row.kept.clips == sum(v.as_py() for v in kept)
        assert (row.change_us < 0) <= (row.kept.clips < standing)


def test_a_limit_of_the_only_scorer_needs_no_scorers_name(tmp_path):
    write_table(tmp_path, MEASURES, [good(k, sync__confidence=float(k)) for k in range(8)])
    swept = sweep_set(tmp_path, preset("keep"), limit_range="sync.min_confidence=2:6:1")
    assert [row.kept.clips for row in swept] == [6, 5, 4, 3, 2]
    assert [row.change_us for row in swept] == [5_000_000, 0, -5_000_000, -10_000_000, -15_000_000]


def test_measures_are_the_same_from_a_slice():
    rows = to_arrow([good(k, motion=(motion("head", float(k)),)) for k in range(5)], MEASURES)
    sliced = pa.concat_tables([rows[1:3], rows[3:]])
    assert measure_values(sliced, "motion.head.speed_p90").tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_of_another_schema_are_not_written(tmp_path):
    with pytest.raises(ContractError, match="verdicts"):
        write_arrow(tmp_path, VERDICTS, [pa.table({"clip_id": ["clip_1"]})])
    assert read_table(tmp_path, VERDICTS).num_rows == 0


def test_no_value_of_a_limit_keeps_what_was_not_measured():
    rows = to_arrow([good(1), good(2, face__sharpness=None)], MEASURES)
    (swept,) = sweep([rows], preset("keep"), limit="face.min_sharpness", values=[0.0])
    assert swept.kept.clips == 1


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
