"""The arguments of `bwrap` for GPUs: their device nodes, and what of the driver an image lacks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.nvidia import DriverFiles, GpuDevice

# In a sandbox with an image, whose system has no driver, or another one. Its /dev is the one folder that is
# neither the image's nor written to.
DRIVER = "/dev/nvidia-driver"


def device_arguments(gpus: Sequence[GpuDevice], files: DriverFiles) -> list[str]:
    """Returns what gives a sandbox the device nodes of its GPUs; those of others are not there."""
    if not gpus:
        return []
    nodes = files.nodes(gpus)
    return [word for node in nodes for word in ("--dev-bind", str(node), f"/dev/{node.name}")]


def driver_arguments(gpus: Sequence[GpuDevice], files: DriverFiles) -> list[str]:
    """Returns what gives a sandbox with an image the driver's own files, read-only."""
    if not gpus:
        return []
    places = [(path, f"{DRIVER}/lib/{path.name}") for path in files.libraries]
    places += [(path, f"{DRIVER}/bin/{path.name}") for path in files.programs]
    # A link is followed by bwrap, so that each is there by the name that programs ask for.
    return [word for path, place in places for word in ("--ro-bind", str(path), place)]


def driver_env(gpus: Sequence[GpuDevice], image_env: Mapping[str, str], path: str) -> dict[str, str]:
    """Returns the variables by which programs of an image find the driver's files."""
    if not gpus:
        return {}
    libraries = [image_env.get("LD_LIBRARY_PATH", ""), f"{DRIVER}/lib"]
    return {
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        "PATH": f"{image_env.get('PATH', path)}:{DRIVER}/bin",
    }


def require_nodes(gpus: Sequence[GpuDevice], files: DriverFiles) -> None:
    """Refuses what bwrap could not bind.

    Raises:
        Unsupported: a node is not there, which `nvidia-modprobe` makes.
    """
    missing = [node.name for node in files.nodes(gpus) if gpus and not _is_device(node)]
    if missing:
        raise Unsupported(
            f"The host has no device {', '.join(missing)}; run 'nvidia-modprobe -c 0 -u' as root."
        )


def _is_device(node: Path) -> bool:
    return node.is_char_device() and not node.is_symlink()
