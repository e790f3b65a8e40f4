"""A client of the engine: what the driver asks of it, and its refusals as errors of ours."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from time import time
from typing import Any, Self

import anyio
import httpx
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.errors import DriverUnavailable, Invalid, LimitInUse, SandboxFailed, Unsupported
from lm_sandbox.sandboxes.drivers.docker.answers import (
    Container,
    Created,
    EngineInfo,
    Exec,
    Image,
    Listed,
    Used,
)
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID

LOG = logging.getLogger(__name__)
BASE_URL = "http://docker"
ANSWER_S = 60.0
REMOVE_S = 30.0
POLL_S = 0.05
FREEZE_S = 20.0
REFERENCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]*")
PODMANS = "Libpod-API-Version"
HEAD_BYTES = 64 * 1024
UNREACHABLE = "The Docker engine does not answer; start it, or name its socket in docker.socket."
VANISHED = "The sandbox's container is gone or has ended; make a new one."
# What Podman says of a container that it ends or has just removed, as of an error of its own.
GONE = ("no such container", "container state improper")
# What the kernel says where a limit is below what is in use.
BUSY = "device or resource busy"
# What runc says of a cgroup of version 1 whose busy processes have not halted in its few attempts.
UNFROZEN = "unable to freeze"
UPGRADE = (
    "POST /exec/{id}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
    "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {size}\r\n\r\n{body}"
)


class Engine:
    """Talks to one engine over its socket; works with Docker and with Podman's Docker API.

    Attributes:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url=BASE_URL, timeout=ANSWER_S
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def info(self) -> EngineInfo:
        """Asks what the engine can do."""
        return engine_info(await self._ask("GET", "/info"))

    async def image(self, name: str) -> Image:
        """Looks an image up.

        Raises:
            Invalid: the engine does not have it.
            DriverUnavailable: it does not answer.
        """
        unknown = Invalid(f"The Docker engine has no image {name!r}; pull it first.", field="image")
        # A path that climbs would ask the engine something else.
        if not REFERENCE.fullmatch(name) or ".." in name:
            raise unknown
        answer = await self._ask("GET", f"/images/{name}/json")
        if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
            raise unknown
        return Image.model_validate_json(_made(answer).content)

    async def create(self, config: Mapping[str, object]) -> str:
        """Makes a container and returns its id.

        Raises:
            DriverUnavailable: the engine refused, or does not answer.
        """
        answer = await self._ask("POST", "/containers/create", config)
        return Created.model_validate_json(_made(answer).content).id

    async def start(self, container: str) -> None:
        """Starts a container's first process.

        Raises:
            DriverUnavailable: the runtime refused, or the image lacks a shell.
        """
        _made(await self._ask("POST", f"/containers/{container}/start"))

    async def update(self, container: str, resources: Mapping[str, object]) -> None:
        """Changes the limits of a container.

        Raises:
            SandboxFailed: it is gone.
            LimitInUse: the kernel cannot take back as much memory.
            Unsupported: the runtime or its kernel refused.
        """
        answer = await self._ask("POST", f"/containers/{container}/update", resources)
        if answer.status_code in {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_REQUEST}:
            LOG.warning("The Docker engine answered %s: %s", answer.status_code, answer.text[:1000])
            if BUSY in answer.text:
                raise LimitInUse("The sandbox uses more memory than that.")
            raise Unsupported("The Docker engine cannot change these limits; this server's log says why.")
        _there(answer)

    async def pause(self, container: str, *, paused: bool) -> None:
        """Halts every process of a container, or lets them go on.

        Raises:
            SandboxFailed: the container is gone or does not run.
            DriverUnavailable: its processes did not come to a halt.
        """
        path = f"/containers/{container}/{'pause' if paused else 'unpause'}"
        answer = await self._ask("POST", path)
        with anyio.move_on_after(FREEZE_S):
            while paused and UNFROZEN in answer.text:
                await anyio.sleep(POLL_S)
                answer = await self._ask("POST", path)
        _there(answer)

    async def inspect(self, container: str) -> Container:
        """Looks at a container.

        Raises:
            SandboxFailed: it is gone.
        """
        answer = _there(await self._ask("GET", f"/containers/{container}/json"))
        return Container.model_validate_json(answer.content)

    async def is_running(self, container: str) -> bool:
        """Tells whether a container is there and runs."""
        try:
            return (await self.inspect(container)).state.running
        except SandboxFailed:
            return False

    async def used(self, container: str) -> Used:
        """Counts what a container uses.

        Raises:
            SandboxFailed: it is gone.
        """
        query = {"stream": "false", "one-shot": "true"}
        answer = _there(await self._ask("GET", f"/containers/{container}/stats", query=query))
        return Used.model_validate_json(answer.content)

    async def remove(self, container: str) -> None:
        """Kills and removes a container with its volumes, and waits until it is gone; idempotent.

        Raises:
            DriverUnavailable: the engine does not answer.
        """
        with anyio.move_on_after(REMOVE_S):
            while True:
                answer = await self._ask("DELETE", f"/containers/{container}?force=true&v=true")
                # Somebody else removes it already.
                if answer.status_code != HTTPStatus.CONFLICT:
                    return
                await anyio.sleep(POLL_S)

    async def labelled(self, label: str) -> list[Listed]:
        """Lists the containers that carry a label, those that have ended, too.

        Raises:
            DriverUnavailable: the engine does not answer.
        """
        query = {"all": "true", "filters": json.dumps({"label": [label]})}
        answer = await self._ask("GET", "/containers/json", query=query)
        return [Listed.model_validate(entry) for entry in _made(answer).json()]

    async def has_run_out_of_memory(self, container: str, since: float) -> bool:
        """Tells whether the kernel has killed for memory in a container since a Unix time."""
        filters = {"container": [container], "event": ["oom"]}
        query = {"since": f"{since:.6f}", "until": f"{time():.6f}", "filters": json.dumps(filters)}
        return bool((await self._ask("GET", "/events", query=query)).content.strip())

    async def prepare(
        self, container: str, argv: Sequence[str], env: Mapping[str, str], *, stdin: bool
    ) -> str:
        """Registers a program to be started in a container and returns its id.

        Raises:
            SandboxFailed: the container is gone or does not run.
        """
        order = {
            "User": f"{SANDBOX_UID}:{SANDBOX_UID}",
            "Cmd": list(argv),
            "Env": [f"{name}={value}" for name, value in env.items()],
            "WorkingDir": "/",
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
        }
        answer = _there(await self._ask("POST", f"/containers/{container}/exec", order))
        return Created.model_validate_json(answer.content).id

    async def attach(self, program: str) -> tuple[SocketStream, BufferedByteReceiveStream]:
        """Starts a prepared program; its input goes into the one, its framed output comes from the other.

        Raises:
            SandboxFailed: the container is gone or does not run.
        """
        async with AsyncExitStack() as exits:
            try:
                with anyio.fail_after(ANSWER_S):
                    stream = await exits.enter_async_context(await anyio.connect_unix(self.path))
                    body = json.dumps({"Detach": False, "Tty": False})
                    await stream.send(UPGRADE.format(id=program, size=len(body), body=body).encode())
                    output = BufferedByteReceiveStream(stream)
                    head = await output.receive_until(b"\r\n\r\n", HEAD_BYTES)
            except (OSError, anyio.BrokenResourceError, anyio.IncompleteRead) as error:
                raise DriverUnavailable(UNREACHABLE) from error
            if int(head.split(b" ", 2)[1]) not in {HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.OK}:
                raise SandboxFailed(VANISHED)
            exits.pop_all()
        return stream, output

    async def program(self, program: str) -> Exec:
        """Looks at a started program.

        Raises:
            SandboxFailed: the container is gone.
        """
        return Exec.model_validate_json(_there(await self._ask("GET", f"/exec/{program}/json")).content)

    async def _ask(
        self, method: str, path: str, body: object = None, query: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body, params=query)
        except httpx.TransportError as error:
            raise DriverUnavailable(UNREACHABLE) from error


def engine_info(answer: httpx.Response) -> EngineInfo:
    """Reads what the engine says of itself; that it is Podman it says of every answer."""
    info = EngineInfo.model_validate_json(answer.raise_for_status().content)
    return info.model_copy(update={"podman": PODMANS in answer.headers})


def _made(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success and answer.status_code != HTTPStatus.NOT_MODIFIED:
        LOG.warning("The Docker engine answered %s: %s", answer.status_code, answer.text[:1000])
        raise DriverUnavailable(
            f"The Docker engine refused a sandbox ({answer.status_code}); this server's log says "
            "why, and 'lm-sandbox doctor' what is missing. An image needs /bin/sh and /bin/bash."
        )
    return answer


def _there(answer: httpx.Response) -> httpx.Response:
    failed = answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    if failed and any(words in answer.text for words in GONE):
        raise SandboxFailed(VANISHED)
    if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
        raise SandboxFailed(VANISHED)
    return _made(answer)
