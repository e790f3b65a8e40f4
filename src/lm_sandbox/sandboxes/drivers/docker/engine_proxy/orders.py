"""The bodies that may go to the engine: each is made anew by the driver's own code and compared. Pure."""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from lm_sandbox.config.cores import parse_cores
from lm_sandbox.config.sandboxes import Cores, DockerSettings
from lm_sandbox.errors import Forbidden
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Answer, Image
from lm_sandbox.sandboxes.drivers.docker.container import WRITABLE, container_config, resources
from lm_sandbox.sandboxes.drivers.docker.succession import RUN_LABEL, SANDBOX_LABEL
from lm_sandbox.sandboxes.gpus import ALL
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID, WORKSPACE
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice

OWNER_LABEL = "lm-sandbox.engine-proxy"
SIZE = re.compile(r"(?:^|,)size=([1-9][0-9]{0,15})(?:,|$)")
LabelText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Amount = Annotated[int, Field(gt=0, lt=2**53, strict=True)]
Variable = Annotated[str, Field(pattern=r"^[^=\x00]+=[^\x00]*$")]
Words = Annotated[tuple[Annotated[str, Field(pattern=r"^[^\x00]*$")], ...], Field(min_length=1)]
KERNELS_OWN = ("/proc", "/sys", "/dev")
PROGRAM_USER = f"{SANDBOX_UID}:{SANDBOX_UID}"
START = {"Detach": False, "Tty": False}


class Ulimit(Answer):
    """What one process may use."""

    name: str = Field(alias="Name")
    hard: Annotated[int, Field(ge=0, strict=True)] = Field(alias="Hard")


class GpuOrder(Answer):
    """The GPUs of a sandbox."""

    ids: tuple[Annotated[str, Field(pattern=r"^GPU-[0-9a-zA-Z-]{1,60}$")], ...] = Field(alias="DeviceIDs")


class UpdateOrder(Answer):
    """What can be changed while a container lives."""

    nano_cpus: Amount = Field(alias="NanoCpus")
    memory: Amount = Field(alias="Memory")
    pids: Amount = Field(alias="PidsLimit")
    cpuset: Cores = Field(alias="CpusetCpus")


class HostOrder(UpdateOrder):
    """What differs between the containers of two sandboxes, of their resources."""

    gpus: Annotated[tuple[GpuOrder, ...], Field(max_length=1)] = Field(alias="DeviceRequests")
    ulimits: tuple[Ulimit, ...] = Field(alias="Ulimits")
    tmpfs: dict[str, str] = Field(alias="Tmpfs")


class ContainerOrder(Answer):
    """What differs between the containers of two sandboxes; all else is the driver's to say."""

    image: str = Field(alias="Image", pattern=r"^sha256:[0-9a-f]{64}$")
    labels: dict[str, LabelText] = Field(alias="Labels")
    env: tuple[Variable, ...] = Field(alias="Env")
    host: HostOrder = Field(alias="HostConfig")


class ExecOrder(Answer):
    """A program in a container."""

    argv: Words = Field(alias="Cmd")
    env: tuple[Variable, ...] = Field(alias="Env")
    stdin: Annotated[bool, Field(strict=True)] = Field(alias="AttachStdin")


