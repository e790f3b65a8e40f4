"""Tries to get the file API out of a sandbox, by links, races, archives and odd files."""

import tarfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import FileConflict, FileNotThere, FileRefused, Invalid, LmSandboxError
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.files import Copy, FileQuery, GrepQuery, MakeFolder, Move, SandboxFiles, SetMode
from tests.conformance.conftest import BOX, Run
from tests.conformance.filing import WORK, archive, at, names, pack, read, unpack, write
from tests.conftest import eventually

pytestmark = pytest.mark.anyio
SECRET = b"only the host has this"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    folder = tmp_path / "host"
    folder.mkdir(mode=0o777)
    tmp_path.chmod(0o777)
    folder.chmod(0o777)
    (folder / "secret").write_bytes(SECRET)
    (folder / "secret").chmod(0o666)
    return folder


async def in_vain(work: Awaitable[object]) -> None:
    """Does it, and takes any answer but a failure of the sandbox."""
    try:
        await work
    except LmSandboxError as error:
        if error.code == "sandbox_failed":
            raise


async def content(files: SandboxFiles, name: str) -> bytes | None:
    try:
        return await read(files, at(name))
    except (FileNotThere, FileConflict):
        return None


def untouched(host: Path) -> None:
    assert [entry.name for entry in host.iterdir()] == ["secret"]
    assert (host / "secret").read_bytes() == SECRET
    assert (host / "secret").stat().st_mode & 0o777 == 0o666


async def test_a_link_to_a_file_of_the_host_leads_nowhere(
    files: SandboxFiles, run_inside: Run, host: Path
) -> None:
    await run_inside(
        f"ln -s {host}/secret file; ln -s {host} folder; ln -s ../../../../../../..{host} climbing; ln -s / root"
    )
    for path in (
        "file",
        "folder/secret",
        "climbing/secret",
        f"root{host}/secret",
        "../../.." + str(host) + "/secret",
    ):
        assert await content(files, path) is None
        await in_vain(files.change(Copy(at(path), at("stolen"), overwrite=True)))
        assert await content(files, "stolen") is None
        await in_vain(files.change(SetMode(at(path), 0o777)))
        await in_vain(write(files, at(path), b"overwritten"))
        await in_vain(files.delete(at(path), recursive=True))
        await in_vain(unpack(files, at(path), archive((tarfile.TarInfo("secret"), b"overwritten"))))
        await run_inside(f"rm -rf {host} stolen")
    untouched(host)


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/root/etc/shadow", "/proc/1/root/etc/passwd", "/proc/1/cwd/etc/passwd", "/proc/thread-self/root/etc/passwd",
        "/proc/self/environ", "/proc/1/environ", "/proc/self/mem", "/proc/1/mem", "/proc/kcore", "/proc/kmsg", "/proc/1/maps",
        "/proc/self/fd/3", "/proc/1/fd/0", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/uid_map",
        "/dev/mem", "/dev/kmsg", "/dev/ptmx", "/dev/tty", "/dev/null", "/dev/stdin", "/dev/fd/0", "/etc/shadow", "/sys/kernel/uevent_helper",
        "/proc/cpuinfo", "/proc/1/root", "/dev/pts/ptmx",
    ],
)  # fmt: skip
async def test_files_that_the_kernel_makes_up_are_neither_read_nor_written(
    files: SandboxFiles, path: str
) -> None:
    refusals = (FileNotThere, FileConflict, FileRefused, Invalid)
    with pytest.raises(refusals):
        await read(files, file_path(path))
    with pytest.raises(refusals):
        await write(files, file_path(path), b"x")
    with pytest.raises(refusals):
        async with files.append(file_path(path)) as writer:
            await writer.write([b"x"])
    assert (await files.stat(WORK)).path == WORK


SWAP = """
mkdir -p real; ln -sfn {target} evil
python3 - <<'EOF'
import ctypes
swap = ctypes.CDLL(None).renameat2
while True: swap(-100, b"real", -100, b"evil", 2)
EOF
"""


@pytest.mark.parametrize("kind", ["host", "system"])
async def test_a_folder_swapped_with_a_link_during_the_work_leads_nowhere(
    files: SandboxFiles, run_inside: Run, host: Path, kind: str
) -> None:
    target = host if kind == "host" else "/etc"
    data = archive(*((tarfile.TarInfo(f"real/{number}"), b"x" * 5000) for number in range(30)))
    works: list[Callable[[], Awaitable[object]]] = [
        lambda: write(files, at("real/secret"), b"overwritten"),
        lambda: write(files, at("real/deep/secret"), b"overwritten"),
        lambda: read(files, at("real/secret")),
        lambda: files.change(MakeFolder(at("real/a/b"))),
        lambda: files.change(Copy(at("real"), at("copy"), overwrite=True)),
        lambda: files.change(Move(at("real/secret"), at("real/moved"), overwrite=True)),
        lambda: unpack(files, WORK, data),
        lambda: pack(files, at("real")),
        lambda: files.list(FileQuery(at("real"), 10, recursive=True)),
        lambda: files.delete(at("real/a"), recursive=True),
        lambda: files.delete(at("copy"), recursive=True),
    ]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_forever, run_inside, SWAP.format(target=target))
        with anyio.fail_after(20):
            while "evil" not in await names(files):
                await anyio.lowlevel.checkpoint()
        for _ in range(40):
            for work in works:
                await in_vain(work())
        tasks.cancel_scope.cancel()
    untouched(host)
    assert (await run_inside("ls /etc | grep -cE '^(secret|moved|deep|a|[0-9]+)$'")).stdout == b"0\n"


