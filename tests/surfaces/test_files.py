"""The file routes, through the app in process."""

import io
import json
import tarfile
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.native.ranges import parse_range

pytestmark = pytest.mark.anyio


@pytest.fixture
async def box(client: httpx.AsyncClient) -> str:
    made = (await client.post("/v1/sandboxes", json={"limits": {"disk_mib": 32}})).json()
    return f"/v1/sandboxes/{made['id']}"


async def test_a_file_is_written_described_read_and_deleted(client: httpx.AsyncClient, box: str) -> None:
    made = await client.put(f"{box}/files/workspace/a/b.txt?mode=0755", content=b"hello")
    assert made.status_code == 201
    assert made.json() | {"modified_at": ""} == {
        "path": "/workspace/a/b.txt", "url_path": "/workspace/a/b.txt", "kind": "file", "size": 5, "mode": "0755",
        "modified_at": "", "target": None,
    }  # fmt: skip
    assert (await client.put(f"{box}/files/workspace/a/b.txt", content=b"hello!")).status_code == 200
    read = await client.get(f"{box}/files/workspace/a/b.txt")
    assert read.content == b"hello!"
    assert read.headers["content-type"] == "application/octet-stream"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["content-disposition"] == "attachment"
    head = await client.head(f"{box}/files/workspace/a/b.txt")
    assert (head.headers["content-length"], head.headers["etag"]) == ("6", read.headers["etag"])
    described = (await client.get(f"{box}/files/workspace/a/b.txt?stat")).json()
    assert (described["size"], described["mode"]) == (6, "0755")
    ran = await client.post(f"{box}/commands", json={"command": "cat a/b.txt"})
    assert ran.json()["stdout"] == "hello!"
    assert (await client.delete(f"{box}/files/workspace/a/b.txt")).status_code == 204
    assert (await client.get(f"{box}/files/workspace/a/b.txt")).status_code == 404
    assert (await client.delete(f"{box}/files/workspace/a")).status_code == 204


async def test_append_adds_to_what_is_there(client: httpx.AsyncClient, box: str) -> None:
    assert (await client.put(f"{box}/files/tmp/log?append=true", content=b"a")).status_code == 201
    assert (await client.put(f"{box}/files/tmp/log?append", content=b"b")).json()["size"] == 2


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
    ],
)
async def test_ranges(  # noqa: PLR0913 - what is asked, and what is told
    client: httpx.AsyncClient, box: str, asked: str, status: int, body: bytes | None, told: str | None
) -> None:
    await client.put(f"{box}/files/workspace/a", content=b"0123456789")
    answer = await client.get(f"{box}/files/workspace/a", headers={"Range": asked})
    assert answer.status_code == status
    assert answer.headers.get("content-range") == told
    assert body is None or (answer.content, answer.headers["content-length"]) == (body, str(len(body)))
    changed = await client.get(f"{box}/files/workspace/a", headers={"Range": asked, "If-Range": '"old"'})
    assert (changed.status_code, changed.content) == (200, b"0123456789")