Order = TypeVar("Order", bound=Answer)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sandbox may have here.

    Attributes:
        most: The largest limits.
        gpus: The UUIDs of the GPUs that may be lent; `all` for every one.
    """

    most: Limits
    gpus: tuple[str, ...] = ()

    def require(self, limits: Limits) -> None:
        """Refuses limits that are over the largest; raises Forbidden."""
        for name in ("cpus", "memory_bytes", "pids", "disk_bytes", "open_files"):
            if getattr(limits, name) > getattr(self.most, name):
                raise Forbidden(f"A sandbox may have {getattr(self.most, name):g} {name} at most here.")
        allowed = self.most.cpuset
        if allowed and not (limits.cpuset and parse_cores(limits.cpuset) <= parse_cores(allowed)):
            raise Forbidden(f"CpusetCpus may be within {allowed} here.")

    def lend(self, ids: Iterable[str]) -> tuple[GpuDevice, ...]:
        """Returns GPUs that may be lent; raises Forbidden."""
        gpus = tuple(GpuDevice(id_, 0) for id_ in ids)
        if ALL not in self.gpus and not {gpu.id for gpu in gpus} <= set(self.gpus):
            raise Forbidden("DeviceRequests has a GPU that is not lent here.")
        return gpus


def container_order(body: object, settings: DockerSettings, grant: Grant, owner: str) -> dict[str, Any]:
    """Returns what the engine is asked to make: a sandbox as the driver makes them, and nothing else.

    Args:
        body: What was asked for.
        settings: What makes every sandbox: the runtime.
        grant: What one may have.
        owner: Whose container it will be.

    Raises:
        Forbidden: the driver would never ask for that, or it is over the limits.
    """
    order = _understood(ContainerOrder, body)
    limits = _limits(order.host)
    grant.require(limits)
    gpus = grant.lend(id_ for request in order.host.gpus for id_ in request.ids)
    spec = SandboxSpec(limits, dict(_pair(variable) for variable in order.env), gpus=gpus)
    sandbox, run = (order.labels.get(label, "") for label in (SANDBOX_LABEL, RUN_LABEL))
    image = Image(Id=order.image, Config={"Volumes": dict.fromkeys(_volumes(order.host.tmpfs))})
    expected = container_config(SandboxId(sandbox), spec, settings, image=image, run=run)
    _require_same(body, expected)
    return {**expected, "Labels": {**expected["Labels"], OWNER_LABEL: owner}}


def update_order(body: object, grant: Grant) -> dict[str, Any]:
    """Returns how the limits of a container are changed.

    Raises:
        Forbidden: the driver would never ask for that, or it is over the limits.
    """
    order = _understood(UpdateOrder, body)
    most = grant.most
    # The size of its files, which stays as it is, is added to the memory.
    disk = max(0, min(most.disk_bytes, order.memory - 1))
    limits = Limits(order.nano_cpus / 1e9, order.memory - disk, order.pids, disk, 0, order.cpuset)
    # A change that leaves the cores out does not touch them.
    grant.require(limits if order.cpuset else replace(limits, cpuset=most.cpuset))
    expected = resources(limits)
    _require_same(body, expected)
    return expected


def exec_order(body: object) -> dict[str, Any]:
    """Returns the program that the engine is asked to prepare: one of the sandbox's user, without rights.

    Raises:
        Forbidden: the driver would never ask for that.
    """
    order = _understood(ExecOrder, body)
    expected = {
        "User": PROGRAM_USER,
        "Cmd": list(order.argv),
        "Env": list(order.env),
        "WorkingDir": "/",
        "AttachStdin": order.stdin,
        "AttachStdout": True,
        "AttachStderr": True,
    }
    _require_same(body, expected)
    return expected


def start_order(body: object) -> dict[str, Any]:
    """Returns how a prepared program starts: attached.

    Raises:
        Forbidden: the driver would never ask for that.
    """
    _require_same(body, START)
    return START


def _understood(kind: type[Order], body: object) -> Order:
    try:
        return TypeAdapter(kind).validate_python(body)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Forbidden(f"That is not what the driver asks for, at {place or 'the body'}.") from error


def _require_same(body: object, expected: dict[str, Any], place: str = "") -> None:
    if not isinstance(body, dict):
        raise Forbidden("That is not what the driver asks for: the body is no object.")
    if unknown := sorted(body.keys() ^ expected.keys()):
        raise Forbidden(f"That is not what the driver asks for, at {place}{unknown[0]}.")
    for name, value in expected.items():
        if isinstance(value, dict):
            _require_same(body[name], value, f"{place}{name}.")
        elif body[name] != value:
            raise Forbidden(f"That is not what the driver asks for, at {place}{name}.")


def _limits(host: HostOrder) -> Limits:
    found = SIZE.search(host.tmpfs.get(WORKSPACE, ""))
    open_files = [limit.hard for limit in host.ulimits if limit.name == "nofile"]
    if found is None or len(open_files) != 1 or host.memory <= int(found[1]):
        raise Forbidden("That is not what the driver asks for: limits are missing.")
    disk = int(found[1])
    return Limits(host.nano_cpus / 1e9, host.memory - disk, host.pids, disk, open_files[0], host.cpuset)


def _volumes(tmpfs: dict[str, str]) -> list[str]:
    places = sorted(tmpfs.keys() - WRITABLE.keys())
    for place in places:
        own = any(place == kernel or place.startswith(f"{kernel}/") for kernel in KERNELS_OWN)
        if own or place == "/" or not place.startswith("/") or posixpath.normpath(place) != place:
            raise Forbidden("That is not what the driver asks for, at HostConfig.Tmpfs.")
    return places


def _pair(variable: str) -> tuple[str, str]:
    name, _, value = variable.partition("=")
    return name, value
