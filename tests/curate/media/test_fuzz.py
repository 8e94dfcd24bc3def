"""300 damaged files give 300 rows: facts or a precise error, never a crash that spreads, never a hang."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.tasks.probe import ProbeTask, SourcePath
from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.schemas.errors import MediaReason
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.source import SourceVideo

HOW = Execution(jobs=2, stall_timeout_s=20, memory_mb=2048)
HEADER_BYTES = 2048


def cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: int(rng.integers(1, len(data)))])


def flip_bits(data: bytearray, rng: np.random.Generator) -> bytes:
    for at in rng.integers(0, len(data), int(rng.integers(1, 200))):
        data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def edit_headers(data: bytearray, rng: np.random.Generator) -> bytes:
    """Extreme values where the index lies: both ends of the file."""
    for _ in range(int(rng.integers(1, 20))):
        near = int(rng.integers(0, min(HEADER_BYTES, len(data) - 8)))
        at = near if rng.random() < 0.5 else len(data) - 8 - near
        width = int(rng.choice([1, 2, 4, 8]))
        value = rng.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]).item()
        data[at : at + width] = value * width
    return bytes(data)


def repeat_or_drop(data: bytearray, rng: np.random.Generator) -> bytes:
    begin, end = sorted(int(x) for x in rng.integers(16, len(data), 2))
    return bytes(data[:begin] + data[begin:end] * int(rng.integers(0, 3)) + data[end:])


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], bytes], ...] = (
    cut, flip_bits, edit_headers, edit_headers, repeat_or_drop,
)  # fmt: skip


@pytest.fixture
def bases(film: Callable[..., Path]) -> list[Path]:
    rng = np.random.default_rng(7)
    textured = rng.integers(0, 255, (48, 64, 3), np.uint8)
    look = {"picture": lambda k, size: np.roll(textured, 3 * k, axis=1), "frames": 30}
    sound = (0.3 * np.sin(np.arange(19_200) / 9)).astype(np.float32)
    return [
        film("a.mp4", sound=sound, rotation_deg=90, title="a title", **look),
        film("b.mkv", container="matroska", sound=sound, **look),
        film("c.webm", container="webm", codec="libvpx-vp9", audio_codec="libopus", sound=sound, **look),
        film("d.mpg", container="mpeg", codec="mpeg1video", audio_codec="mp2", sound=sound, **look),
        film("e.mov", container="mov", codec="mpeg4", sound=sound, stamps=[k + k // 4 for k in range(30)], **look),
    ]


@pytest.fixture
def mutants(bases: list[Path], tmp_path: Path) -> list[Item]:
    (folder := tmp_path / "mutants").mkdir()
    items = []
    for number in range(300):
        rng = np.random.default_rng(number)
        base = bases[number % len(bases)]
        mutate = MUTATIONS[number // len(bases) % len(MUTATIONS)]
        path = folder / f"{number:03}-{mutate.__name__}{base.suffix}"
        path.write_bytes(mutate(bytearray(base.read_bytes()), rng))
        items.append(
            Item(content_key(file_sha256(path), number), path.name, SourcePath(path=str(path), root=path.parent))
        )
    return items


@pytest.fixture
def read_everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("read_everything").ReadEverything


def endings(task, items: list[Item], out: Path) -> Counter[str]:
    committed = run_task(task, items, out=out, execution=HOW)
    outcomes = list(committed.outcomes())
    assert len(outcomes) == len(items)
    assert len(list(committed.rows(SourceVideo))) == sum(o.status == "ok" for o in outcomes)
    # A header may ask for more memory than there is. Whether it or the machine is at fault only the executor can tell.
    known = {None, *get_args(MediaReason), "out_of_memory"}
    leaks = [f"{o.name}: {o.message}" for o in outcomes if o.reason not in known]
    assert not leaks, "\n".join(leaks)
    return Counter(outcome.reason or "ok" for outcome in outcomes)


@pytest.mark.nightly
def test_300_mutants_are_probed_with_300_rows(mutants, tmp_path):
    task = ProbeTask(limits=MediaLimits(max_duration_s=600), count_frames=True)
    found = endings(task, mutants, tmp_path / "out")
    assert found["ok"] > 50
    assert found["broken_header"] > 10


@pytest.mark.nightly
def test_300_mutants_are_read_in_full_with_300_rows(mutants, read_everything, tmp_path):
    found = endings(read_everything(), mutants, tmp_path / "out")
    assert found["ok"] > 50
