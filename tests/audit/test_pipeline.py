"""An audit of a whole set: findings, gate, queue, explanation, acceptance."""

import logging
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from xsheet.audit.accept import accept_layer, rejection_reason
from xsheet.audit.explain import explain_annotation
from xsheet.audit.gate import GateInputs, evaluate_gate
from xsheet.audit.people.calibration import calibrate_from_review
from xsheet.audit.pipeline import CHECKS, audit
from xsheet.audit.scores import family_scores, mean_scores, phase_scores
from xsheet.audit.seeded_faults import seed_fault
from xsheet.audit.settings import AcceptRules, AuditSettings, GateLimits
from xsheet.audit.signal_rows import SignalsReader
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas.annotation import Annotation, Evidence, Scores, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import find_layer, write_layer
from xsheet.schemas.run import Model, Run
from xsheet.schemas.sets import check_set, create_set
from xsheet.schemas.source import Shot
from xsheet.schemas.tables import CLIPS, FINDINGS, SHOTS, SIGNALS, iter_records, write_table

SHA256 = "a" * 64
FILMS = 8
FACE = ("head", "gaze", "brows", "face")  # what planted series hold
SETTINGS = AuditSettings()


def run(run_id, kind="annotate", **fields):
    return Run(
        run_id=run_id, kind=kind, tool_version="0", model=Model(id=run_id, revision="0"), settings_sha256=SHA256,
        **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def films():
    found = []
    for seed in range(FILMS):
        rows = list(truth_rows(plan_film(0, seed=seed, kind="talk"), "src_films"))
        truth = next(row for row in rows if isinstance(row, Annotation))
        found.append((next(row for row in rows if isinstance(row, Signals)), truth))
    return found


@pytest.fixture(scope="module")
def folder(films, tmp_path_factory):
    """A set of films: a normalised truth layer, an equal consensus, a shifted one, and a layer of three samples."""
    folder = tmp_path_factory.mktemp("audit") / "set"
    create_set(folder, "films")
    write_table(folder, CLIPS, [_clip(signals, k) for k, (signals, _) in enumerate(films)])
    write_table(folder, SIGNALS, [signals for signals, _ in films])
    truths = [truth for _, truth in films]
    write_layer(folder, run("run_raw"), "raw", [_as(truth, "raw", "run_raw", parents=()) for truth in truths])
    raw = {row.clip_id: row.annotation_id for row in find_layer(folder, "raw").read()}
    normalised = [_as(truth, "normalised", "run_normalised", parents=(raw[truth.clip_id],)) for truth in truths]
    write_layer(folder, run("run_normalised"), "normalised", normalised)
    parents = {row.clip_id: (row.annotation_id,) for row in normalised}
    agreed = [_as(truth, "consensus", "run_good", parents=parents[truth.clip_id]) for truth in truths]
    write_layer(folder, run("run_good", "consensus"), "consensus", agreed)
    moved = [_as(_shifted(truth), "consensus", "run_bad", parents=parents[truth.clip_id]) for truth in truths]
    write_layer(folder, run("run_bad", "consensus"), "consensus", moved)
    samples = [row for truth in truths for row in _samples(truth)]
    write_layer(folder, run("run_samples"), "raw", samples)
    return folder


def _clip(signals, k):
    return Clip(
        clip_id=signals.clip_id, source_id=f"src_{k}", start_us=1_000_000, end_us=1_000_000 + 40_000 * signals.frames,
        media_path=f"media/{k}.mp4", media_sha256=SHA256, frames=signals.frames, samples=0, width=384, height=384,
    )  # fmt: skip


def _as(truth, layer, run_id, *, parents, **fields):
    name = annotation_id(
        clip_id=truth.clip_id, layer=layer, run_id=run_id, sample_index=fields.get("sample_index"), base=truth.base,
        phases=truth.phases,
    )  # fmt: skip
    return replace(
        truth, annotation_id=name, layer=layer, run_id=run_id, parent_ids=parents, media_sha256=SHA256, **fields
    )


def _shifted(truth):
    """One phase that the series show half a second off, where there is one."""
    moved = seed_fault(
        truth, "shift_0.5", rng=np.random.default_rng(0), donor_texts=(), is_visible=lambda track, _: track in FACE
    )
    return truth if moved is None else moved.annotation


def _samples(truth):
    """Three samples; the last one has lost the first phase."""
    for k in range(3):
        phases = truth.phases if k < 2 else truth.phases[1:]
        yield _as(replace(truth, phases=sorted_phases(phases)), "raw", "run_samples", parents=(), sample_index=k)


@pytest.mark.slow
def test_the_truth_passes_and_leaves_hardly_a_finding(folder):
    found = audit(folder, find_layer(folder, "consensus@run_good"), SETTINGS)
    assert found.gate.passed
    flagged = sum(one.errors + one.warnings for one in found.annotations)
    assert flagged <= 0.05 * found.phase_count
    assert found.scores.overall > 0.9


def test_shifted_phases_are_refuted_in_their_time(folder):
    found = audit(folder, find_layer(folder, "consensus@run_bad"), SETTINGS)
    assert found.refutations["time"] >= FILMS // 2
    assert found.annotations[0].errors > 0
    assert [one.review_priority for one in found.annotations] == sorted(
        one.review_priority for one in found.annotations
    )


@pytest.mark.slow
def test_findings_are_rows_with_numbers_and_are_the_same_again(folder):
    layer = find_layer(folder, "consensus@run_bad")
    first = audit(folder, layer, SETTINGS)
    rows = [row for row in iter_records(folder, FINDINGS) if row.run_id == first.run.run_id]
    audit(folder, layer, SETTINGS)
    assert rows == [row for row in iter_records(folder, FINDINGS) if row.run_id == first.run.run_id]
    assert len(rows) == first.finding_count
    assert len({row.finding_id for row in rows}) == len(rows)
    displaced = next(row for row in rows if row.check == "G3")
    numbers = {number.name: number.value for number in displaced.evidence}
    assert numbers["displacement_s"] > numbers["limit"]
    assert displaced.phase_id is not None


def test_an_audit_shows_how_many_annotations_it_has_checked(folder, caplog):
    layer = find_layer(folder, "consensus@run_good")
    with caplog.at_level(logging.INFO):
        audited = audit(folder, layer, SETTINGS, shows_progress=True)
    count = len(audited.annotations)
    assert any(message.startswith(f"audit {count} of {count}, ok {count} ") for message in caplog.messages)


@pytest.mark.slow
def test_other_limits_are_another_run(folder):
    layer = find_layer(folder, "consensus@run_good")
    strict = SETTINGS.model_copy(update={"motion": SETTINGS.motion.model_copy(update={"min_motion_ratio": 1e6})})
    loose, harsh = audit(folder, layer, SETTINGS), audit(folder, layer, strict)
    assert loose.run.run_id != harsh.run.run_id
    assert not harsh.gate.passed


@pytest.mark.slow
def test_a_layer_compared_with_itself_has_f1_of_one_and_may_be_asked_for_it(folder):
    layer = find_layer(folder, "consensus@run_good")
    asked = SETTINGS.model_copy(update={"gate": GateLimits(min_agreement_f1=0.9)})
    assert audit(folder, layer, asked, reference=layer).gate.passed
    assert not audit(folder, layer, asked).gate.passed


@pytest.mark.slow
def test_samples_give_support_and_agreement(folder):
    found = audit(folder, find_layer(folder, "raw@run_samples"), SETTINGS)
    counts = {one.check.id: one for one in found.checks}
    assert counts["D1"].passed + counts["D1"].failed == found.phase_count
    assert counts["D1"].failed == 0  # two of three is enough
    assert counts["D2"].passed > counts["D2"].failed > 0  # not where the lost phase was the only one


def test_a_shot_cut_inside_a_clip_is_on_the_clips_clock(folder, films):
    shots = [
        Shot(shot_id=f"shot_{k}", source_id="src_0", start_us=start, end_us=end, opens_with="cut")
        for k, (start, end) in enumerate([(0, 1_400_000), (1_400_000, 60_000_000)])
    ]
    write_table(folder, SHOTS, shots)
    try:
        found = audit(folder, find_layer(folder, "consensus@run_good"), SETTINGS)
    finally:
        write_table(folder, SHOTS, [])
    crossing = sum(p.start_us < 400_000 < p.end_us for p in films[0][1].phases)
    assert {one.check.id: one.failed for one in found.checks}["B7"] == crossing


def test_a_set_without_signals_is_judged_by_the_rest_and_does_not_pass(films, tmp_path):
    create_set(tmp_path / "set", "bare")
    truth = _as(films[0][1], "raw", "run_raw", parents=())
    layer = write_layer(tmp_path / "set", run("run_raw"), "raw", [truth])
    found = audit(tmp_path / "set", layer, SETTINGS)
    assert not found.gate.passed
    assert {one.name for one in found.gate.criteria if one.value is None} == {
        "movement_not_visible_rate",
        "missed_motion_share",
    }


def test_signals_from_columns_are_those_of_the_table(folder):
    rows = SignalsReader(folder)
    assert all(rows(signals.clip_id) == signals for signals in iter_records(folder, SIGNALS))
    assert rows("clip_unknown") is None


# ---- explain


@pytest.mark.slow
def test_an_annotation_is_explained_with_all_that_passed(folder):
    layer = find_layer(folder, "consensus@run_good")
    row = next(layer.read())
    explained = explain_annotation(folder, row.annotation_id, SETTINGS)
    assert [str(one.layer) for one in explained.ancestors] == [
        "consensus@run_good",
        "normalised@run_normalised",
        "raw@run_raw",
    ]
    assert {"A1", "F9", "G3"} <= {check.id for check, outcome in explained.evaluations if outcome.passed}
    assert set(explained.phase_scores) == {phase.phase_id for phase in row.phases}
    assert all(len(line) == 5 for line in explained.evaluation_rows())


def test_an_id_that_is_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match="ann_nobody"):
        explain_annotation(folder, "ann_nobody", SETTINGS)


