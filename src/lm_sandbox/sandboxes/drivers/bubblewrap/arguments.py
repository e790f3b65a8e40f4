"""The arguments of `bwrap`: what a sandbox sees, as data."""

from collections.abc import Sequence
from dataclasses import dataclass

from lm_sandbox.sandboxes.drivers.bubblewrap.system import System
from lm_sandbox.sandboxes.inside.layout import HOME, MASKED_PROC, SANDBOX_UID, WORKSPACE
from lm_sandbox.sandboxes.mounts import DiskMount

# Writable places, all on the one tmpfs that the disk limit sizes.
WRITABLE = {
    "workspace": WORKSPACE,
    "home": HOME,
    "tmp": "/tmp",  # noqa: S108 - the sandbox's own
    "vartmp": "/var/tmp",  # noqa: S108
    "shm": "/dev/shm",  # noqa: S108
}
# Files of the host's /etc that hold no secret and that programs want.
SHARED_ETC = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version", "fonts",
    "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "lsb-release", "magic",
    "mime.types", "os-release", "perl", "profile", "protocols", "python3", "python3.10", "python3.11",
    "python3.12", "python3.13", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo",
    "timezone", "wgetrc",
)  # fmt: skip
OWN_ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "sandbox:x:1000:1000:sandbox:/home/sandbox:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    # Without egress nothing listens there, and a look-up fails at once.
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib32": "usr/lib32", "lib64": "usr/lib64"}  # fmt: skip  # noqa: E501
NOTHING = "/dev/null"


@dataclass(frozen=True, slots=True)
class HostView:
    """What the arguments depend on, looked up once.

    Attributes:
        existing: Paths of the host that are there, of those that matter.
        links: Names in `/` that are links into `/usr`.
        hidden: Folders under `/usr` that hold something of ours.
        disable_userns: Whether this bwrap knows `--disable-userns`.
    """

    existing: frozenset[str]
    links: frozenset[str]
    hidden: tuple[str, ...] = ()
    disable_userns: bool = True


def interesting_paths() -> list[str]:
    """Lists the host's paths whose existence decides about arguments."""
    return [
        *(f"/etc/{name}" for name in SHARED_ETC),
        *(f"/{name}" for name in LINKS),
        *(f"/proc/{name}" for name in MASKED_PROC),
        "/usr/bin",
    ]


def sandbox_arguments(
    host: HostView,
    *,
    storage: str | None,
    disk_bytes: int,
    first_fd: int,
    more: Sequence[str] = (),
) -> list[str]:
    """Returns the options of `bwrap`, as it reads them by `--args`.

    Descriptors are expected from `first_fd` on: the filter, the info pipe, then one for each file of
    `OWN_ETC`, in order.

    Args:
        host: What is there.
        storage: The folder with the writable places, mounted for this sandbox; without one each
            place is a tmpfs of its own.
        disk_bytes: The size of each such tmpfs.
        first_fd: The number of the first descriptor.
        more: What puts more into it: devices, volumes.
    """
    return [
        *_namespaces(host),
        *("--seccomp", str(first_fd), "--info-fd", str(first_fd + 1)),
        *_system(host),
        *_etc(host, first_fd + 2),
        *("--proc", "/proc", "--dev", "/dev"),
        *more,
        *_masks(host),
        *_writable(storage, disk_bytes),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--chdir", WORKSPACE),
    ]


def system_arguments(
    host: HostView,
    system: System,
    *,
    storage: str,
    first_fd: int,
    more: Sequence[str] = (),
) -> list[str]:
    """Returns the options of `bwrap` for a sandbox with a root file system of its own.

    Descriptors are expected from `first_fd` on: the filter, the info pipe; and `first_fd + 4` is the
    user namespace of the sandbox's users.

    Args:
        host: What is there.
        system: What is mounted as the root file system.
        storage: The folder below which it is mounted for this sandbox, with the writable places.
        first_fd: The number of the first descriptor.
        more: What puts more into it: devices, volumes.
    """
    roots: list[str] = []
    for number, overlay in enumerate(system.overlays):
        roots += ["--bind", f"{storage}/system/{number}/root", overlay.at]
    return [
        *("--userns", str(first_fd + 4), *_others()),
        *("--seccomp", str(first_fd), "--info-fd", str(first_fd + 1)),
        *roots,
        *("--proc", "/proc", "--dev", "/dev"),
        *more,
        *_masks(host),
        # Its root owns the settings of its network.
        *("--ro-bind", "/proc/sys", "/proc/sys"),
        *_writable(storage, 0),
        *("--remount-ro", "/dev"),
        *("--chdir", WORKSPACE),
    ]


def _namespaces(host: HostView) -> list[str]:
    flags = ["--unshare-user", *_others()]
    return [*flags, "--disable-userns"] if host.disable_userns else flags


def _others() -> list[str]:
    return [
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup", "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL", "--hostname", "sandbox"),
        *("--uid", str(SANDBOX_UID), "--gid", str(SANDBOX_UID)),
    ]


def _system(host: HostView) -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name, target in LINKS.items():
        if name in host.links:
            arguments += ["--symlink", target, f"/{name}"]
        elif f"/{name}" in host.existing:
            arguments += ["--ro-bind", f"/{name}", f"/{name}"]
    for folder in host.hidden:
        arguments += ["--tmpfs", folder, "--remount-ro", folder]
    for folder in ("/var/log", "/var/lib", "/run", "/home", "/opt", "/srv", "/mnt"):
        arguments += ["--dir", folder]
    return [*arguments, "--symlink", "/run", "/var/run"]


def _etc(host: HostView, first_fd: int) -> list[str]:
    arguments = ["--perms", "0755", "--dir", "/etc"]
    for name in SHARED_ETC:
        if f"/etc/{name}" in host.existing:
            arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    for offset, name in enumerate(OWN_ETC):
        arguments += ["--perms", "0644", "--ro-bind-data", str(first_fd + offset), f"/etc/{name}"]
    return arguments


def _masks(host: HostView) -> list[str]:
    arguments: list[str] = []
    for name in MASKED_PROC:
        if f"/proc/{name}" in host.existing:
            arguments += ["--ro-bind", NOTHING, f"/proc/{name}"]
    return arguments


def volume_arguments(storage: str, mounts: Sequence[DiskMount]) -> list[str]:
    """Returns the options of `bwrap` for volumes, which are mounted below the storage in this order."""
    arguments: list[str] = []
    for number, mount in enumerate(mounts):
        bind = "--ro-bind" if mount.read_only else "--bind"
        arguments += [bind, f"{storage}/volumes/{number}", mount.path]
    return arguments


def _writable(storage: str | None, disk_bytes: int) -> list[str]:
    arguments: list[str] = []
    for name, place in WRITABLE.items():
        if storage is not None:
            arguments += ["--bind", f"{storage}/{name}", place]
        else:
            arguments += ["--size", str(disk_bytes), "--tmpfs", place]
    return arguments
