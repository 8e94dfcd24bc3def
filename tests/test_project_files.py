"""Makefile, Dockerfile, workflows, pre-commit hooks and version numbers agree with each other and with the pages."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import xsheet

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("target", ["demo", "test", "check", "test-all", "bench", "contract", "docs"])
def test_make_has_the_target(target):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_dockerfile_follows_the_readme():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "apt-get install libgl1 libglib2.0-0" in readme
    assert "libgl1 libglib2.0-0" in image
    (step,) = re.findall(r'pip install --no-cache-dir (-c constraints.txt "\.\[train\]")', image)
    assert f"pip install {step}" in readme


def test_workflows_run_make_targets_only():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        (job,) = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
        lines = [step["run"] for step in job["steps"] if "run" in step and "apt-get" not in step["run"]]
        assert [line.split()[0] for line in lines] == ["make"] * len(lines) != []
        used = job.get("strategy", {}).get("matrix", {}).get("target", [lines[0].split()[1]])
        assert set(used) <= targets


def test_pre_commit_runs_the_checks_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert {hook["entry"] for hook in hooks} == {"make lint", "make types"}


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == xsheet.__version__
    assert citation["license"] == "Apache-2.0"
    assert f"\n## {xsheet.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
