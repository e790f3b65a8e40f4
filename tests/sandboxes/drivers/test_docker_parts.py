import asyncio
import json
import os
import re
import signal
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import DriverUnavailable, Invalid, Unsupported
from lm_sandbox.sandboxes.driver import RunState, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo, Image
from lm_sandbox.sandboxes.drivers.docker.checks import check_engine
from lm_sandbox.sandboxes.drivers.docker.confinement import outer_uid, read_confinement
from lm_sandbox.sandboxes.drivers.docker.container import container_config
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.drivers.docker.podman import for_podman, processes_of_a_user, write_profile
from lm_sandbox.sandboxes.drivers.docker.profile import seccomp_profile
from lm_sandbox.sandboxes.drivers.docker.runs import ended_runs, new_run, released
from lm_sandbox.sandboxes.drivers.docker.runtimes import runtime_kind
from lm_sandbox.sandboxes.drivers.docker.succession import RUN_LABEL
from lm_sandbox.sandboxes.egress import EgressMode
from lm_sandbox.sandboxes.inside.cgroups import folders_of
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice
from lm_sandbox.sandboxes.process import CommandSpec
from tests.conformance.conftest import SMALL, runner
from tests.control_groups import control_groups
from tests.sandboxes.networked import box

BOX = SandboxId("sb_docker")
IMAGE = Image.model_validate({"Id": "sha256:1", "Config": {"Volumes": {"/data/../srv/": {}, "/tmp": {}}}})
CONFINED = "Uid:\t1000\t1000\nCapEff:\t0000\nCapBnd:\t0000\nNoNewPrivs:\t1\nSeccomp:\t2\n"


def config(settings: DockerSettings | None = None, spec: SandboxSpec = SMALL) -> dict[str, object]:
    made = container_config(BOX, spec, settings or DockerSettings(), image=IMAGE, run="r1")
    host: dict[str, object] = made["HostConfig"]
    return made | host


def test_a_container_has_no_privilege_no_network_and_nothing_of_the_host() -> None:
    made = config()
    assert made["User"] == "65534:65534", "not the user of commands"
    assert made["CapDrop"] == ["ALL"]
    assert made["ReadonlyRootfs"] is True
    assert made["NetworkMode"] == "none"
    assert "no-new-privileges" in made["SecurityOpt"]  # type: ignore[operator]
    assert not {"Binds", "Mounts", "Privileged", "CapAdd", "PidMode", "Devices"} & set(made)
    assert "docker.sock" not in json.dumps(made)


def test_limits_reach_the_engine() -> None:
    spec = SandboxSpec(
        limits=Limits(cpus=1.5, cpuset="0", memory_bytes=64 * MIB, disk_bytes=16 * MIB, pids=9, open_files=99)
    )
    made = config(spec=spec)
    assert (made["NanoCpus"], made["Memory"], made["MemorySwap"]) == (1_500_000_000, 80 * MIB, 80 * MIB)
    assert (made["PidsLimit"], made["CpusetCpus"]) == (9, "0")
    assert {"Name": "nofile", "Soft": 99, "Hard": 99} in made["Ulimits"]  # type: ignore[operator]
    places = made["Tmpfs"]
    assert isinstance(places, dict)
    assert set(places) == {"/workspace", "/home/sandbox", "/tmp", "/var/tmp", "/dev/shm", "/srv"}
    assert all(f"size={16 * MIB},nr_inodes=2048" in options for options in places.values())


def test_gpus_are_asked_for_only_where_the_sandbox_has_some() -> None:
    assert config()["DeviceRequests"] == []
    gpus = (GpuDevice("GPU-1", 0), GpuDevice("GPU-2", 3))
    assert config(spec=SandboxSpec(gpus=gpus))["DeviceRequests"] == [
        {
            "Driver": "nvidia",
            "Capabilities": [["gpu", "compute", "utility"]],
            "DeviceIDs": ["GPU-1", "GPU-2"],
        }
    ]


