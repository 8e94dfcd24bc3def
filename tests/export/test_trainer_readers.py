"""Exports load in the readers of trainers that are on the package index: DiffSynth-Studio and finetrainers.

Only the modules that read data are imported, without the packages around them, whose requirements are trainers of their
own. SimpleTuner is on the index too, but needs another numpy than mediapipe: its form is checked against its documented
rules (test_export.py).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xsheet.export.pipeline import export_set
from xsheet.export.settings import ExportKind, ExportSettings
from xsheet.runtime.executor import Execution

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

PACKAGES = (
    "diffsynth==2.1.12", "finetrainers==0.2.0", "imageio==2.37.0", "imageio-ffmpeg==0.6.0", "einops==0.8.1",
    "decord==0.6.0", "torchdata==0.11.0", "kornia==0.8.1", "kornia_rs==0.1.9",
)  # fmt: skip
BARE = """
import json, sys, types
readers, export = sys.argv[1:]
sys.path.insert(0, readers)
from xsheet.torchvision_compat import import_torchvision
import_torchvision()
def bare(*names):  # packages without their own __init__, which imports trainers
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [f"{readers}/{name.replace('.', '/')}"]
"""
DIFFSYNTH = """
bare("diffsynth", "diffsynth.core")
from diffsynth.core.data import UnifiedDataset
read = UnifiedDataset.default_video_operator(
    base_path=export, max_pixels=64 * 64, num_frames=17, time_division_factor=4, time_division_remainder=1
)
dataset = UnifiedDataset(
    base_path=export, metadata_path=f"{export}/metadata.csv", data_file_keys=("video",), main_data_operator=read
)
rows = [dataset[k] for k in range(len(dataset))]
print(json.dumps([[row["prompt"], len(row["video"])] for row in rows]))
"""
FINETRAINERS = """
import datasets, torchvision.io
torchvision.io.video_reader = types.SimpleNamespace(VideoReader=object)  # of older versions; in an annotation only
bare("finetrainers", "finetrainers.utils", "finetrainers.data")
from finetrainers.utils.file import find_files
sys.modules["finetrainers.utils"].find_files = find_files
from finetrainers.data.dataset import initialize_dataset
dataset = initialize_dataset(export, "video")
dataset._data = dataset._data.cast_column("video", datasets.Video(decode=False))  # `datasets` decodes with torchcodec
print(json.dumps([[row["caption"], row["video"]["path"]] for row in dataset]))
"""


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
    subprocess.run(install, check=True)
    return folder


def read(code: str, readers: Path, export: Path) -> list[list]:
    ran = subprocess.run(
        [sys.executable, "-c", BARE + code, str(readers), str(export)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def exported(drawn_set: Path, out: Path, kind: ExportKind) -> Path:
    settings = ExportSettings(kind=kind, layer="gold")
    export_set(drawn_set, out, settings, execution=Execution(jobs=1), shows_progress=False)
    return out / "train"


def captions_of(drawn_set: Path, out: Path) -> list[str]:
    folder = exported(drawn_set, out, "folder")
    return sorted(file.read_text(encoding="utf-8").strip() for file in folder.glob("*.txt"))


def test_diffsynth_reads_every_video_with_its_caption(readers, drawn_set, tmp_path):
    rows = read(DIFFSYNTH, readers, exported(drawn_set, tmp_path / "out", "diffsynth"))
    assert sorted(caption for caption, _ in rows) == captions_of(drawn_set, tmp_path / "folder")
    assert {frames for _, frames in rows} == {17}


def test_finetrainers_reads_every_video_with_its_caption(readers, drawn_set, tmp_path):
    folder = exported(drawn_set, tmp_path / "out", "finetrainers")
    rows = read(FINETRAINERS, readers, folder)
    assert sorted(caption for caption, _ in rows) == captions_of(drawn_set, tmp_path / "folder")
    assert sorted(path for _, path in rows) == sorted(str(file) for file in folder.glob("*.mp4"))
