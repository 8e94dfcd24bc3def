"""What a user gets: a wheel built from the sources, in an environment that holds nothing else."""

import os
import subprocess
import sys
import zipfile

import pytest

INSTALLED_S, BUILT_S, DEMO_S = 1800, 600, 2400


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """Built by `python -m build` from what is tracked, the wheel out of the source distribution."""
    sources, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    tracked = "git ls-files -z | tar --create --null --ignore-failed-read --files-from - | tar --extract --directory"
    subprocess.run(f"{tracked} '{sources}'", shell=True, cwd=root, check=True, stderr=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "build", "--outdir", out], cwd=sources, check=True, capture_output=True,
                   timeout=BUILT_S)  # fmt: skip
    assert len(list(out.glob("xsheet-*.tar.gz"))) == 1
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.nightly
@pytest.mark.timeout(BUILT_S + 60)
def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as held:
        (metadata,) = (name for name in held.namelist() if name.endswith(".dist-info/METADATA"))
        text = held.read(metadata).decode()
        names = {name.split("/")[-1] for name in held.namelist() if ".dist-info/licenses/" in name}
    assert "License-Expression: Apache-2.0" in text
    assert "Author: The xsheet developers" in text
    assert names == {"LICENSE", "NOTICE"}


@pytest.mark.nightly
@pytest.mark.timeout(INSTALLED_S + DEMO_S)
def test_the_wheel_runs_the_demo_in_an_empty_environment(root, wheel, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    bin_ = tmp_path / "venv" / "bin"
    install = [bin_ / "python", "-m", "pip", "install", "-q", "-c", root / "constraints.txt", f"{wheel}[train]"]
    subprocess.run(install, cwd=tmp_path, env=environment, check=True, timeout=INSTALLED_S)
    ran = subprocess.run([bin_ / "xsheet", "demo", "--quick", "--out", "out"], cwd=tmp_path, env=environment,
                         capture_output=True, text=True, check=False, timeout=DEMO_S)  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert (tmp_path / "out" / "demo.html").stat().st_size > 100_000
