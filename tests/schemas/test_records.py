import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from xsheet.schemas import vocab
from xsheet.schemas.annotation import KinematicPhase, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip, Feature, Signals, Verdict
from xsheet.schemas.errors import ConfigError, ContractError, MediaError, RunError
from xsheet.schemas.source import Shot, SourceVideo
from xsheet.schemas.tables import TABLES

HASH = "ab" * 32


@pytest.mark.parametrize("record", [t.record for t in TABLES], ids=[t.name for t in TABLES])
def test_records_are_frozen_slotted_and_keyword_only(record):
    assert record.__dataclass_params__.frozen
    assert "__slots__" in vars(record)
    assert all(field.kw_only for field in dataclasses.fields(record))


@pytest.mark.parametrize(
    ("field", "value"),
    [("start_us", 1.0), ("start_us", True), ("start_us", -1), ("start_us", 2**63), ("source_id", 7), ("source_id", ""),
     ("source_id", "a b"), ("opens_with", "wipe"), ("cut_scores", [1])],
)  # fmt: skip
def test_a_shot_refuses_a_value_of_the_wrong_type_or_range(field, value):
    good = {"shot_id": "s", "source_id": "x", "start_us": 0, "end_us": 10, "opens_with": "start"}
    with pytest.raises(ValidationError, match=field):
        Shot(**good | {field: value})


def test_nan_is_refused_everywhere():
    with pytest.raises(ValidationError, match="finite"):
        Signals(clip_id="c", frames=1, extractor="t", yaw_deg=(float("nan"),))


