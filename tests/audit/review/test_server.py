"""The server lets its own page in, and nobody else; what people wrote is data to it."""

import json
import socket
import time

import pytest

from xsheet.audit.review import session
from xsheet.audit.review.server import prepare_server
from xsheet.pages.loopback import MAX_BODY_BYTES
from xsheet.schemas.errors import ConfigError

EVERY_ADDRESS = ("/", "/page/main.js", "/api/about", "/api/queue", "/api/clips/{key}", "/media/{clip}")


@pytest.fixture
def clip(served_still, first_key):
    return served_still.json(f"/api/clips/{first_key}")["clip_id"]


@pytest.mark.parametrize("address", EVERY_ADDRESS)
@pytest.mark.parametrize("token", [None, "", "a-token-of-the-testz", "ä"])
def test_without_the_token_nothing_is_given(served_still, first_key, clip, address, token):
    status, _, body = served_still.ask(
        address.format(key=first_key, clip=clip), token=token and token.encode().decode("latin-1")
    )
    assert (status, len(body) < 200) == (401, True)


@pytest.mark.slow
@pytest.mark.parametrize("address", EVERY_ADDRESS)
def test_with_the_token_everything_is(served_still, first_key, clip, address):
    assert served_still.ask(address.format(key=first_key, clip=clip))[0] == 200


def test_the_token_of_the_address_becomes_a_cookie_that_no_script_reads_and_no_site_sends(served_still):
    status, headers, _ = served_still.ask("/?token=a-token-of-the-tests", token=None)
    assert status == 200
    assert (
        headers["Set-Cookie"] == f"xsheet-{served_still.port}=a-token-of-the-tests; Path=/; HttpOnly; SameSite=Strict"
    )


def test_the_token_in_an_address_opens_the_page_only(served_still):
    assert served_still.ask("/api/queue?token=a-token-of-the-tests", token=None)[0] == 401


def test_a_response_does_not_wait_until_the_browser_acknowledges_its_header(desk_of):
    _, listening, _ = prepare_server(desk_of(), port=0, token="t")
    with listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py", "/page/..%2fserver.py", "/page/%2e%2e/server.py", "/page/%2e%2e%2fserver.py",
        "/page/....//server.py", "/page//etc/passwd", "/page/%2fetc%2fpasswd", "/page/..\\server.py",
        "/../server.py", "//etc/passwd", "/media/../set.json", "/media/..%2fset.json", "/media/%2e%2e%2fset.json",
        "/media/%2Fetc%2Fpasswd", "/media/clips", "/media/media", "/page/server.py", "/page/main.js%00.css",
    ],
)  # fmt: skip
def test_no_path_leads_out(served_still, path):
    status, _, body = served_still.ask(path)
    assert status == 404
    assert b"root:" not in body


