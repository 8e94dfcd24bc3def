import subprocess
import sys

import pytest

pytest.importorskip("torch")

CALL = "from xsheet.torchvision_compat import import_torchvision; import_torchvision(); "


def python(code, *, path):
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout.strip() or ran.stderr.strip().splitlines()[-1]


def fake(tmp_path, text):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    return tmp_path


DECLARED = "import torch; print(hasattr(torch.ops.torchvision, 'qnms'))"


@pytest.mark.slow
def test_torchvision_can_be_imported_afterwards(tmp_path):
    pytest.importorskip("transformers")
    # In this process another test may have bridged the gap already.
    code = CALL + CALL + "import torchvision.transforms.v2; from transformers import Qwen3VLVideoProcessor as P"
    assert python(code + "; print(P.__name__)", path=tmp_path) == "Qwen3VLVideoProcessor"


@pytest.mark.slow
def test_a_torchvision_that_imports_is_left_alone(tmp_path):
    assert python(CALL + DECLARED, path=fake(tmp_path, "")) == "False"


@pytest.mark.slow
def test_the_missing_operator_is_declared(tmp_path):
    # As torchvision 0.28 does beside a CPU build of torch.
    text = """
import torch
@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold): ...
"""
    assert python(CALL + DECLARED, path=fake(tmp_path, text)) == "True"


@pytest.mark.parametrize("error", ["RuntimeError('CUDA driver is too old')", "ImportError('no libjpeg')"])
def test_another_error_is_not_swallowed(tmp_path, error):
    last = python(CALL, path=fake(tmp_path, f"raise {error}"))
    assert last == error.replace("('", ": ").replace("')", "")
