"""`lm-sandbox images`: what sandboxes can be made of."""

import json
import re
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import anyio
import anyio.to_thread
from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid, Unavailable

PIECE = 1 << 20
MIB = 1024**2
# As in containers-transports(5).
TRANSPORT = re.compile(r"(docker|docker-daemon|containers-storage|oci|dir|ostree):.+")


async def list_images(settings: Settings, *, as_json: bool) -> int:
    """Prints every image."""
    async with connect(settings) as client:
        images = (await check(await client.get("/v1/images"))).json()["data"]
    if as_json:
        print(json.dumps(images))  # noqa: T201
        return 0
    table = Table("image", "from", "size", "imported")
    for image in images:
        size = f"{image['size_bytes'] / MIB:.0f} MiB" if image["size_bytes"] else ""
        table.add_row(image["name"], image["kind"], size, (image["created_at"] or "")[:16])
    Console(highlight=False).print(table)
    return 0


async def import_image(settings: Settings, name: str, source: str, *, as_json: bool) -> int:
    """Sends an image to the server, or unpacks it where none runs."""
    with TemporaryDirectory() as folder:
        archive = await _archive(source, Path(folder))
        async with connect(settings) as client:
            path = f"/v1/images/{quote(name, safe='')}"
            answer = (await check(await client.put(path, content=_pieces(archive)))).json()
    if as_json:
        print(json.dumps(answer))  # noqa: T201
    else:
        Console(highlight=False).print(
            f"{answer['name']}: {answer['size_bytes'] / MIB:.0f} MiB", markup=False
        )
    return 0


async def remove_image(settings: Settings, name: str) -> int:
    """Removes an imported image."""
    async with connect(settings) as client:
        await check(await client.delete(f"/v1/images/{quote(name, safe='')}"))
    return 0


async def _archive(source: str, folder: Path) -> Path:
    """Returns a tar file with what is meant."""
    if TRANSPORT.fullmatch(source):
        return await _fetched(source, folder / "image.tar")
    path = anyio.Path(source)
    if await path.is_file():
        return Path(source)
    if not await path.is_dir():
        raise Invalid(f"There is no image at {source!r}.", field="source")
    packed = folder / "image.tar"
    await anyio.to_thread.run_sync(_pack, Path(source), packed)
    return packed


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".")


async def _fetched(source: str, archive: Path) -> Path:
    """Has skopeo bring an image."""
    if shutil.which("skopeo") is None:
        raise Invalid("skopeo is not installed; install it: sudo apt-get install skopeo.", field="source")
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet", source, f"oci-archive:{archive}"]
    fetched = await anyio.run_process(argv, check=False)
    if fetched.returncode != 0:
        said = (fetched.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"skopeo could not bring the image: {said}")
    return archive


async def _pieces(archive: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(archive, "rb") as file:
        while piece := await file.read(PIECE):
            yield piece