@pytest.mark.anyio
async def test_the_engine_is_asked_for_exactly_the_gpus_of_the_sandbox(tmp_path: Path) -> None:
    asked: list[dict[str, object]] = []
    answers = {
        "/info": {"MemoryLimit": True, "PidsLimit": True, "SecurityOptions": ["name=seccomp"],
                  "Runtimes": {"runc": {"path": "runc"}}, "CgroupVersion": "2"},
        "/images/debian:bookworm-slim/json": {"Id": "sha256:1"},
    }  # fmt: skip

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                found = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(found[1]) if found else 0)
                path = head.split(" ", 2)[1]
                if path == "/containers/create":
                    asked.append(json.loads(body))
                known = json.dumps(answers.get(path, {"message": "no such device driver"})).encode()
                status = "200 OK" if path in answers else "500 No"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(known)}\r\n\r\n".encode() + known)
        writer.close()

    socket = tmp_path / "engine.sock"
    async with await asyncio.start_unix_server(answer, socket):
        async with DockerDriver(DockerSettings(socket=socket), tmp_path) as driver:
            with pytest.raises(DriverUnavailable):
                await driver.create(BOX, SandboxSpec(gpus=(GpuDevice("GPU-7", 1),)))
    [host] = [one["HostConfig"] for one in asked]
    assert isinstance(host, dict)
    assert [one["DeviceIDs"] for one in host["DeviceRequests"]] == [["GPU-7"]]
    assert "Devices" not in host


def test_the_profile_refuses_what_the_filter_refuses() -> None:
    calls = json.loads(seccomp_profile())["syscalls"]
    refused = {name for call in calls for name in call["names"] if not call["args"]}
    assert {"mount", "keyctl", "bpf", "unshare", "setns", "io_uring_setup"} <= refused
    tiocsti = {"index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 0xFFFFFFFF, "valueTwo": 0x5412}
    assert any(call["names"] == ["ioctl"] and call["args"] == [tiocsti] for call in calls)


@pytest.mark.parametrize(
    ("name", "known", "enterable", "own_kernel"),
    [
        ("runc", {"path": "runc"}, True, False),
        ("crun", {"path": "/usr/bin/crun"}, True, False),
        ("runsc", {"path": "/usr/bin/runsc"}, False, True),
        ("runc", {"path": "/opt/runsc"}, False, True),
        ("runc", {"runtimeType": "io.containerd.kata.v2"}, False, True),
        ("other", {"path": "/usr/bin/other"}, False, False),
    ],
)
def test_a_runtime_is_what_its_program_is_and_not_its_name(
    name: str, known: dict[str, str], enterable: bool, own_kernel: bool
) -> None:
    info = EngineInfo.model_validate({"Runtimes": {name: known}, "DefaultRuntime": name})
    kind = runtime_kind(info, None)
    assert kind is not None
    assert (kind.enterable, kind.own_kernel) == (enterable, own_kernel)
    assert runtime_kind(info, "absent") is None


@pytest.mark.parametrize(
    "weakened",
    [
        CONFINED.replace("1000\t1000", "0\t0"),
        CONFINED.replace("CapBnd:\t0000", "CapBnd:\t0001"),
        CONFINED.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        CONFINED.replace("Seccomp:\t2", "Seccomp:\t0"),
        CONFINED.replace("CapEff:\t0000\nCapBnd:\t0000\n", ""),
        "",
    ],
)
def test_what_lacks_any_part_is_not_confined(weakened: str) -> None:
    assert read_confinement(CONFINED).complete
    assert not read_confinement(weakened).complete


def test_a_user_is_translated_by_the_map_of_its_namespace() -> None:
    assert outer_uid("0 1000 1\n1 100000 65536\n", 1000) == 100999
    assert outer_uid("0 0 4294967295\n", 1000) == 1000


def test_every_group_of_a_process_is_found() -> None:
    mounts = "c /g/cpu cgroup rw,cpu 0 0\nc /g/sys cgroup rw,name=systemd 0 0\nc /g/u cgroup2 rw 0 0\n"
    assert folders_of("2:cpu:/d/x\n1:name=systemd:/y\n0::/\n", mounts) == ("/g/cpu/d/x", "/g/sys/y", "/g/u")


def test_a_run_is_known_to_have_ended_only_when_it_has(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert ended_runs(tmp_path) == []
    # Whoever holds a copy of the descriptor goes on with it, as the launcher does.
    held = os.dup(run.fd)
    os.close(run.fd)
    assert ended_runs(tmp_path) == []
    os.close(held)
    [ended] = ended_runs(tmp_path)
    assert ended.name == run.name
    with released(ended):
        assert ended_runs(tmp_path) == []
    assert not any(tmp_path.iterdir())


def test_without_an_engine_the_check_says_what_to_do(tmp_path: Path) -> None:
    [check] = DockerDriver(DockerSettings(socket=tmp_path / "none.sock"), tmp_path).checks()
    assert not check.ok
    assert check.required
    assert "LM_SANDBOX_DOCKER__SOCKET" in check.fix


@pytest.mark.anyio
async def test_a_runtime_that_the_engine_lacks_is_refused(docker_engine: Path, tmp_path: Path) -> None:
    with pytest.raises(DriverUnavailable, match="it has .*runc"):
        async with DockerDriver(DockerSettings(socket=docker_engine, runtime="nope"), tmp_path):
            pass


@pytest.mark.anyio
async def test_an_image_that_the_engine_lacks_is_named(docker_engine: Path, tmp_path: Path) -> None:
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path) as driver:
        for name in ("no/such:1", "Ünknown", "../containers/x", "x?y", "x\r\nHost: y", " ", "x" * 5000):
            with pytest.raises(Invalid, match="no image"):
                await driver.create(BOX, SandboxSpec(image=name))


@pytest.mark.anyio
async def test_the_way_in_is_told(docker_engine: Path, tmp_path: Path) -> None:
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path / "a") as driver:
        enforced = await driver.create(BOX, SMALL)
        assert (enforced.entry, enforced.isolation) == ("zygote", "namespaces (runc)")
    settings = DockerSettings(socket=docker_engine, runtime="unknown")
    async with DockerDriver(settings, tmp_path / "b") as driver:
        assert "docker exec" in (await driver.create(BOX, SMALL)).entry


