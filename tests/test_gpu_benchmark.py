"""The benchmark for a GPU runs on a CPU at tiny sizes, part by part, and repeats only what is missing."""

import importlib.util
import json
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gpu(root):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu_benchmark", root / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.nightly
def test_every_part_has_numbers_and_a_second_run_repeats_only_what_failed(gpu, tmp_path, capsys):
    assert gpu.run_parts(tmp_path, list(gpu.PARTS), smoke=True, device="a CPU") == 0
    file = tmp_path / "parts.json"
    stored = json.loads(file.read_text())
    assert list(stored["parts"]) == list(gpu.PARTS)
    shown = capsys.readouterr().out
    assert all(part.removeprefix("step-") in shown for part in gpu.PARTS)
    assert stored["parts"]["step-480x832x81-plain"]["tokens"] == 2 * 2 * 2  # 5 frames of 64 x 64: patches of 32 pixels
    stored["parts"]["matmul"] = {"failed": "stopped after 30 s"}
    stored["parts"]["ablation"]["hours_of_ablation"] = -1.0
    file.write_text(json.dumps(stored))
    assert gpu.run_parts(tmp_path, ["matmul", "ablation"], smoke=True, device="a CPU") == 0
    again = json.loads(file.read_text())["parts"]
    assert again["matmul"]["tflops"] > 0
    assert again["ablation"]["hours_of_ablation"] == -1.0


def test_numbers_of_another_machine_are_not_mixed_in(gpu, tmp_path):
    machine = {"device": "a GPU", "smoke": False, "torch": "1"}
    (tmp_path / "parts.json").write_text(json.dumps({"machine": machine, "parts": {}}))
    with pytest.raises(SystemExit, match="another folder"):
        gpu.run_parts(tmp_path, ["matmul"], smoke=True, device="a CPU")


def test_all_parts_fit_into_ten_minutes(gpu):
    limits = [gpu.limit_s(part) for part in gpu.PARTS]
    assert min(limits) > 0
    assert sum(limits) <= gpu.TOTAL_S == 600
