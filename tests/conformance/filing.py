"""Short ways to work on files in tests."""

import io
import tarfile

from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.files import FileInfo, FileQuery, SandboxFiles

WORK = file_path("/workspace")


def at(name: str) -> FilePath:
    return file_path(f"/workspace/{name}")


async def write(files: SandboxFiles, path: FilePath, content: bytes, mode: int | None = None) -> FileInfo:
    async with files.write(path, mode) as writer:
        await writer.write([content])
        return await writer.commit()


async def read(files: SandboxFiles, path: FilePath) -> bytes:
    async with files.read(path) as reader:
        content = b""
        while piece := await reader.read(len(content), 1 << 20):
            content += piece
        return content


async def names(files: SandboxFiles, path: FilePath = WORK) -> list[str]:
    return [entry.path for entry in (await files.list(FileQuery(path, 1000))).entries]


def archive(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def unpack(files: SandboxFiles, path: FilePath, data: bytes) -> int:
    async with files.unpack(path) as writer:
        for start in range(0, len(data), 70_000):
            await writer.write(data[start : start + 70_000])
        return await writer.finish()


async def pack(files: SandboxFiles, path: FilePath) -> bytes:
    async with files.pack(path) as stream:
        return b"".join([piece async for piece in stream])
