"""Commands that write beside a set, on a full disk: one sentence names the file, and the same command can follow."""

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.schemas.errors import XsheetError

pytestmark = pytest.mark.slow

VERBS = {
    "export": ["export", "SET", "--out", "OUT", "--to", "webdataset", "--layer", "gold", "-q"],
    "pack": ["set", "pack", "SET", "--out", "OUT.tar"],
    "subset": ["set", "subset", "SET", "--out", "OUT", "--where", "true"],
    "merge": ["set", "merge", "SET", "SET", "--out", "OUT"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_named_and_the_same_command_works_when_there_is_space(verb, drawn_set, disk):
    command = [one.replace("SET", str(drawn_set)).replace("OUT", str(disk.path / "out")) for one in VERBS[verb]]
    for free_bytes in (0, 8 << 10, 60 << 10):
        disk.fill(but_bytes=free_bytes)
        error = CliRunner().invoke(app, command).exception
        assert isinstance(error, XsheetError | OSError)
        assert "No space left on device" in str(error)
        assert f"{disk.path}/out" in str(error)
        disk.empty()
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.output
    assert not [path for path in disk.path.rglob(".*") if "tmp" in path.name or path.name.startswith(".shard")]
