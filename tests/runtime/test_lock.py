"""One writer per folder."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xsheet.runtime.lock import check_new_folder, has_local_locks_only, new_folder_lock, write_lock
from xsheet.schemas.errors import ConfigError, RunError


@pytest.mark.slow
def test_a_second_writer_learns_who_holds_the_lock_and_since_when(lock_elsewhere, tmp_path):
    pid = lock_elsewhere(tmp_path)
    with pytest.raises(RunError) as error, write_lock(tmp_path):
        pass
    found = re.search(r"got process (\d+) on (\S+), writing since (\S+ \S+) UTC; wait", str(error.value))
    assert found and found[1] == str(pid) and found[2] == os.uname().nodename
    assert abs(time.time() - time.mktime(time.strptime(found[3], "%Y-%m-%d %H:%M:%S")) + time.timezone) < 600


@pytest.mark.slow
def test_the_lock_of_a_killed_writer_is_free(lock_elsewhere, tmp_path):
    pid = lock_elsewhere(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with write_lock(tmp_path):
        assert json.loads((tmp_path / ".commits/lock").read_text())["pid"] == os.getpid()


@pytest.mark.slow
def test_a_writer_may_call_what_asks_for_the_same_lock(lock_elsewhere, tmp_path):
    with write_lock(tmp_path):
        with write_lock(tmp_path / "../" / tmp_path.name):
            pass
        with pytest.raises(AssertionError):
            lock_elsewhere(tmp_path)


def test_a_writer_removes_what_killed_writers_left_and_nothing_else(tmp_path):
    left = [
        tmp_path / name for name in ("media/ab/.clip_1.mp4.x.tmp.mp4", "clips/.part.y.tmp.parquet", "cache/a/b/.z.tmp")
    ]
    kept = [tmp_path / name for name in ("media/ab/clip_1.mp4", "films/.mine.tmp", ".report.html.q.tmp.html")]
    for file in (*left, *kept):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with write_lock(tmp_path):
        assert not any(file.exists() for file in left)
    assert all(file.exists() for file in kept)


def test_a_command_that_fails_removes_what_its_own_workers_left(tmp_path):
    left = tmp_path / "media/ab/.clip_1.mp4.x.tmp.mp4"
    left.parent.mkdir(parents=True)
    with pytest.raises(RuntimeError, match="the disk is full"), write_lock(tmp_path):
        left.touch()
        raise RuntimeError("the disk is full")
    assert not left.exists()


@pytest.mark.slow
def test_a_lock_file_of_other_content_still_names_a_writer(lock_elsewhere, tmp_path):
    lock_elsewhere(tmp_path)
    (tmp_path / ".commits/lock").write_bytes(b"\xff{\x1b[31m")
    with pytest.raises(RunError, match="another process that has just begun"), write_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("options", "local"), [("rw,vers=4.2,local_lock=none", False), ("rw,nolock", True), ("rw,local_lock=all", True)]
)
def test_nfs_without_locks_on_the_server_is_recognised(options, local):
    mounts = f"overlay / overlay rw 0 0\nserver:/x /data\\040sets nfs4 {options} 0 0\n"
    assert has_local_locks_only(Path("/data sets/a"), mounts=mounts) == local
    assert not has_local_locks_only(Path("/data"), mounts=mounts)


KILLED = """
import os, signal, sys
from pathlib import Path
from xsheet.runtime.lock import new_folder_lock
out = Path(sys.argv[1])
with new_folder_lock(out, content=("media",)):
    (out / "media").mkdir()
    (out / "media/half.mp4").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_new_folder_that_a_killed_command_half_filled_is_filled_again_but_not_if_others_put_something_there(tmp_path):
    out = tmp_path / "new"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, out], check=False)
    assert (out / "media/half.mp4").exists()
    (out / "mine.txt").touch()
    with pytest.raises(ConfigError, match="a folder with other content"), new_folder_lock(out, content=("media",)):
        pass
    assert (out / "media/half.mp4").exists()
    (out / "mine.txt").unlink()
    with new_folder_lock(out, content=("media",)):
        assert not (out / "media").exists()
    (out / "media").mkdir()  # of a command that ended
    with pytest.raises(ConfigError, match="a folder with other content"), new_folder_lock(out, content=("media",)):
        pass


def test_an_error_leaves_a_new_folder_empty(tmp_path):
    out = tmp_path / "new"
    with pytest.raises(RuntimeError), new_folder_lock(out, content=("media", "*.json")):
        (out / "media").mkdir()
        (out / "a.json").touch()
        raise RuntimeError("the disk is full")
    check_new_folder(out)
