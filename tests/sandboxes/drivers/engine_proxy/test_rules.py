"""What passes is what the driver asks; each attack is one step away from that."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import Forbidden
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Image
from lm_sandbox.sandboxes.drivers.docker.container import container_config, resources
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import OWNER_LABEL, Grant
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.rules import Permitted, Rules, Subject
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice

MOST = Limits()
SPEC = SandboxSpec(Limits(cpus=1.1, memory_bytes=64 * MIB, disk_bytes=16 * MIB, pids=9), {"A": "b=c"})
IMAGE = Image.model_validate({"Id": "sha256:" + "a" * 64, "Config": {"Volumes": {"/data": {}}}})
CONTAINER = "c" * 64
PROGRAM = "e" * 64
EXEC = {
    "User": "1000:1000", "Cmd": ["bash", "-c", "id"], "Env": ["A=b"], "WorkingDir": "/",
    "AttachStdin": False, "AttachStdout": True, "AttachStderr": True,
}  # fmt: skip


def rules(settings: DockerSettings | None = None) -> Rules:
    return Rules(settings or DockerSettings(), Grant(MOST), "here")


def config(settings: DockerSettings | None = None, spec: SandboxSpec = SPEC) -> dict[str, Any]:
    made = container_config(
        SandboxId("sb_1"), spec, settings or DockerSettings(), image=IMAGE, run="0123456789abcdef"
    )
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def permit(method: str, target: str, body: object = None) -> Permitted:
    return rules().permit(method, target, b"" if body is None else json.dumps(body).encode())


def create(body: object) -> Permitted:
    return permit("POST", "/containers/create", body)


def test_a_container_of_the_driver_passes_and_carries_its_owner() -> None:
    passed = create(config())
    assert passed.body == config() | {"Labels": config()["Labels"] | {OWNER_LABEL: "here"}}


def test_what_is_granted_is_the_proxys_to_say() -> None:
    wanted = SandboxSpec(Limits(cpuset="0-3"), gpus=(GpuDevice("GPU-1", 0),))
    granted = DockerSettings(runtime="runsc")
    body = json.dumps(config(granted, wanted)).encode()
    grant = Grant(Limits(cpuset="0-7"), ("GPU-1",))
    passed = Rules(granted, grant, "here").permit("POST", "/containers/create", body).body
    assert isinstance(passed, dict)
    assert [one["DeviceIDs"] for one in passed["HostConfig"]["DeviceRequests"]] == [["GPU-1"]]
    for settings, less in (
        (DockerSettings(), grant),
        (granted, Grant(grant.most, ("GPU-2",))),
        (granted, Grant(Limits(cpuset="0-1"), grant.gpus)),
    ):
        with pytest.raises(Forbidden, match="CpusetCpus|DeviceRequests|Runtime"):
            Rules(settings, less, "here").permit("POST", "/containers/create", body)


def update(**changed: object) -> Permitted:
    body = {**resources(SPEC.limits), **changed}
    return permit("POST", f"/containers/{CONTAINER}/update", body)


def test_limits_are_changed_as_the_driver_does_and_up_to_the_largest() -> None:
    passed = update()
    assert (passed.body, passed.subject, passed.id) == (resources(SPEC.limits), Subject.CONTAINER, CONTAINER)
    assert update(CpusetCpus="0-1").body == {**resources(SPEC.limits), "CpusetCpus": "0-1"}
    most = MOST.memory_bytes + MOST.disk_bytes
    assert update(Memory=most, MemorySwap=most).body
    wrongs: tuple[dict[str, object], ...] = (
        {"Memory": most + 1, "MemorySwap": most + 1},
        {"MemorySwap": -1},
        {"PidsLimit": -1},
        {"PidsLimit": 10**6},
        {"NanoCpus": 0},
        {"NanoCpus": 10**12},
        {"CpusetCpus": "/"},
        {"Devices": []},
        {"RestartPolicy": {"Name": "always"}},
        {"CgroupParent": "/"},
    )
    for wrong in wrongs:
        with pytest.raises(Forbidden):
            update(**wrong)


def put(*place: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for name in place[:-1]:
            body = body[name]
        body[place[-1]] = value

    return change


HOST_ATTACKS: dict[str, object] = {
    "Privileged": True,
    "privileged": True,
    "Binds": ["/:/host"],
    "Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}],
    "VolumesFrom": [CONTAINER],
    "Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}],
    "DeviceCgroupRules": ["a *:* rwm"],
    "DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}],
    "CapAdd": ["SYS_ADMIN"],
    "CapDrop": [],
    "NetworkMode": "host",
    "networkmode": "host",
    "PidMode": "host",
    "IpcMode": "host",
    "UTSMode": "host",
    "UsernsMode": "host",
    "CgroupnsMode": "host",
    "CgroupParent": "/",
    "Cgroup": "container:" + CONTAINER,
    "Links": ["other:other"],
    "PortBindings": {"22/tcp": [{"HostPort": "22"}]},
    "PublishAllPorts": True,
    "SecurityOpt": ["seccomp=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "ReadonlyRootfs": False,
    "Sysctls": {"kernel.core_pattern": "|/x"},
    "OomScoreAdj": -1000,
    "Runtime": "runc-evil",
    "LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://10.0.0.1"}},
    "RestartPolicy": {"Name": "always"},
    "ExtraHosts": ["proxy:10.0.0.1"],
    "Dns": ["10.0.0.1"],
    "GroupAdd": ["0"],
    "Memory": 0,
    "MemorySwap": -1,
    "PidsLimit": -1,
    "NanoCpus": 0,
    "Ulimits": [],
    "Tmpfs": {"/etc": "exec"},
    "StorageOpt": {"size": "1T"},
    "VolumeDriver": "evil",
    "Isolation": "hyperv",
    "ContainerIDFile": "/etc/passwd",
    "AutoRemove": True,
    "Init": True,
    "ShmSize": 1,
}
TOP_ATTACKS: dict[str, object] = {
    "User": "0:0",
    "Entrypoint": ["/bin/sh"],
    "Cmd": ["id"],
    "Healthcheck": {"Test": ["CMD", "id"]},
    "Volumes": {"/x": {}},
    "NetworkingConfig": {"EndpointsConfig": {"lm-sandbox_default": {}}},
    "MacAddress": "02:42:ac:11:00:02",
    "NetworkDisabled": False,
    "OnBuild": ["RUN id"],
    "StopSignal": "SIGTERM",
    "Image": "debian:latest",
    "Env": ["LD_PRELOAD"],
    "Labels": {OWNER_LABEL: "there"},
    "HostConfig": None,
    "hostconfig": {"Privileged": True},
}  # fmt: skip


@pytest.mark.parametrize("name", HOST_ATTACKS)
def test_a_container_that_could_reach_the_host_is_refused(name: str) -> None:
    body = config()
    put("HostConfig", name, value=HOST_ATTACKS[name])(body)
    with pytest.raises(Forbidden):
        create(body)


@pytest.mark.parametrize("name", TOP_ATTACKS)
def test_a_container_that_is_no_sandbox_is_refused(name: str) -> None:
    body = config()
    put(name, value=TOP_ATTACKS[name])(body)
    with pytest.raises(Forbidden):
        create(body)


@pytest.mark.parametrize("name", [*config()["HostConfig"]])
def test_nothing_may_be_left_out(name: str) -> None:
    body = config()
    del body["HostConfig"][name]
    with pytest.raises(Forbidden):
        create(body)


@pytest.mark.parametrize(
    "place", ["/proc", "/proc/sys", "/sys/fs", "/dev", "/", "relative", "/a/../proc", "/x/"]
)
def test_a_writable_place_is_never_the_kernels(place: str) -> None:
    body = config()
    body["HostConfig"]["Tmpfs"][place] = body["HostConfig"]["Tmpfs"]["/data"]
    with pytest.raises(Forbidden):
        create(body)


@pytest.mark.parametrize(
    "limits",
    [Limits(cpus=3), Limits(memory_bytes=2048 * MIB), Limits(pids=257), Limits(disk_bytes=513 * MIB),
     Limits(open_files=4097)],
)  # fmt: skip
def test_a_container_over_the_limits_is_refused(limits: Limits) -> None:
    with pytest.raises(Forbidden, match="at most"):
        create(config(spec=SandboxSpec(limits)))


def test_what_stands_twice_passes_only_in_the_form_that_was_judged() -> None:
    text = json.dumps(config())
    doubled = text[:-1] + ', "HostConfig": {"Privileged": true}}'
    with pytest.raises(Forbidden):
        rules().permit("POST", "/containers/create", doubled.encode())
    first = '{"HostConfig": {"Privileged": true}, ' + text[1:]
    passed = rules().permit("POST", "/containers/create", first.encode())
    assert "Privileged" not in json.dumps(passed.body)


@pytest.mark.parametrize(
    ("name", "value"),
    [("User", "0:0"), ("Privileged", True), ("Tty", True), ("WorkingDir", "/proc/1/root"), ("Cmd", []),
     ("Cmd", "id"), ("Env", ["X"]), ("AttachStdout", False), ("DetachKeys", "a"), ("privileged", True),
     ("AttachStdin", 1)],
)  # fmt: skip
def test_a_program_with_rights_is_refused(name: str, value: object) -> None:
    passed = permit("POST", f"/containers/{CONTAINER}/exec", EXEC)
    assert (passed.body, passed.subject, passed.id) == (EXEC, Subject.CONTAINER, CONTAINER)
    with pytest.raises(Forbidden):
        permit("POST", f"/containers/{CONTAINER}/exec", EXEC | {name: value})


@pytest.mark.parametrize("body", [None, {}, {"Detach": True, "Tty": False}, {"Detach": False}, []])
def test_a_program_is_started_in_one_way(body: object) -> None:
    assert permit("POST", f"/exec/{PROGRAM}/start", {"Detach": False, "Tty": False}).attaches
    with pytest.raises(Forbidden):
        permit("POST", f"/exec/{PROGRAM}/start", body)


ASKED = [
    ("GET", "/_ping"), ("GET", "/info"), ("GET", "/images/debian:bookworm-slim/json"),
    ("GET", "/images/registry.example:5000/a/b@sha256:ab/json"), ("GET", f"/containers/{CONTAINER}/json"),
    ("GET", f"/containers/{CONTAINER}/stats?stream=false&one-shot=true"),
    ("POST", f"/containers/{CONTAINER}/start"), ("POST", f"/containers/{CONTAINER}/pause"),
    ("POST", f"/containers/{CONTAINER}/unpause"), ("DELETE", f"/containers/{CONTAINER}?force=true&v=true"),
    ("GET", f"/exec/{PROGRAM}/json"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target"), ASKED)
def test_what_the_driver_asks_passes_as_it_is(method: str, target: str) -> None:
    passed = permit(method, target)
    query = "&".join(f"{name}={value}" for name, value in passed.query.items())
    assert passed.method == method
    assert passed.path + (f"?{query}" if query else "") == target
    with pytest.raises(Forbidden):
        permit(method, target, {"a": "body"})


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/version"), ("GET", "/v1.41/info"), ("GET", "//info"), ("GET", "/info/"), ("POST", "/info"),
        ("GET", "/info?a=b"), ("GET", "/%69nfo"), ("GET", "http://docker/info"), ("GET", "*"), ("GET", ""),
        ("POST", "/images/create?fromImage=x"), ("DELETE", "/images/debian"), ("POST", "/build"),
        ("GET", "/images/../containers/json"), ("GET", "/images/a/../../info/json"), ("GET", "/images//json"),
        ("GET", "/images/%2e%2e/json"), ("GET", "/images/json"), ("GET", "/images/a/get"),
        ("POST", "/containers/create?name=x"), ("POST", "/containers/create?platform=x"),
        ("GET", "/containers/json"), ("GET", "/containers/json?all=true"), ("POST", "/containers/prune"),
        ("GET", "/containers/web/json"), ("GET", f"/containers/{'c' * 63}/json"), ("GET", "/containers/C/json"),
        ("GET", f"/containers/{CONTAINER}/logs"), ("GET", f"/containers/{CONTAINER}/archive?path=/"),
        ("PUT", f"/containers/{CONTAINER}/archive?path=/"), ("GET", f"/containers/{CONTAINER}/export"),
        ("POST", f"/containers/{CONTAINER}/update"), ("POST", f"/containers/{CONTAINER}/attach"),
        ("POST", f"/containers/{CONTAINER}/kill"), ("POST", f"/containers/{CONTAINER}/rename?name=x"),
        ("DELETE", f"/containers/{CONTAINER}"), ("DELETE", f"/containers/{CONTAINER}?force=true&v=true&link=1"),
        ("GET", f"/containers/{CONTAINER}/stats"), ("GET", f"/containers/{CONTAINER}/top"),
        ("DELETE", f"/containers/{CONTAINER}?force=true&v=true&v=false"), ("POST", f"/exec/{PROGRAM}/resize"),
        ("GET", f"/exec/{PROGRAM}/json?a=b"), ("GET", "/exec/web/json"), ("GET", "/events"),
        ("GET", "/events?since=1&until=2"), ("GET", "/networks"), ("POST", "/networks/create"),
        ("GET", "/volumes"), ("POST", "/volumes/create"), ("GET", "/plugins"), ("GET", "/secrets"),
        ("POST", "/swarm/init"), ("POST", "/session"), ("POST", "/grpc"), ("GET", "/system/df"),
        ("POST", "/commit?container=x"), ("POST", "/auth"), ("GET", "/distribution/debian/json"),
        ("CONNECT", "/info"), ("get", "/info"),
    ],
)  # fmt: skip
def test_what_it_does_not_ask_is_refused(method: str, target: str) -> None:
    with pytest.raises(Forbidden):
        permit(method, target)


def test_a_list_has_the_servers_own_containers_only() -> None:
    passed = permit("GET", '/containers/json?all=true&filters={"label":["lm-sandbox.run=ab"]}')
    assert json.loads(passed.query["filters"]) == {"label": ["lm-sandbox.run=ab", f"{OWNER_LABEL}=here"]}
    others: tuple[object, ...] = (
        {},
        {"label": []},
        {"label": ["a=b", "c=d"]},
        {"label": ["a=b"], "name": ["x"]},
        [],
        None,
    )
    for filters in others:
        with pytest.raises(Forbidden):
            permit("GET", f"/containers/json?all=true&filters={json.dumps(filters)}")


def test_events_are_those_of_one_container() -> None:
    filters = json.dumps({"container": [CONTAINER], "event": ["oom"]})
    passed = permit("GET", f"/events?since=1.5&until=2&filters={filters}")
    assert (passed.subject, passed.id) == (Subject.CONTAINER, CONTAINER)
    for other in (
        {"container": ["web"], "event": ["oom"]},
        {"event": ["oom"]},
        {"container": [CONTAINER], "event": ["die"]},
    ):
        with pytest.raises(Forbidden):
            permit("GET", f"/events?since=1&until=2&filters={json.dumps(other)}")
    for times in ("", "since=1", "since=1&until=forever", "since=0&until=2&x=y"):
        with pytest.raises(Forbidden):
            permit("GET", f"/events?{times}&filters={filters}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(where=st.integers(0, 10_000), value=VALUES)
def test_a_changed_container_is_refused_or_is_still_a_sandbox(where: int, value: object) -> None:
    body = copy.deepcopy(config())
    places = [(key,) for key in body] + [("HostConfig", key) for key in body["HostConfig"]]
    put(*places[where % len(places)], value=value)(body)
    try:
        passed = create(body).body
    except Forbidden:
        return
    assert isinstance(passed, dict)
    for name in ("Privileged", "Binds", "Mounts", "CapAdd", "Devices", "PidMode"):
        assert name not in passed["HostConfig"]
    for fixed in ("NetworkMode", "CapDrop", "SecurityOpt", "MaskedPaths", "ReadonlyRootfs", "IpcMode"):
        assert passed["HostConfig"][fixed] == config()["HostConfig"][fixed]


@given(method=st.text(max_size=8), target=st.text(max_size=40), body=st.binary(max_size=40))
def test_whatever_is_asked_is_judged(method: str, target: str, body: bytes) -> None:
    try:
        passed = rules().permit(method, target, body)
    except Forbidden:
        return
    assert passed.method in {"GET", "POST", "DELETE"}