@given(st.text(alphabet="bytes=-0123456789, ", max_size=24), st.integers(0, 50))
def test_any_range_header_is_taken_ignored_or_refused(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except HTTPException as refused:
        span = None
        assert refused.status_code == 416  # noqa: PT017 - hypothesis tries both ways
    assert span is None or 0 <= span.start < span.start + span.length <= size


async def test_folders_are_made_listed_in_pages_and_moved(client: httpx.AsyncClient, box: str) -> None:
    for path in ("a/1", "a/2", "a/b/3"):
        await client.put(f"{box}/files/workspace/{path}", content=b"x")
    made = await client.patch(f"{box}/files/workspace/new/folder", json={"action": "mkdir", "mode": "0700"})
    assert (made.json()["kind"], made.json()["mode"]) == ("directory", "0700")
    found, after = [], ""
    while True:
        page = (await client.get(f"{box}/files/workspace?list&recursive&limit=2&after={quote(after)}")).json()
        found += [row["path"].removeprefix("/workspace/") for row in page["data"]]
        if not (after := page["next_after"]):
            break
    assert found == ["a", "a/1", "a/2", "a/b", "a/b/3", "new", "new/folder"]
    assert len((await client.get(f"{box}/files/workspace?list")).json()["data"]) == 2
    for action in ("copy", "move"):
        body = {"action": action, "to": f"/workspace/{action}"}
        assert (await client.patch(f"{box}/files/workspace/a", json=body)).json()[
            "path"
        ] == f"/workspace/{action}"
    again = await client.patch(
        f"{box}/files/workspace/copy/1", json={"action": "copy", "to": "/workspace/move/2"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "file_conflict")
    mode = await client.patch(f"{box}/files/workspace/copy/1", json={"action": "chmod", "mode": "600"})
    assert mode.json()["mode"] == "0600"
    assert (await client.delete(f"{box}/files/workspace/copy")).status_code == 409
    assert (await client.delete(f"{box}/files/workspace/copy?recursive=true")).status_code == 204
    top = (await client.get(f"{box}/files/?list")).json()["data"]
    assert "/workspace" in [row["path"] for row in top]


async def test_any_bytes_make_a_name(client: httpx.AsyncClient, box: str) -> None:
    for raw in (b"\xff\xfe", b"a\nb", b"100%", b"a?b#c", "hé".encode(), b"a;b", b" "):
        path = f"{box}/files/workspace/{quote(raw)}"
        made = (await client.put(path, content=raw)).json()
        assert made["url_path"] == f"/workspace/{quote(raw)}"
        assert made["path"] == f"/workspace/{raw.decode(errors='replace')}"
        assert (await client.get(f"{box}/files{made['url_path']}")).content == raw
    page = (await client.get(f"{box}/files/workspace?list&limit=3")).json()
    rest = (await client.get(f"{box}/files/workspace?list&after={quote(page['next_after'])}")).json()
    assert len(page["data"]) + len(rest["data"]) == 7


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "a%00b", None, 422, "path"),
        ("PUT", "x" * 256, None, 422, "path"),
        ("PUT", "x/" * 2100, None, 422, "path"),
        ("GET", "workspace/none", None, 404, None),
        ("GET", "workspace", None, 409, None),
        ("PUT", "workspace", None, 409, None),
        ("GET", "dev/null", None, 409, None),
        ("GET", "proc/cpuinfo", None, 409, None),
        ("GET", "etc/shadow", None, 404, None),
        ("PUT", "usr/bin/evil", None, 403, None),
        ("GET", "workspace?list&limit=0", None, 422, "limit"),
        ("GET", "workspace?list&limit=1001", None, 422, "limit"),
        ("GET", "workspace?list=maybe", None, 422, "list"),
        ("PUT", "workspace/a?mode=999", None, 422, "mode"),
        ("PUT", "workspace/a?mode=4755", None, 422, "mode"),
        ("PATCH", "workspace/a", {"action": "burn"}, 422, ""),
        ("PATCH", "workspace/a", {"action": "move", "to": "relative"}, 422, "to"),
        ("PATCH", "workspace/a", {"action": "copy", "to": "/a\0b"}, 422, "to"),
        ("PATCH", "workspace/a", {"action": "chmod", "mode": "rwx"}, 422, ""),
        ("POST", "edit", {"path": "relative", "old": "a", "new": "b"}, 422, "path"),
        ("POST", "edit", {"path": "/tmp/a", "old": "", "new": "b"}, 422, "old"),
        ("POST", "edit", {"path": "/tmp/a", "old": "a", "new": "b", "expected": 0}, 422, "expected"),
        ("POST", "search", {"path": "../a"}, 422, "path"),
        ("POST", "search", {"pattern": "("}, 422, "pattern"),
        ("POST", "search", {"glob": "[z-a]"}, 422, "glob"),
        ("POST", "search", {"path": "/none"}, 404, None),
    ],
)
async def test_bad_input_is_refused_by_kind_and_field(  # noqa: PLR0913 - what is asked, and what is told
    client: httpx.AsyncClient, box: str, method: str, path: str, body: object, status: int, field: str | None
) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    answer = await client.request(method, f"{box}/files/{path}", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "field" not in answer.json() if field is None else answer.json()["field"].startswith(field)


async def test_an_edit_says_why_nothing_was_changed(client: httpx.AsyncClient, box: str) -> None:
    await client.put(f"{box}/files/workspace/a.py", content=b"x = 1\ny = 1\n")
    edit = {"path": "/workspace/a.py", "old": " = 1", "new": " = 2"}
    answer = await client.post(f"{box}/files/edit", json=edit)
    assert (answer.status_code, answer.json()["code"]) == (409, "edit_mismatch")
    assert "2 times (lines 1, 2)" in answer.json()["detail"]
    assert (await client.post(f"{box}/files/edit", json=edit | {"expected": 2})).json()["size"] == 12
    assert (await client.get(f"{box}/files/workspace/a.py")).text == "x = 2\ny = 2\n"


async def test_a_search_finds_files_and_lines(client: httpx.AsyncClient, box: str) -> None:
    await client.put(f"{box}/files/workspace/src/a.py", content=b"import os\n# caf\xe9 import\n")
    await client.put(f"{box}/files/workspace/b.txt", content=b"import me\n")
    files = (await client.post(f"{box}/files/search", json={"glob": "**/*.py"})).json()
    assert [row["path"] for row in files["files"]] == ["/workspace/src/a.py"]
    lines = (await client.post(f"{box}/files/search", json={"pattern": r"import\b", "glob": "*.py"})).json()
    assert [(row["line"], row["column"], row["text"]) for row in lines["matches"]] == [
        (1, 1, "import os"), (2, 8, "# caf\N{REPLACEMENT CHARACTER} import"),
    ]  # fmt: skip
    first = (await client.post(f"{box}/files/search", json={"limit": 1})).json()
    assert (len(first["files"]), first["truncated"]) == (1, True)
    rest = (await client.post(f"{box}/files/search", json={"after": first["next_after"]})).json()
    assert (len(rest["files"]), rest["truncated"]) == (2, False)


async def test_a_folder_is_sent_and_extracted_as_an_archive(client: httpx.AsyncClient, box: str) -> None:
    await client.put(f"{box}/files/workspace/src/a", content=b"content")
    sent = await client.get(f"{box}/archive?path=/workspace/src")
    assert sent.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(sent.content)) as tar:
        assert tar.getnames() == ["a"]
    assert (await client.put(f"{box}/archive?path=/tmp/copy", content=sent.content)).json() == {"entries": 1}
    assert (await client.get(f"{box}/files/tmp/copy/a")).content == b"content"
    assert (await client.put(f"{box}/archive", content=b"no archive")).status_code == 422
    assert (await client.get(f"{box}/archive?path=/none")).status_code == 404
    assert (await client.get(f"{box}/archive?path=relative")).json()["field"] == "path"


