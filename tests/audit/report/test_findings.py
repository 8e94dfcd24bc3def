import pytest

from xsheet.audit.report.findings import LayerFindings
from xsheet.schemas.annotation import Finding
from xsheet.schemas.layers import write_findings
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set


def finding(name, check="G1", severity="error", run="run_a", about="ann_a", phase=None):
    return Finding(
        finding_id=name, run_id=run, check=check, severity=severity, annotation_id=about,
        clip_id=about and about.replace("ann", "clip"), phase_id=phase, message=f"{check} says so",
    )  # fmt: skip


@pytest.fixture
def findings(tmp_path):
    create_set(tmp_path / "set", "s")

    def make(*rows, run_id=None, ids=("ann_a", "ann_b")):
        for run in sorted({row.run_id for row in rows}):
            mine = [row for row in rows if row.run_id == run]
            write_findings(tmp_path / "set", Run(run_id=run, kind="audit", tool_version="0"), mine)
        return LayerFindings.read(tmp_path / "set", ids, run_id=run_id)

    return make


def test_a_set_without_findings_has_none(findings):
    found = findings()
    assert (len(found), found.by_check(), found.error_phase_counts(), found.by_annotation(["ann_a"])) == (0, [], {}, {})
    assert list(found.layer_findings()) == []


def test_findings_of_other_layers_are_left_out(findings):
    assert len(findings(finding("a"), finding("b", about="ann_x"))) == 1


def test_what_two_audits_found_counts_once(findings):
    assert len(findings(finding("a"), finding("a", run="run_b"))) == 1


def test_findings_of_another_audit_are_left_out_when_one_is_named(findings):
    found = findings(finding("a"), finding("b", run="run_b"), finding("c", run="run_b", about=None), run_id="run_b")
    assert [row.check for row in found.by_check()] == ["G1"]
    assert (len(found), len(list(found.layer_findings()))) == (2, 1)


def test_checks_come_the_worst_and_most_frequent_first(findings):
    rows = [finding("a", "B1", "warning"), finding("b", "B1", "warning"), finding("c"), finding("d", "H6", "info")]
    assert [(row.check, row.findings) for row in findings(*rows).by_check()] == [
        ("G1", 1),
        ("B1", 2),
        ("H6", 1),
    ]


def test_clips_and_phases_count_once_for_each_check(findings):
    rows = [finding("a", phase="p0"), finding("b", phase="p0"), finding("c", phase="p0", about="ann_b")]
    (row,) = findings(*rows).by_check()
    assert (row.findings, row.phases, row.clips) == (3, 2, 2)


def test_a_phase_with_several_errors_is_one_faulty_phase(findings):
    rows = [finding("a", phase="p0"), finding("b", "G3", phase="p0"), finding("c", "G5", "warning", phase="p1")]
    assert findings(*rows).error_phase_counts() == {"ann_a": 1}


def test_findings_of_a_clip_come_the_worst_first(findings):
    rows = [finding("a", "H6", "info"), finding("b", "G9", "warning"), finding("c", "G3"), finding("d", "G1")]
    assert [one.check for one in findings(*rows).by_annotation(["ann_a"])["ann_a"]] == ["G1", "G3", "G9", "H6"]
