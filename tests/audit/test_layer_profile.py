"""The corpus at a glance: counts by hand, and drift that finds what was planted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from xsheet.audit.layer_profile import (
    distribution_shift,
    effective_number,
    entropy_nats,
    layer_profile,
    response_stats,
)
from xsheet.cli import app
from xsheet.schemas import vocab
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run, Usage
from xsheet.schemas.sets import create_set

RUN = Run(run_id="run_a", kind="annotate", tool_version="1")


def test_a_profile_counts_phases_of_all_blocks(units):
    found = layer_profile(
        [units(("head", "nod", 0, 1), clip="a"), units(("head", "nod", 0, 2), clip="b"), units(clip="c")]
    )
    assert (found.clips, found.phase_count) == (3, 2)
    assert found.action_counts[vocab.ACTIONS.index("nod")] == found.track_counts[vocab.TRACKS.index("head")] == 2
    assert sorted(found.durations_us) == [1_000_000, 2_000_000]


def test_effective_number_counts_equal_classes():
    assert effective_number(np.array([5, 5, 5, 5, 0])) == pytest.approx(4)
    assert effective_number(np.array([7])) == 1
    assert effective_number(np.array([0, 0])) == 0
    assert entropy_nats(np.array([1, 1])) == pytest.approx(math.log(2))


def test_a_layer_does_not_drift_from_itself(random_units):
    one = layer_profile([random_units(np.random.default_rng(0))])
    found = distribution_shift(one, one)
    assert (found.action_js_bits, found.track_js_bits, found.duration_ks, found.share_changes) == (0, 0, 0, ())


def test_layers_with_no_word_in_common_are_one_bit_apart(units):
    a, b = layer_profile([units(("head", "nod", 0, 1))]), layer_profile([units(("gaze", "look_away", 0, 1))])
    found = distribution_shift(a, b)
    assert (found.action_js_bits, found.track_js_bits) == (pytest.approx(1), pytest.approx(1))


def test_drift_is_symmetric_and_names_what_moved(random_units):
    a = random_units(np.random.default_rng(0))
    b = random_units(np.random.default_rng(1))
    b.action[b.action == 2] = 3
    one, other = (
        distribution_shift(layer_profile([a]), layer_profile([b])),
        distribution_shift(layer_profile([b]), layer_profile([a])),
    )
    assert one.action_js_bits == pytest.approx(other.action_js_bits)
    assert {word for word, _, _ in one.share_changes[:2]} == {vocab.ACTIONS[2], vocab.ACTIONS[3]}


def test_longer_phases_are_a_drift_of_durations(random_units):
    a = random_units(np.random.default_rng(0))
    longer = random_units(np.random.default_rng(1))
    longer.end_us[:] += 400_000
    found = distribution_shift(layer_profile([a]), layer_profile([longer]))
    assert found.duration_ks > 0.2 and found.duration_p_value < 1e-6


def test_nothing_drifts_from_an_empty_layer(units):
    assert distribution_shift(layer_profile([]), layer_profile([units(("head", "nod", 0, 1))])) is None


@pytest.mark.slow
def test_agree_reports_the_drift_of_two_layers(annotation, tmp_path):
    create_set(tmp_path, "s")
    write_layer(tmp_path, RUN, "gold", [annotation(("head", "nod", 0, 1))])
    write_layer(
        tmp_path, replace(RUN, run_id="run_b"), "gold", [annotation(("gaze", "look_away", 0, 1), run_id="run_b")]
    )
    compared = ["audit", "agree", str(tmp_path), "gold@run_a", "gold@run_b"]
    shift = json.loads(CliRunner().invoke(app, [*compared, "--json"]).stdout)["distribution_shift"]
    assert shift["action_js_bits"] == pytest.approx(1)
    assert "share of look_away" in CliRunner().invoke(app, compared).stdout


def test_statuses_and_costs_of_a_layer_are_summed(annotation, tmp_path):
    cost = Usage(prompt_tokens=100, output_tokens=10, latency_s=0.5)
    says = [annotation(clip=f"c{k}", usage=cost) for k in range(98)]
    says += [annotation(clip=f"c{k}", status="truncated", base=None) for k in (98, 99)]
    found = response_stats(write_layer(tmp_path, RUN, "gold", says))
    assert found.status_counts == {"ok": 98, "truncated": 2}
    assert found.cost_totals == {"prompt_tokens": 9800, "output_tokens": 980, "latency_s": 49.0}
    assert found.wilson_bounds("truncated") == pytest.approx((0.0055, 0.0700), abs=1e-4)