# ---- accept


@pytest.mark.slow
def test_what_passed_becomes_the_accepted_layer_with_its_parents_and_scores(folder):
    layer = find_layer(folder, "consensus@run_good")
    found = accept_layer(folder, layer, SETTINGS)
    parents = {row.annotation_id: row for row in layer.read()}
    rows = list(found.layer.read())
    assert len(rows) == found.accepted_count == FILMS - sum(found.rejection_counts.values())
    for row in rows:
        (parent,) = row.parent_ids
        assert row.phases == parents[parent].phases
        assert row.scores.overall >= SETTINGS.accept.min_score
    assert audit(folder, found.layer, SETTINGS).gate.passed


@pytest.mark.slow
def test_movement_without_a_phase_is_unknown_in_the_accepted_layer(folder):
    normalised = list(find_layer(folder, "normalised").read())
    bare = [
        _as(replace(row, phases=row.phases[1:]), "consensus", "run_bare", parents=(row.annotation_id,))
        for row in normalised
    ]
    layer = write_layer(folder, run("run_bare", "consensus"), "consensus", bare)
    lenient = SETTINGS.model_copy(
        update={
            "gate": GateLimits(max_missed_motion_share=None),
            "accept": SETTINGS.accept.model_copy(update={"min_score": 0.0, "max_warnings": None}),
        }
    )
    found = accept_layer(folder, layer, lenient)
    spans = {row.clip_id: tuple((s.start_us, s.end_us) for s in row.unknown) for row in found.layer.read()}
    missed = {one.clip_id: one.missed_spans for one in found.audit.annotations}
    assert any(spans.values())
    assert spans == {clip: missed[clip] for clip in spans}


