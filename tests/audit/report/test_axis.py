from itertools import pairwise

import numpy as np
import pytest

from xsheet.audit.report.axis import AxisInput, build_time_axis
from xsheet.audit.report.curves import CURVE_HEIGHT_PX, build_signal_curves
from xsheet.schemas.annotation import Finding, Phase
from xsheet.schemas.clip import Signals


def phase(track="head", start=1.0, end=2.0, name="p0", **fields):
    values = {"action": "nod", "text": "nods", "laterality": "none", "kind": "action", "origin": "motion"}
    return Phase(
        phase_id=name, track=track, start_us=round(start * 1e6), end_us=round(end * 1e6), **values | fields
    )  # fmt: skip


def finding(start=1.0, end=2.0, check="G1", severity="error", name="f0", phase_id=None):
    spans = {
        "start_us": None if start is None else round(start * 1e6),
        "end_us": None if end is None else round(end * 1e6),
    }
    return Finding(
        finding_id=name, run_id="run_a", check=check, severity=severity, phase_id=phase_id, message="m", **spans
    )  # fmt: skip


def drawn(*phases, seconds=4.0, **fields):
    return build_time_axis(AxisInput(duration_us=round(seconds * 1e6), phases=phases, **fields))


def still_signals(frames=100, **series):
    flat = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg"), (0.0,) * frames)
    return Signals(clip_id="c", frames=frames, extractor="truth", **flat | series)


def test_a_phase_lies_where_its_time_is():
    (bar,) = drawn(phase(start=1, end=2)).lanes[0].bars
    assert (bar.x, bar.width) == (25.0, 25.0)


def test_a_phase_that_outlasts_the_clip_by_half_a_frame_stays_in_the_picture():
    (bar,) = drawn(phase(start=3, end=4.02)).lanes[0].bars
    assert bar.x + bar.width == 100


def test_tracks_come_from_the_head_down_and_only_those_that_act():
    lanes = drawn(phase("torso", 0, 1), phase("head", 1, 2, "p1")).lanes
    assert [lane.name for lane in lanes] == ["head", "torso"]


def test_rows_do_not_overlap_and_end_above_the_ruler():
    shown = drawn(
        phase("head"), phase("torso", name="p1"), other_layers=[("a", [phase("head")]), ("b", [])],
        findings=[finding()], signals=still_signals(mouth_open=(0.1,) * 100),
    )  # fmt: skip
    edges = [(lane.y, lane.bottom_y) for lane in shown.lanes]
    assert all(end <= y for (_, end), (y, _) in pairwise(edges))
    assert edges[-1][1] < shown.height


def test_a_track_on_which_only_another_layer_acts_is_shown():
    (lane,) = drawn(other_layers=[("gold", [phase("brows")])]).lanes
    assert not lane.bars
    assert [name for name, _ in lane.other_layers] == ["gold"]


def test_a_phase_bears_the_worst_severity_found_about_it():
    found = [finding(severity="warning", phase_id="p0"), finding(severity="error", name="f1", phase_id="p0")]
    (lane,) = drawn(phase(), other_layers=[("gold", [phase()])], findings=found).lanes
    assert lane.bars[0].severity == "error"
    assert lane.other_layers[0][1][0].severity == ""


def test_pins_that_would_cover_one_another_take_another_row():
    first, second, third = drawn(findings=[finding(1, name="a"), finding(1.1, name="b"), finding(3, name="c")]).markers
    assert first.y == third.y < second.y


def test_findings_about_one_span_share_a_pin():
    found = [
        finding(check="H6", severity="info", name="a"),
        finding(check="G3", name="b"),
        finding(check="G1", name="c"),
    ]
    (pin,) = drawn(findings=found).markers
    assert (pin.label, pin.severity) == ("◆ G1 G3 ● H6", "error")


def test_a_pin_near_the_end_has_its_label_inside():
    early, late = drawn(findings=[finding(1, 4, name="a"), finding(3.9, 4, name="b")]).markers
    assert (early.label_on_left, late.label_on_left) == (False, True)


def test_a_finding_about_the_whole_clip_has_no_pin():
    assert drawn(findings=[finding(start=None, end=None)]).markers == ()


def test_cuts_lie_where_they_are():
    assert drawn(cuts_us=[1_000_000]).cuts == (25.0,)


@pytest.mark.parametrize("seconds", [0.4, 4.0, 11.0, 90.0, 4000.0])
def test_there_are_a_few_ticks_whatever_the_length(seconds):
    ticks = drawn(seconds=seconds).ticks
    assert 1 <= len(ticks) <= 14
    assert ticks[0] == (0.0, "0 s")


def test_the_axis_says_in_words_what_it_shows():
    assert "nod 1.00 s to 2.00 s" in drawn(phase()).aria_label


def test_a_side_is_named_where_the_track_does_not_say_it():
    turned = drawn(phase(action="turn_head", laterality="left")).lanes[0].bars[0]
    raised = drawn(phase("arm_left", action="raise_hand", laterality="left")).lanes[0].bars[0]
    assert (turned.label, raised.label) == ("turn head L", "raise hand")


def test_voice_is_shown_where_it_is():
    voice = tuple(1.0 if 25 <= k < 75 else 0.0 for k in range(100))
    lane = next(one for one in drawn(signals=still_signals(voice=voice)).lanes if one.css_class == "voice")
    assert [(span.x, span.width) for span in lane.background_spans] == [(25.0, 50.0)]


def test_a_part_that_moves_is_shown_though_nobody_speaks_of_it():
    yaw = tuple(20 * np.sin(k / 4) for k in range(100))
    assert "head" in [lane.css_class for lane in drawn(signals=still_signals(yaw_deg=yaw)).lanes]
    assert "head" not in [lane.css_class for lane in drawn(signals=still_signals()).lanes]


def test_a_curve_has_a_gap_where_nothing_was_seen():
    yaw = tuple(None if 30 <= k < 60 else 20 * float(np.sin(k / 4)) for k in range(100))
    hidden = {"pitch_deg": tuple(None if v is None else 0.0 for v in yaw)}
    hidden["roll_deg"] = hidden["pitch_deg"]
    curve = build_signal_curves(still_signals(yaw_deg=yaw, **hidden))["head"]
    (gap,) = curve.missing_spans
    assert 25 <= gap[0] <= 30
    assert curve.path.count("M") == 2


def test_curves_stay_inside_their_box():
    curve = build_signal_curves(still_signals(mouth_open=tuple(float(k % 7) for k in range(100))))["mouth_open"]
    floor, *steps = curve.path.removeprefix(f"M0.5 {CURVE_HEIGHT_PX}V").removesuffix(f"V{CURVE_HEIGHT_PX}z").split("l")
    heights = int(floor) + np.cumsum([0, *(int(v) for v in steps[0].split()[1::2])])
    assert heights.min() >= 0
    assert heights.max() <= CURVE_HEIGHT_PX


def test_a_clip_too_short_for_a_speed_has_none():
    assert not {"head", "torso"} & set(build_signal_curves(still_signals(frames=4)))
