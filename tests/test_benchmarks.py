"""The benchmarks run for hours, so a test only loads each: a renamed module or function is found at once."""

import subprocess
import sys

import pytest

LOAD = """
import importlib, sys
from pathlib import Path
sys.path.insert(0, "benchmarks")
for file in sorted(Path("benchmarks").glob("*.py")):
    importlib.import_module(file.stem)
"""


@pytest.mark.nightly
def test_every_benchmark_loads(root):
    ran = subprocess.run([sys.executable, "-c", LOAD], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
