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


def test_the_lock_file_pins_every_package_by_hash_and_names_no_host(root):
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    lines = [line for line in lock.splitlines() if not line.startswith("#")]
    packages = [line for line in lines if not line.startswith(" ")]
    hashes = [line for line in lines if line.startswith(" ")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==\S+( ; .+)? \\", line) for line in packages)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)
    assert "://" not in lock

    def pins(text):
        found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([^\s;]+)", text, re.MULTILINE)
        return {re.sub(r"[_.]", "-", name.lower()): version for name, version in found}

    constraints, locked = pins((root / "constraints.txt").read_text(encoding="utf-8")), pins(lock)
    assert not {name for name in constraints.keys() & locked.keys() if constraints[name] != locked[name]}
