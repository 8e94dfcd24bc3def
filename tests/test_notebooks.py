"""The notebooks of docs/ run with fewer films and steps, and are committed without outputs."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALLER = {
    "FILMS": 4,
    "SEED": 173,
    "STAGE1_STEPS": 2,
    "STAGE2_STEPS": 2,
    "BATCH": 2,
}  # no film is rejected


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_has_no_outputs(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in code if cell.outputs or cell.execution_count is not None]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_links_of_a_notebook_resolve(file):
    cells = nbformat.read(file, as_version=4).cells
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (file.parent / target).exists(), target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shared folder: both notebooks use the same paths, so the second reuses the films of the first."""
    return tmp_path_factory.mktemp("notebooks")


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The notebook with its outputs; a failing cell or command raises."""
    from nbclient import NotebookClient  # a second of CPU in every process that collects

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = re.sub(r"%env (\w+)=\S+", lambda match: f"%env {match[1]}={SMALLER[match[1]]}", first.source)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def displayed(notebook, kind: str) -> list[str]:
    """Outputs of its cells in one MIME type."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_notebook_on_a_set_in_pandas_runs(folder, monkeypatch):
    notebook = executed("set-in-pandas", folder, monkeypatch)
    assert len(displayed(notebook, "text/html")) >= 3
    assert len(displayed(notebook, "image/png")) == 1


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_notebook_from_clip_to_sample_runs(folder, monkeypatch):
    notebook = executed("clip-to-sample", folder, monkeypatch)
    assert len([html for html in displayed(notebook, "text/html") if "data:video/mp4" in html]) == 2
    assert (folder / "nod.mp4").stat().st_size > 10_000
