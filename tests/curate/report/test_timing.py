from xsheet.curate.report.applied_limits import read_manifests
from xsheet.curate.report.timing import time_breakdown


def test_steps_and_analysers_are_kept_apart(make_set):
    found = time_breakdown(read_manifests(make_set()), video_s=4200.0)
    assert found.wall_by_step[0][0] == "measure"
    assert [name for name, _, _ in found.cpu_by_analyser] == ["faces", "decode", "sync"]
    assert (found.wall_s, found.cpu_s, found.realtime_factor) == (420.0, 520.0, 10.0)


def test_shares_of_the_time_add_up_to_one(make_set):
    found = time_breakdown(read_manifests(make_set()), video_s=1.0)
    assert abs(sum(share for _, _, share in found.wall_by_step) - 1) < 1e-9


def test_no_run_took_no_time():
    found = time_breakdown([], video_s=60.0)
    assert (found.wall_s, found.realtime_factor, found.wall_by_step) == (0.0, 0.0, ())
