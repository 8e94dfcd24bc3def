"""The queue: the worst first, with or without findings and scores."""

import json
import shutil
from dataclasses import replace

import pytest

from xsheet.audit.review.queue import MIN_REPEAT_DISTANCE, QueueEntry, QueueFilter, build_queue, with_repeats
from xsheet.schemas.layers import find_layer


def entry(number: int, **other) -> QueueEntry:
    facts = {
        "response_status": "ok",
        "duration_us": 4_000_000,
        "phases": 1,
        "tracks": ("head",),
        "actions": ("nod",),
    } | other
    return QueueEntry(key=f"k{number:04d}", clip_id=f"c{number:04d}", annotation_id=f"a{number}", **facts)


def test_findings_come_first_then_low_scores(small_set, layer):
    entries = build_queue(small_set, layer)
    assert [(one.errors, one.warnings) for one in entries] == [(1, 1), (0, 0)]
    assert entries[0].checks == ("B4", "G1")


def test_every_entry_names_the_source_file_and_the_filter_searches_it(small_set, layer, desk_of, first_key):
    assert {one.source_file for one in build_queue(small_set, layer)} == {"film.mp4"}
    assert desk_of().clip_payload(first_key)["source_file"] == "film.mp4"
    assert QueueFilter(text="FILM").matches(entry(0, source_file="film.mp4"), "open")


def test_a_set_without_findings_has_a_queue_too(small_set):
    shutil.rmtree(small_set / "findings")
    entries = build_queue(small_set, find_layer(small_set, "consensus@xsheet.motion"))
    assert [one.score for one in entries] == sorted(one.score for one in entries)


def test_what_has_no_score_comes_after_what_has_one_and_failed_replies_last():
    entries = [entry(0), entry(1, score=0.9), entry(2, response_status="error", phases=0), entry(3, warnings=1)]
    assert [one.key for one in sorted(entries, key=lambda e: e.review_priority)] == ["k0003", "k0001", "k0000", "k0002"]


@pytest.mark.parametrize(
    ("wanted", "is_admitted"),
    [
        (QueueFilter(), True),
        (QueueFilter(text="C00"), True),
        (QueueFilter(text="x"), False),
        (QueueFilter(state="edited"), False),
        (QueueFilter(check="G1"), True),
        (QueueFilter(check="G2"), False),
        (QueueFilter(track="head"), True),
        (QueueFilter(track="gaze"), False),
        (QueueFilter(action="nod"), True),
        (QueueFilter(action="nod", state="accepted"), False),
    ],
)
def test_filters(wanted, is_admitted):
    assert wanted.matches(entry(0, checks=("G1",)), "open") is is_admitted


def test_five_to_ten_percent_come_twice_later_and_unmarked():
    entries = [entry(i) for i in range(1000)]
    queue = with_repeats(entries, share=0.07, reviewer="anna")
    again = [one for one in queue if one.is_repeat]
    assert 0.05 <= len(again) / len(entries) <= 0.10
    places = {one.key: place for place, one in enumerate(queue)}
    for one in again:
        first = next(other for other in entries if other.annotation_id == one.annotation_id)
        assert places[one.key] - places[first.key] >= MIN_REPEAT_DISTANCE
        assert replace(one, key=first.key, is_repeat=False) == first


def test_repetitions_are_the_same_ones_for_a_reviewer_and_others_for_another():
    entries = [entry(i) for i in range(1000)]
    drawn = [[e.key for e in with_repeats(entries, share=0.07, reviewer=r) if e.is_repeat] for r in ("a", "a", "b")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_repetition_has_a_draft_of_its_own(desk_of, act, first_key):
    desk = desk_of(repeat_share=1.0)
    entries = desk.queue(QueueFilter())["entries"]
    again = next(one for one in entries if one["annotation_id"] == first_key and one["key"] != first_key)
    act(desk, again["key"], "accept")
    states = {one["key"]: one["state"] for one in desk.queue(QueueFilter())["entries"]}
    assert (states[first_key], states[again["key"]]) == ("open", "accepted")


@pytest.mark.slow
def test_states_survive_a_new_start(desk_of, act, first_key):
    act(desk_of(), first_key, "accept")
    assert [one["state"] for one in desk_of().queue(QueueFilter())["entries"]] == ["accepted", "open"]


@pytest.mark.slow
def test_the_annotator_s_words_do_not_leave_a_desk_that_is_blind_to_text(desk_of, first_key):
    words = [one["text"] for one in desk_of().clip_payload(first_key)["draft"]["phases"]]
    sent = json.dumps(desk_of(blind=frozenset({"text"})).clip_payload(first_key))
    assert not [text for text in words if text in sent]
    assert "quiff hair" not in sent


@pytest.mark.slow
def test_a_blind_reviewer_s_edit_of_a_border_does_not_bring_the_words_to_light(desk_of, act, first_key):
    words = {one["phase_id"]: one["text"] for one in desk_of().clip_payload(first_key)["draft"]["phases"]}
    desk = desk_of(blind=frozenset({"text"}))
    act(desk, first_key, "edit", changes=[{"phase_id": "p3", "start_us": 1_160_000}])
    act(desk, first_key, "flip_side", phase_ids=["p3"])
    act(desk, first_key, "edit", changes=[{"phase_id": "p0", "text": "lifts both shoulders"}])
    shown = {one["phase_id"]: one["text"] for one in desk.clip_payload(first_key)["draft"]["phases"]}
    assert (shown["p3"], shown["p0"]) == ("", "lifts both shoulders") != (words["p3"], words["p0"])


def test_nothing_tells_layers_apart_at_a_desk_that_is_blind_to_layers(desk_of, first_key):
    desk = desk_of(blind=frozenset({"layers"}))
    sheet = desk.clip_payload(first_key)
    sent = json.dumps([sheet, desk.session_info()])
    assert not [
        name for name in ("xsheet.motion", "vlm", "xsheet.demo", "run_ours", "consensus", "gold") if name in sent
    ]
    assert [one["name"] for one in sheet["other_layers"]] == ["A", "B"]


def test_a_sheet_of_ten_seconds_is_below_fifty_kilobytes(desk_of, first_key):
    sheet = desk_of().clip_payload(first_key)
    assert len(json.dumps(sheet["curves"])) < 50_000 * sheet["duration_us"] / 10_000_000


def test_words_of_the_transcript_stand_on_the_clock_of_the_clip(desk_of, first_key):
    words = desk_of().clip_payload(first_key)["transcript"]
    assert [one["text"] for one in words] == ["so", "what", "I", "mean", "is", "this"]
    assert words[0] == {"text": "so", "start_us": 450_000, "end_us": 700_000}