@pytest.mark.anyio
@pytest.mark.parametrize("runtime", ["runc", "unknown"])
async def test_a_fork_bomb_takes_no_more_than_the_limit_and_the_sandbox_goes_on(
    runtime: str, docker_engine: Path, tmp_path: Path
) -> None:
    settings = DockerSettings(socket=docker_engine, runtime=runtime)
    async with DockerDriver(settings, tmp_path) as driver:
        await driver.create(BOX, SMALL)
        run = runner(driver, BOX)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, (await driver.stats(BOX)).pids or 0)
                await anyio.sleep(0.02)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            result = await run("bomb() { bomb | bomb & }; bomb; sleep 30", timeout_s=2)
            tasks.cancel_scope.cancel()
        assert result.timed_out
        assert SMALL.limits.pids // 2 < most <= SMALL.limits.pids
        assert (await run("echo alive")).stdout == b"alive\n"


@pytest.mark.anyio
async def test_what_is_paused_can_be_killed_by_exec_and_stays_paused(
    docker_engine: Path, tmp_path: Path
) -> None:
    async with DockerDriver(DockerSettings(socket=docker_engine, runtime="unknown"), tmp_path) as driver:
        await driver.create(BOX, SMALL)
        await runner(driver, BOX)("(while :; do :; done) >/dev/null 2>&1 &")
        process = await driver.spawn(BOX, CommandSpec(("sleep", "1000")))
        await driver.set_state(BOX, RunState.PAUSED)
        async with aclosing(process):
            with anyio.fail_after(60):
                await process.kill()
                assert (await process.wait()).signal == signal.SIGKILL
        used = (await driver.stats(BOX)).cpu_seconds
        assert (await driver.stats(BOX)).cpu_seconds == used
        await driver.set_state(BOX, RunState.RUNNING)
        assert (await runner(driver, BOX)("echo alive")).stdout == b"alive\n"


@pytest.mark.anyio
async def test_a_way_out_that_cannot_be_given_is_refused_and_the_sandbox_stays_well(
    docker_engine: Path, tmp_path: Path
) -> None:
    driver = DockerDriver(DockerSettings(socket=docker_engine, runtime="unknown"), tmp_path)
    with pytest.raises(Unsupported, match="Nothing can be reached from here"):
        async with box("up.test", driver=driver):
            pass
    async with box(mode=EgressMode.DISABLED, driver=driver) as made:
        with pytest.raises(Unsupported):
            await made.allow("up.test")
        assert await made.out("echo well") == "well\n"


