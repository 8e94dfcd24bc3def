"""The annotator on signals that were measured on drawn films: a small version of benchmarks/motion.py."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mediapipe", reason="the tracker that measures the films")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark, whose measuring functions the tests share."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "motion.py"
    spec = importlib.util.spec_from_file_location("motion_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[3, pytest.param(10, marks=pytest.mark.nightly)])
def score(bench, request):
    """Head and face of unseen films."""
    score = bench.Score()
    for seed in range(100, 100 + request.param):
        signals, truth = bench.filmed(bench.plan_of(seed), body=False)
        score.add(bench.phases_of(signals), truth.phases, tracks=bench.FACE, least=0.5)
    return score


def test_planted_actions_are_found(score, request):
    assert len(score.hits) >= 1.5 * request.node.callspec.params["score"]
    assert not score.extra
    assert score.f1 >= 0.8  # glances during head movement and small brow raises are left out: they were rarely true


def test_what_is_found_has_the_right_class_and_side(score):
    assert score.classes >= 0.95
    assert score.laterality == 1.0


def test_repetitions_are_counted(score):
    assert score.repetitions >= 0.9


def test_boundaries_are_right_to_two_frames(score):
    assert score.start_frames <= 2
    assert score.end_frames <= 2


@pytest.mark.parametrize("kind", ["living", "still"])
def test_who_only_breathes_and_talks_does_nothing(bench, kind):
    signals, _ = bench.filmed(bench.plan_of(101, kind=kind), body=False)
    assert [p.action for p in bench.phases_of(signals) if p.action != "rest"] == []