async def _forever(run_inside: Run, script: str) -> None:
    await run_inside(script, timeout_s=120)


async def test_a_hard_link_cannot_reach_what_is_not_the_sandboxes(
    files: SandboxFiles, run_inside: Run
) -> None:
    assert (await run_inside("ln /etc/passwd hard || ln /usr/bin/env hard; ls")).stdout == b""
    await run_inside("echo x > a; ln a b")
    await write(files, at("a"), b"new")
    assert await read(files, at("b")) == b"x\n"


async def test_names_of_any_bytes_come_through(files: SandboxFiles, run_inside: Run) -> None:
    odd = ["new\nline", "-rf", " ", "\udcff\udcfe", "*", "a\\b", "'\"", "\x1b[31m", "é" * 127]
    for name in odd:
        await write(files, at(name), name.encode(errors="surrogateescape"))
        assert await read(files, at(name)) == name.encode(errors="surrogateescape")
    assert await names(files) == sorted(odd)
    assert (await run_inside("ls | wc -c; ls -A | head -c 0; find . -type f | wc -l")).exit_code == 0
    assert [row.path for row in (await files.grep(GrepQuery(WORK, "rf", limit=9))).matches] == [
        "/workspace/-rf"
    ]
    for name in odd:
        await files.delete(at(name), recursive=False)
    assert await names(files) == []


async def test_a_file_that_shrinks_or_grows_while_it_is_read_harms_nobody(
    files: SandboxFiles, run_inside: Run
) -> None:
    await write(files, at("a"), bytes(1000))
    async with files.read(at("a")) as reader:
        await run_inside("truncate -s 10 a")
        assert await reader.read(5, 100) == bytes(5)
        assert await reader.read(500, 100) == b""
        await run_inside("rm a; echo other > a")
        assert await reader.read(0, 100) == bytes(10)


async def test_a_lease_on_a_file_does_not_hold_the_api_up(files: SandboxFiles, run_inside: Run) -> None:
    script = """python3 - <<'EOF'
import fcntl, os, time
fd = os.open("a", os.O_RDWR | os.O_CREAT)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.mkdir("leased")
import signal; signal.signal(signal.SIGIO, signal.SIG_IGN); signal.pause()
EOF"""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_forever, run_inside, script)
        with anyio.fail_after(20):
            while "leased" not in await names(files):
                await anyio.lowlevel.checkpoint()
            with pytest.raises(FileConflict):
                await read(files, at("a"))
        tasks.cancel_scope.cancel()


async def test_a_folder_nested_beyond_every_limit_is_an_error_and_no_hang(
    files: SandboxFiles, run_inside: Run
) -> None:
    await run_inside(
        'python3 -c \'import os\nfor _ in range(3000): os.mkdir("d" * 100); os.chdir("d" * 100)\'',
        timeout_s=60,
    )
    with anyio.fail_after(60):
        page = await files.list(FileQuery(WORK, 1000, recursive=True))
        assert 10 < len(page.entries) < 1000
        with pytest.raises(Invalid):
            await files.delete(at("d" * 100), recursive=True)
        await in_vain(pack(files, WORK))
    assert (await run_inside("rm -rf ddd*; ls -A")).stdout == b""


async def test_the_agent_and_its_forks_are_confined_and_out_of_reach(
    files: SandboxFiles, run_inside: Run
) -> None:
    async with files.watch(WORK, recursive=True) as events:
        await anext(events)
        init = (
            (
                await run_inside(
                    "readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/user"
                )
            )
            .stdout.decode()
            .split()
        )
        agents = [
            pid for pid in _processes() if _link(pid, "mnt") == init[1] and _link(pid, "pid") != init[0]
        ]
        assert len(agents) >= 3  # The zygote, the agent and its fork.
        for pid in agents:
            status = Path(f"/proc/{pid}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
            assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert fields["Groups"].strip() == ""
            assert len(set(fields["Uid"].split())) == 1
            assert fields["Uid"].split()[0] != "0"
            assert Path(f"/proc/{pid}/environ").stat().st_uid == 0, "it must not be dumpable"
            assert (_link(pid, "net"), _link(pid, "user")) == (init[2], init[3])
        assert len((await run_inside("ls -d /proc/[0-9]*")).stdout.split()) <= 4
        await run_inside("kill -9 -1")
        await write(files, at("a"), b"x")
        assert (await anext(events)).path is not None


def _processes() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _link(pid: str, namespace: str) -> str:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/{namespace}").readlink())
    return ""  # It has ended meanwhile.


async def test_nothing_of_the_agent_outlives_its_sandbox(
    files: SandboxFiles, run_inside: Run, started: SandboxDriver
) -> None:
    mount = (await run_inside("readlink /proc/self/ns/mnt")).stdout.decode().strip()
    async with files.watch(WORK, recursive=True) as events:
        await anext(events)
        assert any(_link(pid, "mnt") == mount for pid in _processes())
        await started.destroy(BOX)
    await eventually(lambda: not any(_link(pid, "mnt") == mount for pid in _processes()))
