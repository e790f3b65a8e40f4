"""The log gets into Elasticsearch with its types: its template knows every field, and a real shipper brings the lines.

Elasticsearch and Kibana cannot be had here; what takes their place speaks as much of HTTP as the shippers need.
"""

import base64
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import yaml

from lm_sandbox.telemetry.ecs import line_of
from lm_sandbox.telemetry.happenings import CommandEnded, Origin, RequestEnded
from lm_sandbox.telemetry.places import Place
from tests.telemetry.test_logs import ECS

ELK = Path(__file__).parents[2] / "deploy/elk"
WAIT_S = 60
Asked = tuple[str, str, str, bytes]


def template() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ELK / "template.json").read_text())["template"]
    return found


def mapped(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, told in properties.items():
        if "properties" in told:
            found |= mapped(told["properties"], f"{prefix}{name}.")
        else:
            found[prefix + name] = told["type"]
    return found


def objects() -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in map(json.loads, (ELK / "dashboard.ndjson").read_text().splitlines())}


def test_every_field_of_the_log_has_its_type_in_the_template() -> None:
    types = mapped(template()["mappings"]["properties"])
    for field, python in ECS.items():
        if field.startswith("labels."):
            assert types["labels"] == "object"
        else:
            assert (types[field] == "long") is (python is int), field


def test_the_template_is_under_the_lifecycle_that_is_put_up() -> None:
    name = template()["settings"]["index.lifecycle.name"]
    assert f"_ilm/policy/{name}" in (ELK / "setup.sh").read_text()
    phases = json.loads((ELK / "lifecycle.json").read_text())["policy"]["phases"]
    assert "rollover" in phases["hot"]["actions"]
    assert "delete" in phases["delete"]["actions"]


def test_both_shippers_write_where_the_template_and_the_dashboard_look() -> None:
    config = yaml.safe_load((ELK / "filebeat.yml").read_text())
    index = config["output.elasticsearch"]["index"]
    pattern = json.loads((ELK / "template.json").read_text())["index_patterns"]
    assert pattern == [f"{index}*"]
    assert f'searchIndex="{index}"' in (ELK / "rsyslog.conf").read_text()
    assert objects()["lm-sandbox-logs"]["attributes"]["title"] == f"{index}*"
    [parser] = config["filebeat.inputs"][0]["parsers"]
    assert parser["ndjson"]["target"] == ""


def test_the_dashboard_is_what_its_program_writes_and_shows_fields_that_there_are() -> None:
    spec = importlib.util.spec_from_file_location("generate_elk", ELK / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ELK / "dashboard.ndjson").read_text() == module.objects()
    found = objects()
    for one in found.values():
        assert {reference["id"] for reference in one["references"]} <= found.keys()
        state = json.loads(one["attributes"].get("visState", '{"aggs": []}'))
        for aggregation in state["aggs"]:
            assert aggregation["params"].get("field", "@timestamp") in ECS
        query = json.loads(
            one["attributes"]
            .get("kibanaSavedObjectMeta", {})
            .get("searchSourceJSON", '{"query": {"query": ""}}')
        )
        assert set(re.findall(r"([a-z_.]+):", query["query"]["query"])) <= ECS.keys()
    panels = json.loads(found["lm-sandbox"]["attributes"]["panelsJSON"])
    named = {reference["name"] for reference in found["lm-sandbox"]["references"]}
    assert {panel["panelRefName"] for panel in panels} == named
    assert len(panels) > 5


class _Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        assert isinstance(server, Taker)
        server.asked.put((self.command, self.path, self.headers.get("Authorization", ""), body))
        told = b'{"acknowledged":true}'
        if self.path.endswith("_bulk"):
            items = [{"create": {"status": 201}} for _ in range(body.count(b"\n") // 2)]
            told = json.dumps({"errors": False, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815 - the names are http.server's

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


class Taker(ThreadingHTTPServer):
    """Takes whatever it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.asked: Queue[Asked] = Queue()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def taker() -> Iterator[Taker]:
    with Taker() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_setting_up_sends_lifecycle_template_and_dashboard_and_tells_nobody_the_password(
    taker: Taker,
) -> None:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "ELASTICSEARCH_URL": taker.url, "KIBANA_URL": taker.url}
    done = subprocess.run(
        [ELK / "setup.sh"], env=env | {"ELASTICSEARCH_PASSWORD": "s3cret"}, capture_output=True, text=True,
        check=False, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    asked = [taker.asked.get(timeout=WAIT_S) for _ in range(3)]
    assert [(method, path.split("?")[0]) for method, path, _, _ in asked] == [
        ("PUT", "/_ilm/policy/lm-sandbox"),
        ("PUT", "/_index_template/lm-sandbox"),
        ("POST", "/api/saved_objects/_import"),
    ]
    assert {given for _, _, given, _ in asked} == {"Basic " + base64.b64encode(b"elastic:s3cret").decode()}
    assert json.loads(asked[0][3]) == json.loads((ELK / "lifecycle.json").read_text())
    assert b'"type": "dashboard"' in asked[2][3]


@contextmanager
def rsyslog(folder: Path, config: str) -> Iterator[None]:
    written = folder / "rsyslog.conf"
    written.write_text(f'global(workDirectory="{folder}")\n{config}')
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
    assert program is not None
    checked = subprocess.run(
        [program, "-N1", "-f", written], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(
        [program, "-n", "-f", written, "-i", str(folder / "pid")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(WAIT_S)


@pytest.mark.skipif(
    shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") is None, reason="rsyslog is not installed"
)
def test_a_real_shipper_brings_every_line_as_it_is(taker: Taker, tmp_path: Path) -> None:
    origin = Origin("req_12345678", "192.0.2.1", Place("a" * 32, "b" * 16))
    happened = [
        RequestEnded(
            who="p", name="grüße \" '", origin=origin, method="GET", route="/v1/models", parts={}, status=200,
            duration_ms=1, begun_ms=1,
        ),
        CommandEnded(
            who="p", origin=origin, sandbox="sb", command="cmd", driver="bubblewrap", outcome="ok", duration_ms=2,
            exit_code=0,
        ),
    ]  # fmt: skip
    lines = [line.document() for one in happened if (line := line_of(one)) is not None]
    log = tmp_path / "server.json"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = (ELK / "rsyslog.conf").read_text()
    config = config.replace("http://127.0.0.1:9200", taker.url).replace(
        "/var/log/lm-sandbox/*.json", str(log)
    )
    with rsyslog(tmp_path, config):
        brought: list[dict[str, Any]] = []
        while len(brought) < len(lines):
            _, path, _, body = taker.asked.get(timeout=WAIT_S)
            if path.endswith("_bulk"):
                said = [json.loads(line) for line in body.splitlines()]
                assert {action["create"]["_index"] for action in said[::2]} == {"logs-lm-sandbox"}
                assert len({action["create"]["_id"] for action in said[::2]}) == len(said) // 2
                brought += said[1::2]
    assert brought == lines