def test_a_media_path_that_links_out_of_the_set_is_not_followed(small_set, served, clip, tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    file = next(small_set.glob(f"media/*/{clip}.mp4"))
    file.unlink()
    file.symlink_to(tmp_path / "secret.mp4")
    assert served.ask(f"/media/{clip}")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", ""])
def test_a_foreign_host_is_refused(served_still, host):
    assert served_still.ask("/api/queue", Host=host.format(port=served_still.port))[0] == 403


def test_localhost_is_the_same_machine(served_still):
    assert served_still.ask("/api/queue", Host=f"localhost:{served_still.port}")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"])
def test_a_foreign_origin_is_refused_though_it_has_the_cookie(served_still, first_key, origin):
    path = f"/api/clips/{first_key}/operations"
    asked = {"method": "POST", "body": "{}", "Content_Type": "application/json"}
    assert served_still.ask(path, Origin=origin.format(port=served_still.port), **asked)[0] == 403


def test_a_page_on_another_port_of_this_machine_is_foreign_too(served_still):
    assert served_still.ask("/api/queue", Sec_Fetch_Site="same-site")[0] == 403


def test_the_address_with_its_token_may_be_followed_from_anywhere(served_still):
    address = "/?token=a-token-of-the-tests"
    assert served_still.ask(address, token=None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert served_still.ask(address, token=None, Host="evil.example")[0] == 403


def test_an_oversized_body_is_refused_before_it_is_read(served_still, first_key):
    path, length = f"/api/clips/{first_key}/operations", MAX_BODY_BYTES + 1
    with socket.create_connection(("127.0.0.1", served_still.port), timeout=10) as raw:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served_still.port}\r\nContent-Length: {length}\r\n"
        cookie = f"Cookie: xsheet-{served_still.port}=a-token-of-the-tests\r\nContent-Type: application/json\r\n\r\n"
        raw.sendall((head + cookie).encode())
        assert b" 413 " in raw.recv(200)


def test_an_oversized_body_without_a_length_is_refused_too(served_still, first_key):
    path, body = f"/api/clips/{first_key}/operations", (b" " * 1000 for _ in range(MAX_BODY_BYTES // 1000 + 10))
    asked = {"method": "POST", "Content_Type": "application/json"}
    assert served_still.ask(path, body=body, **asked)[0] == 413


def test_a_form_of_a_foreign_page_is_no_operation(served_still, first_key):
    asked = {"method": "POST", "body": "{}", "Content_Type": "text/plain"}
    assert served_still.ask(f"/api/clips/{first_key}/operations", **asked)[0] == 415


@pytest.mark.parametrize("body", ["", "[]", "{", '{"operation": "drop"}', '{"operation": "accept"}', "\xff"])
def test_what_is_no_operation_is_refused(served_still, first_key, body):
    asked = {"method": "POST", "body": body.encode("latin-1"), "Content_Type": "application/json"}
    assert served_still.ask(f"/api/clips/{first_key}/operations", **asked)[0] == 422


def test_an_operation_on_no_clip_of_the_queue_is_not_found(served_still):
    intent = {"operation": "accept", "before_sha256": "0" * 64}
    assert served_still.operate("ann_nobody", intent)[0] == 404


def test_an_operation_on_another_draft_is_a_conflict_that_tells_the_state(served, first_key):
    before = served.json(f"/api/clips/{first_key}")["draft"]["sha256"]
    assert served.operate(first_key, {"operation": "accept", "before_sha256": before})[0] == 200
    status, draft = served.operate(first_key, {"operation": "reject", "before_sha256": before})
    assert (status, draft["decision"], len(draft["history"])) == (409, "accept", 1)


@pytest.mark.slow
def test_two_servers_of_one_reviewer_see_each_other(desk_of, serving, first_key):
    with serving(desk_of()) as one, serving(desk_of()) as other:
        before = other.json(f"/api/clips/{first_key}")["draft"]["sha256"]
        assert one.operate(first_key, {"operation": "accept", "before_sha256": before})[0] == 200
        assert other.operate(first_key, {"operation": "reject", "before_sha256": before})[0] == 409


def test_the_page_may_load_nothing_from_elsewhere_and_make_no_markup_of_text(served_still):
    _, headers, _ = served_still.ask("/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not [word for word in ("unsafe", "http", "*", "data:") if word in policy]


def test_no_answer_may_be_taken_for_another_type_than_it_names(served_still, first_key):
    """Pages, files, JSON, media and every kind of error."""
    clip_id = served_still.json(f"/api/clips/{first_key}")["clip_id"]
    asked = {
        "/": ({}, 200, "text/html"), "/page/main.js": ({}, 200, "text/javascript"),
        "/api/about": ({}, 200, "application/json"),
        f"/api/clips/{first_key}": ({}, 200, "application/json"), f"/media/{clip_id}": ({}, 200, "video/mp4"),
        f"/media/{clip_id}?": ({"Range": "bytes=0-9"}, 206, "video/mp4"), "/none": ({}, 404, "text/plain"),
        "/api/queue?start=x": ({}, 422, "text/plain"), "/api/queue": ({"token": "none"}, 401, "text/plain"),
        "/api/agreement": ({"Host": "evil.example"}, 403, "text/plain"),
    }  # fmt: skip
    for path, (sent, expected, media_type) in asked.items():
        status, headers, _ = served_still.ask(path, **sent)
        assert status == expected, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Content-Type"].startswith(media_type), path


@pytest.mark.parametrize("length", ["\u00b2", "-1", "1e3", "+5"])
def test_a_length_that_is_no_number_is_no_error_of_the_server(served_still, length):
    status, _, _ = served_still.ask("/api/about", Content_Length=length.encode("latin-1"))
    assert status in (400, 413)


def test_a_history_that_left_the_memory_is_made_again(desk_of, act, keys, monkeypatch):
    monkeypatch.setattr(session, "MAX_OPEN_HISTORIES", 1)
    desk = desk_of()
    accepted = act(desk, keys[0], "accept")
    desk.clip_payload(keys[1])
    again = desk.clip_payload(keys[0])["draft"]
    assert (again["decision"], again["sha256"], again["history"]) == ("accept", accepted["sha256"], accepted["history"])


def test_no_file_of_the_page_makes_markup_of_text_or_names_another_place(root):
    for file in (root / "audit/review/page").iterdir():
        text = file.read_text(encoding="utf-8")
        sinks = (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "srcdoc",
            "https://",
            "//cdn",
        )
        assert not [sink for sink in sinks if sink in text], file.name


def test_video_is_served_by_ranges(served_still, clip):
    whole = served_still.ask(f"/media/{clip}")
    status, headers, part = served_still.ask(f"/media/{clip}", Range="bytes=100-199")
    assert (status, headers["Content-Range"]) == (206, f"bytes 100-199/{len(whole[2])}")
    assert part == whole[2][100:200]
    assert whole[1]["Content-Type"] == "video/mp4"


def test_a_range_beyond_the_file_is_refused(served_still, clip):
    assert served_still.ask(f"/media/{clip}", Range="bytes=99999999-")[0] == 416


def test_a_port_in_use_is_reported(desk_of):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="another port"):
        prepare_server(desk_of(), port=taken.getsockname()[1], token="t")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "x" * 81])
def test_a_reviewer_without_a_usable_name_is_refused(desk_of, name):
    with pytest.raises(ConfigError, match="reviewer"):
        desk_of(name)


@pytest.mark.slow
def test_many_operations_from_two_sides_lose_none(served, first_key):
    from concurrent.futures import ThreadPoolExecutor

    def insist(operation: str) -> int:
        done = 0
        while done < 10:
            before = served.json(f"/api/clips/{first_key}")["draft"]["sha256"]
            done += served.operate(first_key, {"operation": operation, "before_sha256": before})[0] == 200
            time.sleep(0)
        return done

    with ThreadPoolExecutor(2) as pool:
        done = sum(pool.map(insist, ["accept", "reject"]))
    assert len(served.json(f"/api/clips/{first_key}")["draft"]["history"]) == done == 20


def test_the_queue_is_given_in_stretches(served_still):
    assert json.loads(served_still.ask("/api/queue?start=1")[2])["entries"][0]["state"] == "open"
    assert served_still.json("/api/queue?start=9")["entries"] == []
    assert served_still.ask("/api/queue?start=-1")[0] == 422
