"""Several processes over one database answer as one server does, whichever of them is asked."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from tests.several.processes import KEY, Cluster, told


def test_what_one_process_holds_is_used_by_another_as_if_it_were_its_own(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    box = first.make(name="mine", metadata={"a": "b"})
    assert told(second.http.get(box))["name"] == "mine"
    assert [one["name"] for one in told(second.http.get("/v1/sandboxes"))["data"]] == ["mine"]
    assert second.run(box, "echo hi; echo err >&2; exit 3")["exit_code"] == 3
    # Files, with a body that is streamed and no length told.
    pieces = (b"x" * 65536 for _ in range(64))
    told(second.http.put(f"{box}/files/workspace/big", content=pieces))
    assert first.run(box, "wc -c < big")["stdout"] == f"{64 * 65536}\n"
    ranged = second.http.get(f"{box}/files/workspace/big", headers={"Range": "bytes=1-3"})
    assert (ranged.status_code, ranged.content) == (206, b"xxx")
    # Shells, and the same name twice.
    shell = told(second.http.post(f"{box}/shells", json={}))["id"]
    told(first.http.post(f"{box}/shells/{shell}/run", json={"command": "A=1"}))
    again = told(second.http.post(f"{box}/shells/{shell}/run", json={"command": "echo $A"}))
    assert again["stdout"] == "1\n"
    assert second.http.post("/v1/sandboxes", json={"name": "mine"}).status_code == 409
    # Errors are those of the one that has it, and callers are looked at there.
    wrong = httpx.get(f"{second.server.url}{box}", headers={"Authorization": "Bearer nobody-has-this-key"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
    assert second.http.get(f"{box}/commands/cmd_none").status_code == 404
    assert second.http.get("/v1/sandboxes/sb_0123456789abcdef").status_code == 404
    forged = {"x-lm-sandbox-hop": '{"client": ["1.2.3.4", 1], "server": null, "scheme": "https"}'}
    assert second.http.get(box, headers=forged).status_code == 200
    # A link that one has made leads there from the other.
    second.run(box, "(python3 -m http.server 9000 > /dev/null 2>&1 &)")
    link = told(first.http.post(f"{box}/port-links", json={"port": 9000}))["url"]
    path = httpx.URL(link).raw_path.decode()
    first.run(box, "until bash -c '< /dev/tcp/127.0.0.1/9000' 2> /dev/null; do sleep 0.05; done")
    assert httpx.get(f"{second.server.url}{path}big").status_code == 200
    assert second.http.delete(box).status_code == 204
    assert first.http.get(box).status_code == 410
    assert second.http.get(box).status_code == 410


def test_a_stream_comes_through_another_process_as_it_is_made(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    box = first.make()
    script = "echo first; until [ -e go ]; do sleep 0.02; done; echo last"
    with second.http.stream("POST", f"{box}/commands", json={"command": script, "stream": True}) as answer:
        lines = answer.iter_lines()
        while "first" not in (line := next(lines)):
            pass
        # Only now may it end: what was made is here before what was not.
        first.run(box, "touch go")
        assert any("last" in line for line in lines), line


def test_a_terminal_opened_at_one_is_used_at_another(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    box = first.make()
    terminal = told(first.http.post(f"{box}/terminals", json={"command": ["cat"]}))["id"]
    url = f"{second.server.url.replace('http', 'ws', 1)}{box}/terminals/{terminal}/ws"
    with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        assert json.loads(socket.recv())["type"] == "attached"
        socket.send(b"hello\n")
        seen = b""
        while seen.count(b"hello") < 2:
            message = socket.recv(timeout=30)
            seen += message if isinstance(message, bytes) else b""
    offered = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
    protocols = [f"bearer.{offered}", "lm-sandbox.terminal"]
    with connect(url, subprotocols=protocols) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "lm-sandbox.terminal"
    with pytest.raises(Exception, match="401"), connect(url):
        pass


def test_a_killed_process_loses_no_command_that_was_acknowledged(cluster: Cluster) -> None:
    nodes = [cluster.start() for _ in range(3)]
    first, second, third = nodes
    boxes = [first.make() for _ in range(2)]
    script = (
        "for i in $(seq 1 100); do echo $i; sleep 0.01; done; until [ -e go ]; do sleep 0.02; done; exit 5"
    )
    commands = [f"{box}/commands/{second.run(box, script, background=True)['id']}" for box in boxes]
    first.kill()
    # Asked of two at once, and one of them has it then.
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(node.http.get, box) for node in (second, third) for box in boxes]
        assert {told(one.result())["state"] for one in asked} == {"running"}
    for box, command in zip(boxes, commands, strict=True):
        third.run(box, "touch go")
        found = told(second.http.get(command, params={"wait_s": 40}))
        assert (found["status"], found["exit_code"]) == ("ended", 5)
        assert found["stdout"].split() == [str(number) for number in range(1, 101)]
    assert len(told(second.http.get("/v1/sandboxes"))["data"]) == 2
    assert second.http.delete(boxes[0]).status_code == 204
    # And one more death.
    holder = next(node for node in (second, third) if node.http.get(boxes[1]).is_success)
    holder.kill()
    other = third if holder is second else second
    assert other.run(boxes[1], "cat go; echo on")["stdout"] == "on\n"


def test_keys_and_links_revoked_at_one_are_worthless_at_the_others_within_a_second(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    issued = told(first.http.post("/v1/keys", json={"name": "k", "scopes": ["sandboxes"]}))
    headers = {"Authorization": f"Bearer {issued['token']}"}
    assert httpx.get(f"{second.server.url}/v1/sandboxes", headers=headers).status_code == 200
    told(first.http.delete(f"/v1/keys/{issued['id']}"))
    answers = []
    while (answer := httpx.get(f"{second.server.url}/v1/sandboxes", headers=headers)).is_success:
        answers.append(answer.elapsed)
    assert answer.status_code == 401


def test_a_conversation_and_a_response_go_on_at_whichever_process_is_asked(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    told(first.http.post("/run-bash/", json={"cmd": "echo kept > here"}))
    assert told(second.http.post("/run-bash/", json={"cmd": "cat here"}))["output"] == "kept\n"
    body = {"model": "nano", "input": "Which Linux is this?", "tools": [{"type": "shell"}]}
    made = told(first.http.post("/v1/responses", json={**body, "background": True}))
    while (found := told(second.http.get(f"/v1/responses/{made['id']}")))["status"] in {
        "queued",
        "in_progress",
    }:
        pass
    assert found["status"] == "completed"
    follow = {**body, "input": "what is 437 * 91?", "previous_response_id": made["id"]}
    assert told(second.http.post("/v1/responses", json=follow))["status"] == "completed"
    assert len(told(second.http.get("/v1/containers"))["data"]) == 2


def test_a_response_in_the_background_is_followed_and_cancelled_at_another_process(cluster: Cluster) -> None:
    first, second = cluster.start(), cluster.start()
    body = {"model": "nano", "input": "sleep for 1000 seconds", "tools": [{"type": "shell"}]}
    made = told(first.http.post("/v1/responses", json={**body, "background": True}))
    with second.http.stream("GET", f"/v1/responses/{made['id']}", params={"stream": True}) as answer:
        assert "response.created" in next(answer.iter_lines())
    cancelled = told(second.http.post(f"/v1/responses/{made['id']}/cancel"))
    assert cancelled["status"] in {"cancelled", "completed"}