@given(st.lists(st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_a_series_comes_back_from_json_to_the_bit_and_takes_six_bytes_a_value(values):
    signals = Signals(clip_id="c", frames=max(1, len(values)), extractor="t", yaw_deg=tuple(values))
    adapter = TypeAdapter(Signals)
    text = adapter.dump_json(signals)
    assert adapter.validate_json(text) == signals
    empty = adapter.dump_json(dataclasses.replace(signals, yaw_deg=()))
    assert len(text) - len(empty) <= 4 + 6 * len(values)


@pytest.mark.parametrize("text", ["AAAA", "!!!!!!!!", "AAAAAAA="])
def test_a_series_in_json_that_is_cut_or_no_base64_is_refused(text):
    plain = {"clip_id": "c", "frames": 1, "extractor": "t", "yaw_deg": text}
    with pytest.raises(ValidationError, match="yaw_deg"):
        TypeAdapter(Signals).validate_json(json.dumps(plain))


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="Unexpected keyword"):
        Verdict(clip_id="c", source_id="s", kept=True, limits_sha256=HASH, score=1)


def test_every_series_has_one_value_per_frame():
    with pytest.raises(ValidationError, match="yaw_deg has 1 values"):
        Signals(clip_id="c", frames=2, extractor="t", yaw_deg=(1.0,))


def test_a_rejected_candidate_names_a_reason():
    with pytest.raises(ValidationError, match="does not go with"):
        Verdict(clip_id="c", source_id="s", kept=False, limits_sha256=HASH)


def test_an_ok_source_has_no_reason():
    with pytest.raises(ValidationError, match="contradicts reason"):
        SourceVideo(source_id="s", path="p", status="ok", reason="missing")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.mp4", "media/../../x.mp4"])
def test_a_clip_file_lies_inside_its_set(path):
    good = {"clip_id": "c", "source_id": "s", "start_us": 0, "end_us": 9, "media_sha256": HASH, "frames": 2,
            "samples": 1280, "width": 2, "height": 2}  # fmt: skip
    assert Clip(media_path="media/c.mp4", **good)
    with pytest.raises(ValidationError, match="inside the set"):
        Clip(media_path=path, **good)


def test_features_have_one_latent_frame_and_one_more_per_four_frames():
    with pytest.raises(ValidationError, match="latent frames"):
        Feature(
            clip_id="c",
            fingerprint=HASH,
            tensor_entry="s",
            frames=32,
            latent_frames=9,
            height=8,
            width=8,
            text_tokens=1,
        )


class TestPhase:
    def test_shorter_than_three_frames_is_refused(self, make_nod):
        with pytest.raises(ValidationError, match="lasts 119999"):
            make_nod(start_us=0, end_us=119_999)

    def test_the_left_arm_is_the_left_side(self, make_nod):
        with pytest.raises(ValidationError, match="goes with laterality 'left'"):
            make_nod(track="arm_left", laterality="right")

    def test_kinematics_stay_inside(self, make_nod):
        with pytest.raises(ValidationError, match="outside its phase"):
            make_nod(kinematics=(KinematicPhase(phase="stroke", start_us=0, end_us=500_000),))

    @pytest.mark.parametrize(
        ("order", "legal"),
        [
            ("preparation stroke retraction", True),
            ("preparation pre_stroke_hold stroke post_stroke_hold recoil partial_retraction", True),
            ("stroke stroke stroke", True),
            ("independent_hold", True),
            ("preparation retraction", False),
            ("stroke preparation", False),
            ("retraction stroke", False),
            ("recoil stroke", False),
            ("stroke independent_hold", True),
        ],
    )
    def test_parts_follow_kendons_order(self, make_nod, order, legal):
        parts = tuple(
            KinematicPhase(phase=word, start_us=400_000 + 50_000 * i, end_us=450_000 + 50_000 * i)
            for i, word in enumerate(order.split())
        )
        if legal:
            assert make_nod(kinematics=parts).kinematics == parts
        else:
            with pytest.raises(ValidationError, match="breaks the rule"):
                make_nod(kinematics=parts)


class TestAnnotation:
    def test_phases_of_one_track_never_overlap(self, make_annotation, make_nod):
        late = make_nod(phase_id="p1", start_us=1_199_999, end_us=2_000_000)
        with pytest.raises(ValidationError, match="overlap on track 'head'"):
            make_annotation(phases=(make_nod(), late))

    def test_phases_of_different_tracks_may_overlap(self, make_annotation, make_nod):
        smile = make_nod(phase_id="p1", track="mouth", action="smile", kind="expression")
        assert make_annotation(phases=(make_nod(), smile))

    def test_an_overlap_is_found_behind_a_phase_of_another_track(self, make_annotation, make_nod):
        phases = (
            make_nod(phase_id="a", start_us=0, end_us=2_000_000),
            make_nod(phase_id="b", track="mouth", start_us=500_000, end_us=700_000),
            make_nod(phase_id="c", start_us=1_000_000, end_us=1_200_000),
        )
        with pytest.raises(ValidationError, match="a and c overlap"):
            make_annotation(phases=phases)

    def test_phases_are_sorted(self, make_annotation, make_nod):
        first, second = make_nod(), make_nod(phase_id="p1", start_us=2_000_000, end_us=2_500_000)
        with pytest.raises(ValidationError, match="sorted"):
            make_annotation(phases=(second, first))
        assert make_annotation(phases=sorted_phases((second, first))).phases == (first, second)

    def test_a_phase_may_end_half_a_frame_after_the_clip_and_no_later(self, make_annotation, make_nod):
        assert make_annotation(duration_us=1_180_000, phases=(make_nod(),))
        with pytest.raises(ValidationError, match="the clip at 1179999"):
            make_annotation(duration_us=1_179_999, phases=(make_nod(),))

    def test_phase_ids_are_unique(self, make_annotation, make_nod):
        with pytest.raises(ValidationError, match="unique"):
            make_annotation(phases=(make_nod(), make_nod(start_us=2_000_000, end_us=2_500_000)))

    @pytest.mark.parametrize("layer", ["normalised", "consensus", "human"])
    def test_a_derived_layer_names_its_parents(self, make_annotation, layer):
        with pytest.raises(ValidationError, match="must name its parents"):
            make_annotation(layer=layer)

    def test_a_failed_reply_needs_no_base(self, make_annotation):
        assert make_annotation(status="truncated", base=None, phases=(), raw_text="{").status == "truncated"

    def test_the_id_follows_from_the_content(self, make_nod):
        def identify(phase):
            return annotation_id(clip_id="c", layer="raw", run_id="r", sample_index=0, base=None, phases=[phase])

        assert identify(make_nod()) == identify(make_nod())
        assert identify(make_nod()) != identify(make_nod(end_us=1_240_000))


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)), max_size=20))
def test_a_series_keeps_float32_values_and_gaps_exactly(values):
    signals = Signals(clip_id="c", frames=len(values), extractor="t", yaw_deg=tuple(values))
    assert signals.yaw_deg == tuple(values)


def test_every_sided_track_is_a_track():
    assert set(vocab.SIDED_TRACK) <= set(vocab.TRACKS)


@pytest.mark.parametrize("kind", [ConfigError, ContractError, RunError])
def test_errors_say_where_what_and_what_to_do_and_survive_pickling(kind):
    error = kind(where="f.yaml: a.b", expected=">= 0", got="-1", hint="remove it")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "f.yaml: a.b: expected >= 0, got -1; remove it"


def test_a_media_error_keeps_its_reason_across_processes():
    error = MediaError(reason="no_video", where="f", expected="a video stream", got="none", hint="leave it out")
    assert pickle.loads(pickle.dumps(error)).reason == "no_video"
