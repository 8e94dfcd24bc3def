import os
import random
import signal
import subprocess
import sys
import time

import pytest

from xsheet.schemas.errors import ContractError, RunError
from xsheet.train.loop.checkpoint import LATEST, CheckpointStore
from xsheet.train.loop.process_group import ProcessGroup


@pytest.fixture
def checkpoints(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", keep=2, process_group=ProcessGroup())


def writes(text):
    return lambda folder: (folder / "state").write_text(text)


def test_a_saved_checkpoint_is_the_one_to_go_on_from(checkpoints):
    checkpoints.recover()
    folder = checkpoints.save(5, writes("five"))
    assert checkpoints.recover() == folder == checkpoints.pointer_target(LATEST)
    assert (folder / "state").read_text() == "five"


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(checkpoints):
    assert checkpoints.recover() is None


def test_the_newest_and_those_that_a_pointer_names_stay(checkpoints):
    checkpoints.recover()
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(step, writes("state"))
        if step == 2:
            checkpoints.set_pointer("BEST", 2)
    assert checkpoints.steps() == [2, 4, 5]


def test_keeping_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep >= 2"):
        CheckpointStore(tmp_path, keep=1, process_group=ProcessGroup())


def test_a_checkpoint_that_could_not_be_written_is_not_published(checkpoints):
    def fails(folder):
        (folder / "state").write_text("half")
        raise OSError("no space left on device")

    checkpoints.recover()
    before = checkpoints.save(1, writes("one"))
    with pytest.raises(RunError, match="no space left on device"):
        checkpoints.save(2, fails)
    assert checkpoints.recover() == before
    assert checkpoints.steps() == [1]


def test_a_failure_in_another_process_is_raised_in_this_one_too(tmp_path):
    class TwoProcesses(ProcessGroup):
        def failures(self, mine):
            return ("OSError: in the other",) if (tmp_path / "checkpoints/step-00000001.partial").exists() else ()

    checkpoints = CheckpointStore(tmp_path / "checkpoints", keep=2, process_group=TwoProcesses())
    checkpoints.recover()
    with pytest.raises(RunError, match="in the other"):
        checkpoints.save(1, writes("mine"))


def test_a_published_step_is_not_written_again(checkpoints):
    checkpoints.recover()
    checkpoints.save(1, writes("first"))
    folder = checkpoints.save(1, writes("second"))
    assert (folder / "state").read_text() == "first"


def test_a_kill_between_rename_and_pointer_loses_nothing(checkpoints, tmp_path):
    checkpoints.recover()
    checkpoints.save(1, writes("one"))
    newest = checkpoints.save(2, writes("two"))
    (tmp_path / "checkpoints" / LATEST).write_text("step-00000001\n")
    assert checkpoints.recover() == newest == checkpoints.pointer_target(LATEST)


def test_a_pointer_to_nothing_is_an_error_and_not_a_fresh_start(checkpoints, tmp_path):
    checkpoints.recover()
    (tmp_path / "checkpoints" / LATEST).write_text("step-00000007\n")
    with pytest.raises(RunError, match="step-00000007"):
        checkpoints.recover()


@pytest.mark.parametrize("text", [b"../../elsewhere", b"step-1", b"\x80\x04cposix\nmkdir\n", b""])
def test_a_pointer_that_names_no_checkpoint_is_refused(checkpoints, tmp_path, text):
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "checkpoints" / "LATEST").write_bytes(text)
    with pytest.raises(ContractError, match="remove LATEST"):
        checkpoints.recover()


SAVER = """
import os
import sys
from pathlib import Path
from xsheet.train.loop.checkpoint import CheckpointStore
from xsheet.train.loop.process_group import ProcessGroup

def save_forever():
    def write(folder):
        for part in range(8):
            (folder / f"part{part}").write_bytes(step.to_bytes(4) * 4096)

    checkpoints = CheckpointStore(Path(sys.argv[1]), keep=2, process_group=ProcessGroup())
    newest = checkpoints.recover()
    step = int(newest.name[5:]) if newest else 0
    print(os.getpid(), flush=True)
    while True:
        step += 1
        checkpoints.save(step, write)

for _ in sys.stdin:  # a fork for each kill: the imports take two seconds
    child = os.fork()
    if child == 0:
        save_forever()
    os.waitpid(child, 0)
    print("killed", flush=True)
"""


@pytest.mark.slow
def test_after_a_kill_at_any_instant_the_newest_checkpoint_is_whole(checkpoints, tmp_path):
    """Six kills while nothing but saving goes on: torn files, leftovers or a wrong pointer would show."""
    chance, steps = random.Random(3), 0
    command = [sys.executable, "-c", SAVER, tmp_path / "checkpoints"]
    forking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(6):
        print("save", file=forking.stdin, flush=True)
        saving = int(forking.stdout.readline())
        time.sleep(chance.uniform(0.02, 0.3))
        os.kill(saving, signal.SIGKILL)
        assert forking.stdout.readline() == "killed\n"
        newest = checkpoints.recover()
        if newest is not None:
            step = int(newest.name.removeprefix("step-"))
            assert [file.read_bytes() for file in sorted(newest.iterdir())] == [step.to_bytes(4) * 4096] * 8
            assert step >= steps
            steps = step
            assert not list(newest.parent.glob("*.partial"))
    forking.communicate()
    assert steps > 0
