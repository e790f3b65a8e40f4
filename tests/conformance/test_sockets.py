"""What every driver does about sockets inside its sandboxes."""

import socket
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketListener, SocketStream, UDPSocket

from lm_sandbox.errors import Conflict, SandboxNotFound, Unreachable
from lm_sandbox.sandboxes.driver import Door, SandboxDriver, SandboxId
from tests.conformance.conftest import BOX, SMALL, Run, runner

pytestmark = pytest.mark.anyio
PYTHON = "/usr/bin/python3"


async def test_the_server_serves_ports_of_a_sandbox(driver: SandboxDriver, run: Run) -> None:
    doors = [Door(80), Door(3128), Door(53, socket.SOCK_DGRAM)]
    sockets = await driver.listen(BOX, doors)
    assert [sock.getsockname() for sock in sockets] == [("127.0.0.1", door.port) for door in doors]
    assert not any(sock.getblocking() or sock.get_inheritable() for sock in sockets)

    async def greet(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"from outside\n")

    async with anyio.create_task_group() as tasks:
        for sock in sockets[:2]:
            tasks.start_soon((await SocketListener.from_socket(sock)).serve, greet)
        async with await UDPSocket.from_socket(sockets[2]) as packets:
            script = (
                "cat < /dev/tcp/127.0.0.1/80; cat < /dev/tcp/127.0.0.1/3128; echo hi > /dev/udp/127.0.0.1/53"
            )
            assert (await run(script)).stdout == b"from outside\n" * 2
            assert (await packets.receive())[0] == b"hi\n"
        tasks.cancel_scope.cancel()
    for sock in sockets:
        sock.close()


async def test_neighbours_and_the_host_are_not_reached_by_it(driver: SandboxDriver, run: Run) -> None:
    other = SandboxId("sb_other_network")
    await driver.create(other, SMALL)
    (door,) = await driver.listen(BOX, [Door(3128)])
    with door:
        assert (await run("exec 3<>/dev/tcp/127.0.0.1/3128")).exit_code == 0
        assert (await runner(driver, other)("exec 3<>/dev/tcp/127.0.0.1/3128")).exit_code == 1
        (same,) = await driver.listen(other, [Door(3128)])
        same.close()
        with pytest.raises(Unreachable), await driver.connect(other, 3128):
            pass


async def test_a_port_that_a_command_has_is_told(driver: SandboxDriver, run: Run) -> None:
    await run(
        f"{PYTHON} -c 'import socket, time; s = socket.create_server((\"127.0.0.1\", 3128)); time.sleep(60)' &"
    )
    await eventually_listening(run, 3128)
    with pytest.raises(Conflict, match="3128"):
        await driver.listen(BOX, [Door(80), Door(3128)])
    (door,) = await driver.listen(BOX, [Door(80)])
    door.close()


async def test_the_server_connects_to_what_listens_inside(driver: SandboxDriver, run: Run) -> None:
    with pytest.raises(Unreachable, match="8000"):
        await driver.connect(BOX, 8000)
    await run(
        f'{PYTHON} -c \'import socket; s = socket.create_server(("127.0.0.1", 8000));'
        "c = s.accept()[0]; c.sendall(c.recv(9).upper())' >/dev/null &"
    )
    await eventually_listening(run, 8000)
    async with await SocketStream.from_socket(await driver.connect(BOX, 8000)) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"HELLO"


async def test_a_server_that_takes_no_connection_is_told_in_time(driver: SandboxDriver, run: Run) -> None:
    await run(
        f'{PYTHON} -c \'import socket, time; s = socket.socket(); s.bind(("127.0.0.1", 8000)); s.listen(0);'
        "held = [socket.socket() for _ in range(9)];"
        '[(one.setblocking(False), one.connect_ex(("127.0.0.1", 8000))) for one in held]; time.sleep(60)\' >/dev/null &'
    )
    await eventually_listening(run, 8000)
    await anyio.sleep(0.2)
    with anyio.fail_after(15), pytest.raises(Unreachable):
        await driver.connect(BOX, 8000)


async def test_sockets_of_a_sandbox_that_is_not_there_are_not_made(driver: SandboxDriver) -> None:
    for sandbox in (SandboxId("sb_none"), SandboxId("../sb")):
        with pytest.raises(SandboxNotFound):
            await driver.listen(sandbox, [Door(80)])
        with pytest.raises(SandboxNotFound):
            await driver.connect(sandbox, 80)


async def test_making_sockets_leaves_no_descriptor_and_no_process(driver: SandboxDriver, run: Run) -> None:
    await run("true")
    for sock in await driver.listen(BOX, [Door(80)]):
        sock.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        for sock in await driver.listen(BOX, [Door(80), Door(53, socket.SOCK_DGRAM)]):
            sock.close()
        with pytest.raises(Unreachable):
            await driver.connect(BOX, 9)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert int((await run("ls /proc | grep -c '^[0-9]'")).stdout) <= 8


async def eventually_listening(run: Run, port: int) -> None:
    wait = f"for _ in $(seq 300); do grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp && exit 0; sleep 0.02; done; exit 1"
    assert (await run(wait)).exit_code == 0