@pytest.mark.slow
def test_without_a_pass_of_the_gate_nothing_is_accepted(folder):
    strict = SETTINGS.model_copy(update={"gate": GateLimits(min_verifiable_share=1.0)})
    found = accept_layer(folder, find_layer(folder, "consensus@run_bad"), strict)
    assert found.layer is None
    assert found.accepted_count == 0


@pytest.mark.slow
def test_a_layer_of_several_samples_is_refused(folder):
    with pytest.raises(ConfigError, match="consensus"):
        accept_layer(folder, find_layer(folder, "raw@run_samples"), SETTINGS)


def test_support_is_calibrated_on_what_people_kept(folder, films, tmp_path):
    create_set(tmp_path / "set", "reviewed")
    stated, kept = [], []
    for _, truth in films:
        phases = [replace(p, evidence=Evidence(support_k=3 if k % 2 else 1, k=3)) for k, p in enumerate(truth.phases)]
        one = _as(replace(truth, phases=tuple(phases)), "normalised", "run_normalised", parents=("ann_x",))
        stated.append(one)
        sure = [p for p in phases if p.evidence.support_k == 3]
        kept.append(_as(replace(one, phases=tuple(sure)), "human", "run_human", parents=(one.annotation_id,)))
    layer = write_layer(tmp_path / "set", run("run_normalised"), "normalised", stated)
    human = write_layer(tmp_path / "set", run("run_human", "review"), "human", kept)
    found = calibrate_from_review(layer, human)
    assert found.acceptance_knots == (0.0, 1.0)


