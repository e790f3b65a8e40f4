"""Sandboxes with images, for tests: a driver that has them, and what can be installed in them."""

import io
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import obstacle_to_images
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.systems import ImagePlaces
from lm_sandbox.sandboxes.image_store import ImageStore
from lm_sandbox.sandboxes.limits import MIB, Limits

GIB = 1024 * MIB
ROOMY = Limits(memory_bytes=512 * MIB, disk_bytes=192 * MIB, pids=128, open_files=1024)
BOX = SandboxId("sb_image")
HOST_SPEC = SandboxSpec(limits=ROOMY, image="host")
needs_images = pytest.mark.skipif(obstacle_to_images() is not None, reason="this host gives no images")
# A root file system that fits into a test: one static program is enough.
BUSYBOX = Path("/bin/busybox")


def driver_with_images(
    folder: Path, roots: Mapping[str, Path] | None = None, default: str | None = None
) -> BubblewrapDriver:
    places = ImagePlaces(roots or {}, store_in(folder), folder / "additions")
    return BubblewrapDriver(images=places, default_image=default)


def store_in(folder: Path) -> ImageStore:
    return ImageStore(folder / "images", 2 * GIB)


def make_deb(folder: Path, name: str) -> Path:
    """Builds a package that has a program, and whose script makes a user to whom a folder belongs."""
    tree = folder / name
    program = tree / "usr/bin" / name
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {name} runs\n")
    program.chmod(0o755)
    (tree / "usr/share" / name).mkdir(parents=True)
    control = tree / "DEBIAN"
    control.mkdir()
    about = {
        "Package": name,
        "Version": "1.0",
        "Architecture": "all",
        "Maintainer": "Test <test@example.org>",
        "Depends": "adduser",
        "Description": "a test",
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in about.items()))
    script = control / "postinst"
    script.write_text(
        f"#!/bin/sh\nset -e\nadduser --system --group --no-create-home {name}\n"
        f"chown {name}:{name} /usr/share/{name}\n"
    )
    script.chmod(0o755)
    deb = folder / f"{name}_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
    return deb


def make_repository(folder: Path, name: str) -> None:
    """Makes what apt reads as `deb [trusted=yes] http://.../ ./`."""
    folder.mkdir()
    deb = make_deb(folder, name)
    listed = subprocess.run(
        ["dpkg-scanpackages", deb.parent.name], cwd=folder.parent, check=True, capture_output=True, text=True
    )
    (folder / "Packages").write_text(listed.stdout.replace(f"Filename: {folder.name}/", "Filename: ./"))


def make_wheel(folder: Path, name: str) -> Path:
    """Builds a Python package of one module."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"print('{name} is imported')\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return wheel


@contextmanager
def serving_files(folder: Path, address: str) -> Iterator[int]:
    """Serves a folder over HTTP and yields the port."""
    server = ThreadingHTTPServer((address, 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_root(folder: Path) -> Path:
    """Makes a root file system of busybox alone."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
    (folder / "bin/busybox").chmod(0o755)
    for name in (
        "sh",
        "cat",
        "ls",
        "id",
        "touch",
        "mkdir",
        "rm",
        "ln",
        "chmod",
        "chown",
        "mv",
        "stat",
        "env",
    ):
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc").mkdir()
    (folder / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n"
    )
    (folder / "etc/group").write_text("root:x:0:\nnode:x:1000:\n")
    return folder


def tar_of(*entries: tarfile.TarInfo, content: bytes = b"content\n") -> bytes:
    """Packs entries; every regular file has the same content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for entry in entries:
            if entry.isreg():
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                tar.addfile(entry)
    return packed.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


def every_file(folder: Path) -> list[Path]:
    return [Path(top) / name for top, folders, files in os.walk(folder) for name in (*folders, *files)]
