"""Where an audit takes its motion rules from, and what it says of its independence."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.motion.head_rules import HeadRuleSettings
from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.independence import audit_rules
from xsheet.schemas.clip import Signals
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Model, Run
from xsheet.schemas.sets import build_manifest, create_set
from xsheet.schemas.settings import settings_sha256

OWN = AnnotateSettings(motion=MotionSettings(head=HeadRuleSettings(min_yaw_deg=19.0)))


@pytest.fixture
def layer(tmp_path, annotation):
    create_set(tmp_path, "set")
    run = Run(
        run_id="run_a", kind="annotate", tool_version="0", model=Model(id="xsheet.motion", revision="1"),
        settings_sha256=settings_sha256(OWN),
    )  # fmt: skip
    return write_layer(tmp_path, run, "normalised", [replace(annotation(), layer="normalised", parent_ids=("ann_p",))])


def write_manifest(folder, settings=OWN):
    return build_manifest(
        "annotate run", arguments={}, settings=settings, distributions=(), started=datetime.now(UTC), counts={},
        seconds={},
    ).write(folder)  # fmt: skip


def test_the_rules_are_those_of_the_run(tmp_path, layer):
    write_manifest(tmp_path)
    rules = audit_rules(tmp_path, layer)
    assert rules.settings == OWN.motion
    assert "made by the motion annotator" in rules.statement
    assert "settings of its run" in rules.statement


def test_settings_of_another_hash_are_not_those_of_the_run(tmp_path, layer):
    path = write_manifest(tmp_path)
    changed = json.loads(path.read_text())
    changed["settings"]["motion"]["head"]["min_yaw_deg"] = 3.0
    path.write_text(json.dumps(changed))
    rules = audit_rules(tmp_path, layer)
    assert (rules.settings, rules.is_of_run) == (MotionSettings(), False)
    assert "default settings" in rules.statement


def test_the_rules_of_the_run_decide_what_counts():
    assert OWN.motion is not None
    seen = Signals(clip_id="c", frames=50, extractor="truth", yaw_deg=(0.0,) * 50, face_visible=(1.0,) * 50)
    found = ClipEvidence(seen, limits=OWN.motion).quantities.find("turn_head", "head")
    assert found is not None
    assert found.min_amplitude == 19.0