# ---- scores and gate


def test_ids_of_checks_are_unique_and_every_check_says_why_and_how():
    counts = Counter(check.id for check in CHECKS)
    assert max(counts.values()) == 1
    assert all(check.requirement and check.formula for check in CHECKS)
    assert all(bool(check.metric) == bool(check.comparator) for check in CHECKS)


@pytest.mark.slow
def test_scores_weigh_an_error_twice_and_an_open_answer_nothing(folder):
    explained = explain_annotation(folder, next(find_layer(folder, "consensus@run_bad").read()).annotation_id, SETTINGS)
    families = family_scores(explained.evaluations)
    assert explained.scores.overall == min(families.values())
    assert family_scores([(check, o._replace(passed=None)) for check, o in explained.evaluations]) == {}
    assert all(0 <= one.overall <= 1 for one in phase_scores(explained.evaluations).values() if one.overall is not None)


def test_the_mean_leaves_out_what_is_not_there():
    found = mean_scores([Scores(overall=1.0, motion=0.5), Scores(overall=0.0)])
    assert (found.overall, found.motion, found.text) == (0.5, 0.5, None)


@pytest.mark.parametrize(
    ("field", "value", "passes"),
    [
        ("movement_not_visible_rate", 0.10, True),
        ("movement_not_visible_rate", 0.11, False),
        ("movement_not_visible_rate", None, False),
        ("missed_motion_share", 0.6, False),
        ("structural_error_rate", 0.001, False),
        ("unusable_response_rate", 0.02, False),
        ("agreement_f1", 0.0, True),
    ],
)
def test_each_criterion_keeps_its_limit(field, value, passes):
    fine = GateInputs(
        structural_error_rate=0.0,
        movement_not_visible_rate=0.0,
        missed_motion_share=0.0,
        unusable_response_rate=0.0,
        verifiable_share=1.0,
        agreement_f1=None,
        acceptance_rate=None,
    )
    assert evaluate_gate(replace(fine, **{field: value}), GateLimits()).passed == passes


@pytest.mark.slow
def test_rules_name_the_reason(folder):
    found = audit(folder, find_layer(folder, "consensus@run_bad"), SETTINGS)
    assert rejection_reason(found.annotations[0], AcceptRules()) == "finding of severity error"
    assert rejection_reason(replace(found.annotations[0], status="truncated"), AcceptRules()) == "response truncated"
    assert rejection_reason(
        replace(found.annotations[0], errors=0, warnings=2), AcceptRules(min_score=0, max_warnings=1)
    )


@pytest.mark.slow
def test_a_set_that_was_audited_twice_keeps_the_contract_of_findings(folder, tmp_path):
    """Two audits with other limits find the same faults; their findings are rows of their own."""
    copy = shutil.copytree(folder, tmp_path / "set")
    layer = find_layer(copy, "consensus@run_bad")
    lax = SETTINGS.model_copy(update={"gate": GateLimits(max_missed_motion_share=None)})
    first, second = (audit(copy, layer, settings) for settings in (SETTINGS, lax))
    assert first.run.run_id != second.run.run_id
    assert first.finding_count == second.finding_count > 0
    assert not [one for one in check_set(copy).violations if one.table == FINDINGS.name]
