"""Makefile, Dockerfile, workflows, pre-commit hooks and version numbers agree with each other and with the pages."""

import re
import subprocess
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import xsheet

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("target", ["demo", "test", "check", "types", "test-all", "bench", "contract", "docs"])
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
        lines = [step["run"] for step in job["steps"] if "run" in step and "install" not in step["run"]]
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


def pins(file):
    """{name: version} of a file of pinned packages."""
    text = file.read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([^\s;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_lock_file_pins_every_package_by_hash_and_names_no_host(root):
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    lines = [line for line in lock.splitlines() if not line.startswith("#")]
    packages = [line for line in lines if not line.startswith(" ")]
    hashes = [line for line in lines if line.startswith(" ")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==\S+( ; .+)? \\", line) for line in packages)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)
    assert "://" not in lock

    constraints, locked = pins(root / "constraints.txt"), pins(root / "requirements.lock")
    assert not {name for name in constraints.keys() & locked.keys() if constraints[name] != locked[name]}


def test_the_lock_file_has_what_xsheet_its_extras_and_their_packages_require(root):
    locked = pins(root / "requirements.lock")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    wanted = [Requirement(text) for text in direct if not text.startswith("xsheet[")]
    for name in locked:  # what the packages that are installed here require in turn, without their own extras
        with suppress(PackageNotFoundError):
            wanted += [Requirement(text) for text in distribution(name).requires or ()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert len(needed) > len(locked)
    assert {canonicalize_name(one.name) for one in needed} <= locked.keys()
    assert not {str(one) for one in needed if not one.specifier.contains(locked[canonicalize_name(one.name)])}