async def test_what_does_not_fit_is_refused_by_the_limits_name(client: httpx.AsyncClient, box: str) -> None:
    answer = await client.put(f"{box}/files/workspace/big", content=bytes(33 << 20))
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (
        507,
        "limit_reached",
        "disk",
    )
    await client.put(f"{box}/files/workspace/most", content=bytes(30 << 20))
    copied = await client.patch(f"{box}/files/workspace/most", json={"action": "copy", "to": "/tmp/most"})
    assert (copied.status_code, copied.json()["limit"]) == (507, "disk")
    assert len((await client.get(f"{box}/files/?list&recursive=false")).json()["data"]) > 3


async def test_another_keys_files_do_not_exist(
    client: httpx.AsyncClient, services: Services, box: str
) -> None:
    issued = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    headers = {"Authorization": f"Bearer {issued.token}"}
    for method, path in (
        ("GET", "files/workspace?list"),
        ("PUT", "files/workspace/a"),
        ("GET", "archive"),
        ("PUT", "archive"),
    ):
        assert (await client.request(method, f"{box}/{path}", headers=headers)).status_code == 404
    await client.delete(box)
    assert (await client.get(f"{box}/files/workspace?list")).status_code == 410


async def test_a_stopped_sandbox_has_files_and_a_paused_one_says_so(
    client: httpx.AsyncClient, box: str
) -> None:
    await client.put(f"{box}/files/workspace/a", content=b"kept")
    await client.post(f"{box}/pause")
    paused = await client.get(f"{box}/files/workspace/a")
    assert (paused.status_code, paused.json()["code"]) == (409, "conflict")
    assert "paused" in paused.json()["detail"]
    await client.post(f"{box}/resume")
    await client.post(f"{box}/stop")
    assert (await client.get(f"{box}/files/workspace/a")).content == b"kept"


async def test_changes_come_as_events(client: httpx.AsyncClient, box: str) -> None:
    events: list[tuple[str, dict[str, str]]] = []
    with anyio.fail_after(30):
        async with client.stream("GET", f"{box}/files/workspace?watch&recursive") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            async for line in lines:
                if line.startswith("event: "):
                    data = json.loads((await anext(lines)).removeprefix("data: "))
                    events.append((line.removeprefix("event: "), data))
                    if events[-1][0] == "ready":
                        await client.put(f"{box}/files/workspace/a", content=b"x")
                        await client.delete(f"{box}/files/workspace/a")
                    if events[-1] == ("delete", {"path": "/workspace/a"}):
                        break
    assert any(name == "move" and data["to"] == "/workspace/a" for name, data in events)


async def test_a_broken_watch_says_why(client: httpx.AsyncClient, box: str) -> None:
    assert (await client.get(f"{box}/files/workspace/none?watch")).status_code == 404
    with anyio.fail_after(30):
        async with client.stream("GET", f"{box}/files/workspace?watch") as answer:
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if piece.startswith("event: ready"):
                    await client.delete(box)
    assert '"code": "sandbox_failed"' in text