@pytest.mark.anyio
async def test_what_a_living_server_has_is_left_alone(docker_engine: Path, tmp_path: Path) -> None:
    def containers(run: str) -> int:
        transport = httpx.HTTPTransport(uds=str(docker_engine))
        with httpx.Client(transport=transport, base_url="http://docker") as http:
            query = {"all": "1", "filters": json.dumps({"label": [f"{RUN_LABEL}={run}"]})}
            return len(http.get("/containers/json", params=query).json())

    settings = DockerSettings(socket=docker_engine)
    async with DockerDriver(settings, tmp_path) as living:
        await living.create(BOX, SMALL)
        [path] = tmp_path.glob("*.run")
        async with DockerDriver(settings, tmp_path) as other:
            assert await other.adopt() == []
            assert containers(path.stem) == 1
        assert (await runner(living, BOX)("echo alive")).stdout == b"alive\n"


@pytest.mark.anyio
async def test_the_end_of_a_container_leaves_no_group(docker_engine: Path, tmp_path: Path) -> None:
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path) as driver:
        await driver.create(BOX, SMALL)
        await runner(driver, BOX)("true")
        container = driver._sandboxes[BOX].container
        assert control_groups(f"*{container}*")
        await driver.destroy(BOX)
        assert not control_groups(f"*{container}*")


@pytest.mark.anyio
async def test_streams_are_taken_apart_and_wait_for_who_reads_them() -> None:
    from lm_sandbox.sandboxes.drivers.docker.demultiplexer import AHEAD_BYTES, STDERR, STDOUT, Demultiplexer

    send, receive = anyio.create_memory_object_stream[bytes](100)
    frames = Demultiplexer(BufferedByteReceiveStream(receive))
    for stream, text in ((1, b"out"), (2, b"err"), (1, b"put")):
        await send.send(bytes([stream, 0, 0, 0]) + len(text).to_bytes(4) + text)
    assert await frames.take(STDERR, 100) == b"err"
    assert await frames.take(STDOUT, 2) == b"ou"
    assert await frames.take(STDOUT, 100) == b"t"
    assert await frames.take(STDOUT, 100) == b"put"
    await send.send(bytes([1, 0, 0, 0]) + (AHEAD_BYTES + 1).to_bytes(4) + b"x" * (AHEAD_BYTES + 1))
    await send.aclose()
    with anyio.move_on_after(0.05) as waited:
        await frames.to_the_end()
    assert waited.cancelled_caught
    frames.drop_the_rest()
    await frames.to_the_end()
    assert await frames.take(STDERR, 100) == b""
    receive.close()


def test_podman_is_asked_in_its_own_words_and_for_no_less(tmp_path: Path) -> None:
    image = Image.model_validate({"Id": "sha256:x", "Config": {"Volumes": {"/data": {}}}})
    config = container_config(SandboxId("sb_x"), SandboxSpec(), DockerSettings(), image=image, run="r")
    profile = write_profile(tmp_path / "docker")
    asked = for_podman(config, profile, 1000)
    assert json.loads(profile.read_text()) == json.loads(seccomp_profile())
    host, before = asked["HostConfig"], config["HostConfig"]
    assert host["SecurityOpt"][:2] == ["no-new-privileges", f"seccomp={profile}"]
    assert host["SecurityOpt"][2] == f"mask={':'.join(before['MaskedPaths'])}"
    assert set(host["Tmpfs"]) == set(before["Tmpfs"]) > {"/data", "/workspace"}
    assert len(set(host["Tmpfs"].values())) == 1
    assert f"size={SandboxSpec().limits.disk_bytes}" in host["Tmpfs"]["/data"].split(",")
    assert {"Name": "nproc", "Soft": 1000, "Hard": 1000} in host["Ulimits"]
    changed = {"SecurityOpt", "Tmpfs", "Ulimits"}
    assert {key: host[key] for key in host if key not in changed} == {
        key: before[key] for key in before if key not in changed
    }
    assert 0 < processes_of_a_user() <= int(Path("/proc/sys/kernel/pid_max").read_text())


def test_an_engine_that_is_missing_is_installed_unless_another_one_was_named(tmp_path: Path) -> None:
    (named,) = check_engine(DockerSettings(socket=tmp_path / "none"), "x")
    assert (named.ok, named.remedy) == (False, ())
    if not DockerSettings().socket.is_socket():
        (usual,) = check_engine(DockerSettings(), "x")
        assert [step.shell for step in usual.remedy] == [
            "apt-get install --yes docker.io",
            "systemctl start docker",
        ]
