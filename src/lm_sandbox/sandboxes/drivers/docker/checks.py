"""What the engine gives and what it lacks, with the fix for each."""

import os
from http import HTTPStatus
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo
from lm_sandbox.sandboxes.drivers.docker.engine import BASE_URL, engine_info
from lm_sandbox.sandboxes.drivers.docker.runtimes import runtime_kind
from lm_sandbox.sandboxes.remedies import Package, Run, Step

TRY_S = 10.0
START_FIX = (
    "Install and start one: sudo apt-get install docker.io && sudo systemctl start docker. An ordinary "
    "user needs a rootless engine or the group docker, which is as good as root; where the socket is "
    "elsewhere, set LM_SANDBOX_DOCKER__SOCKET"
)
INSTALL: tuple[Step, ...] = (Package("docker.io"), Run(("systemctl", "start", "docker")))
GROUPS_FIX = (
    "Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1); a rootless engine also needs systemd to "
    "delegate the memory and pids controllers to its user"
)
CPU_FIX = "Let systemd delegate the cpu controller to the engine's user"
DIRECT_FIX = "Run the server as root beside an engine that uses runc, or live with slower commands"


def check_engine(settings: DockerSettings, image: str) -> list[Check]:
    """Asks the engine for everything that the driver needs; starts nothing."""
    name = "docker engine"
    if not settings.socket.is_socket():
        # One that was named is somebody else's to start.
        steps = INSTALL if settings.socket == DockerSettings().socket else ()
        return [Check(name, ok=False, detail="there is no socket of an engine", fix=START_FIX, remedy=steps)]
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(settings.socket)), base_url=BASE_URL, timeout=TRY_S
        ) as http:
            info = engine_info(http.get("/info"))
            found = http.get(f"/images/{quote(image, safe='/:@')}/json").status_code == HTTPStatus.OK
    except (httpx.HTTPError, ValidationError) as error:
        detail = f"no engine answers on its socket ({type(error).__name__})"
        return [Check(name, ok=False, detail=detail, fix=START_FIX)]
    return [
        Check(name, ok=True, detail=f"version {info.version}"),
        _image(image, found=found),
        *_runtime(info, settings.runtime),
        *_groups(info),
    ]


def obstacle_to_direct(info: EngineInfo, wanted: str | None) -> str | None:
    """Says why commands cannot enter containers of this engine directly; None where they can."""
    kind = runtime_kind(info, wanted)
    if os.geteuid() != 0:
        return "the server is not root"
    if info.has("rootless"):
        return "the engine is rootless"
    if kind is None or not kind.enterable:
        return f"the containers of {kind.name if kind else wanted} are not entered from outside"
    return None


def _image(image: str, *, found: bool) -> Check:
    detail = image if found else f"{image} is not there"
    return Check("image", ok=found, detail=detail, fix=f"Pull it: docker pull {image}", required=False)


def _runtime(info: EngineInfo, wanted: str | None) -> list[Check]:
    kind = runtime_kind(info, wanted)
    if kind is None:
        detail = f"the engine has none called {wanted}; it has {', '.join(sorted(info.runtimes))}"
        fix = "Name it in the engine's daemon.json under 'runtimes', or set LM_SANDBOX_DOCKER__RUNTIME"
        return [Check("runtime", ok=False, detail=detail, fix=fix)]
    filtered = info.has("seccomp") or kind.own_kernel
    obstacle = obstacle_to_direct(info, wanted)
    return [
        Check("runtime", ok=True, detail=kind.name),
        Check(
            "system call filter",
            ok=filtered,
            detail="a kernel of its own" if kind.own_kernel else "seccomp" if filtered else "none",
            fix="Use an engine and a kernel with seccomp",
        ),
        Check(
            "command entry",
            ok=obstacle is None,
            detail="direct" if obstacle is None else f"docker exec: {obstacle}",
            fix=DIRECT_FIX,
            required=False,
        ),
    ]


def _groups(info: EngineInfo) -> list[Check]:
    held = info.memory_limit and info.pids_limit
    version = f"version {info.cgroup_version}" if info.cgroup_version else "no version told"
    detail = f"{version}: memory, pids" if held else f"{version}, without memory or pids"
    cpu = "CPU time can be limited" if info.cpu_quota else "CPU time of sandboxes is not limited"
    return [
        Check("control groups", ok=held, detail=detail, fix=GROUPS_FIX),
        Check("cpu controller", ok=info.cpu_quota, detail=cpu, fix=CPU_FIX, required=False),
    ]
