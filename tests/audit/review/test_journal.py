"""The journal: what was acknowledged is there after a kill, and nobody writes over anybody."""

import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from xsheet.audit.review.journal import EditJournal, journal_path, read_journals
from xsheet.schemas.annotation import Review
from xsheet.schemas.errors import ContractError
from xsheet.schemas.tables import REVIEWS, read_table


def review(number: int, **other) -> Review:
    facts = {"operation": "accept", "before_sha256": "0" * 64, "reviewer": "anna", "note": "ä <b>\n"} | other
    return Review(
        review_id=f"rev_{number}", annotation_id="ann", clip_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), **facts
    )


def write(journal: EditJournal, *reviews: Review) -> None:
    for one in reviews:
        with journal.lock():
            journal.read_new()
            journal.append(one)


def test_what_was_written_is_read_back(tmp_path):
    path = journal_path(tmp_path, "anna")
    write(EditJournal(path), review(0), review(1))
    assert read_journals(tmp_path) == [review(0), review(1)]


def test_a_torn_line_is_no_operation_and_is_written_over(tmp_path):
    path = journal_path(tmp_path, "anna")
    write(EditJournal(path), review(0))
    with path.open("ab") as file:
        file.write(b'{"review_id": "rev_9", "torn')
    assert read_journals(tmp_path) == [review(0)]
    write(EditJournal(path), review(1))
    assert read_journals(tmp_path) == [review(0), review(1)]


def test_a_damaged_whole_line_is_an_error_and_not_passed_over(tmp_path):
    path = journal_path(tmp_path, "anna")
    write(EditJournal(path), review(0))
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(ContractError, match="one review in each line"):
        read_journals(tmp_path)


def test_two_writers_see_each_other(tmp_path):
    path = journal_path(tmp_path, "anna")
    first, second = EditJournal(path), EditJournal(path)
    write(first, review(0))
    write(second, review(1))
    assert list(first.read_new()) == [review(1)]
    write(first, review(2))
    assert list(second.read_new()) == [review(2)]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "<script>", "Ä" * 80, "."])
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    path = journal_path(tmp_path, name)
    assert path.resolve().parent == (tmp_path / "reviews" / "_journal").resolve()
    write(EditJournal(path), review(0, reviewer=name))
    assert read_journals(tmp_path)[0].reviewer == name


def test_names_that_look_alike_in_a_file_name_have_files_of_their_own(tmp_path):
    assert journal_path(tmp_path, "anna b") != journal_path(tmp_path, "Anna-B")


def test_journals_do_not_disturb_readers_of_the_table(tmp_path):
    import pyarrow.parquet as pq

    from xsheet.schemas.tables import write_table

    write(EditJournal(journal_path(tmp_path, "anna")), review(0))
    write_table(tmp_path, REVIEWS, [review(0)])
    assert pq.read_table(tmp_path / "reviews").num_rows == read_table(tmp_path, REVIEWS).num_rows == 1


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from pydantic import TypeAdapter
from xsheet.audit.review.journal import EditJournal
from xsheet.schemas.annotation import Review
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
one, path = TypeAdapter(Review).validate_json(sys.argv[1]), Path(sys.argv[2])
journal = EditJournal(path)
journal.read_new()
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20,) * 2)
try:
    journal.append(one)
except OSError:
    sys.exit(3)
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_leaves_the_journal_as_it_was(tmp_path):
    from pydantic import TypeAdapter

    path = journal_path(tmp_path, "anna")
    write(EditJournal(path), review(0))
    before = path.read_bytes()
    line = TypeAdapter(Review).dump_json(review(1)).decode()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, line, str(path)], check=False)
    assert done.returncode == 3
    assert path.read_bytes() == before


SERVER = """
import sys
from pathlib import Path
from xsheet.audit.review.session import ReviewSession
from xsheet.audit.review.server import serve
from xsheet.schemas.layers import find_layer
folder = Path(sys.argv[1])
session = ReviewSession(folder, find_layer(folder, "consensus@xsheet.motion"), reviewer="anna", repeat_share=0.0)
serve(session, on_ready=lambda address: print(address, flush=True), token=sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged", [1, 7])
def test_a_kill_loses_nothing_that_was_acknowledged(small_set, first_key, served_at, acknowledged):
    command = [sys.executable, "-c", SERVER, str(small_set), "a-token-of-the-tests"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        server = served_at(child.stdout.readline().strip())
        draft = server.json(f"/api/clips/{first_key}")["draft"]
        for turn in range(acknowledged):
            intent = {"operation": ("accept", "reject")[turn % 2], "before_sha256": draft["sha256"]}
            status, draft = server.operate(first_key, intent)
            assert status == 200
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    expected = [("accept", "reject")[turn % 2] for turn in range(acknowledged)]
    assert [one.operation for one in read_journals(small_set)] == expected
