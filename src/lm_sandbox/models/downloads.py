"""Pulls models from the Hugging Face hub: a broken-off pull goes on where it was, and checksums are held."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.from_thread
import anyio.to_thread
from pydantic import SecretStr

from lm_sandbox.errors import EngineUnavailable, LmSandboxError, NoCapacity, UpstreamError
from lm_sandbox.models.engine import PullProgress, Tell
from lm_sandbox.models.hardware import MIB
from lm_sandbox.models.hub_files import HubFile, HubSource, choose_files

PIECE = 4 * MIB
STAGING = ".pulling"
SPARE_BYTES = 256 * MIB


class Hub:
    """The Hugging Face hub, or what `HF_ENDPOINT` names.

    Args:
        folder: Where models are put.
        token: For repositories that are not public.
        endpoint: The hub's address; None for the usual one.
    """

    def __init__(self, folder: Path, token: SecretStr | None, endpoint: str | None = None) -> None:
        self._folder = folder
        self._token = token
        self._endpoint = endpoint

    async def pull(self, source: str, tell: Tell) -> None:
        """Gets a model's files into the folder, only when all are whole and as their checksums say.

        Raises:
            Invalid: this is no source, or it has no such model.
            UpstreamError: the hub refuses, or a file came damaged.
            EngineUnavailable: the hub does not answer.
            NoCapacity: the disk has not the room.
        """
        wanted = HubSource.parse(source)
        await tell(PullProgress(f"looking for {wanted.repo}"))
        revision, listed = await anyio.to_thread.run_sync(self._list, wanted.repo)
        files = choose_files(wanted, listed)
        await anyio.to_thread.run_sync(self._make_folder, sum(file.size for file in files))
        teller = _Teller(tell)
        try:
            for file in files:
                work = partial(self._fetch, wanted.repo, revision, file, teller)
                await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        finally:
            teller.stop.set()
        # The first part makes a model of it, so it comes last.
        for file in reversed(files):
            staged = self._staged(wanted.repo, file)
            await anyio.to_thread.run_sync(staged.rename, self._folder / staged.name)
        await tell(PullProgress("success"))

    def _staging(self, repo: str) -> Path:
        return self._folder / STAGING / repo.replace("/", "--")

    def _staged(self, repo: str, file: HubFile) -> Path:
        return self._staging(repo) / file.name

    def _make_folder(self, needed: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if needed + SPARE_BYTES > free:
            raise NoCapacity(
                f"The model takes {needed / MIB:.0f} MiB, and its disk has {free / MIB:.0f} MiB."
            )

    def _list(self, repo: str) -> tuple[str, list[HubFile]]:
        from huggingface_hub import HfApi  # noqa: PLC0415 - takes half a second, and few pull

        with _translated(repo):
            info = HfApi(endpoint=self._endpoint, token=self._secret()).model_info(repo, files_metadata=True)
            files = [
                HubFile(found.rfilename, found.size or 0, found.lfs.sha256 if found.lfs else None)
                for found in info.siblings or ()
            ]
        return info.sha or "main", files

    def _fetch(self, repo: str, revision: str, file: HubFile, teller: "_Teller") -> None:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415

        with _translated(repo):
            hf_hub_download(
                repo,
                file.name,
                revision=revision,
                local_dir=self._staging(repo),
                endpoint=self._endpoint,
                token=self._secret(),
                tqdm_class=teller.bar(file),
            )
        _verify(self._staged(repo, file), file, teller)

    def _secret(self) -> str | bool:
        return self._token.get_secret_value() if self._token else False


class _Stopped(Exception):
    """Nobody waits for the pull any more."""


class _Teller:
    """Tells the event loop from a thread how far it is."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.stop = threading.Event()

    def tell(self, progress: PullProgress) -> None:
        if self.stop.is_set():
            raise _Stopped
        anyio.from_thread.run(self._tell, progress)

    def bar(self, file: HubFile) -> type[Any]:
        """Makes what the hub's client takes for a progress bar."""
        tell = self.tell

        class Bar:
            def __init__(self, *_: object, initial: int = 0, total: int | None = None, **__: object) -> None:
                self.n = initial
                self.total = total or file.size
                self.update(0)

            def update(self, amount: float | None = 1) -> None:
                self.n += int(amount or 0)
                tell(PullProgress(f"pulling {file.name}", self.n, int(self.total)))

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                self.close()

            def close(self) -> None:
                """Nothing is open."""

        return Bar


def _verify(path: Path, file: HubFile, teller: _Teller) -> None:
    """Holds a file to its checksum; a damaged one is removed, so that the next pull begins anew."""
    if file.sha256 is None:
        return
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while piece := opened.read(PIECE):
            digest.update(piece)
            done += len(piece)
            teller.tell(PullProgress("verifying sha256", done, file.size))
    if digest.hexdigest() != file.sha256:
        path.unlink()
        raise UpstreamError(f"{file.name} came damaged, as its checksum says. It was removed; pull it again.")


@contextmanager
def _translated(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        yield
    except (LmSandboxError, _Stopped):
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403, 404}:
            raise UpstreamError(
                f"The hub has no repository {repo!r} for you: it does not exist, or needs "
                "llamacpp.hub_token and its conditions accepted.",
                status=404,
            ) from error
        raise UpstreamError(f"The hub answered {status}: {error.server_message or 'no message'}") from error
    except Exception as error:
        raise EngineUnavailable(
            "The hub does not answer or broke off; pull again, and it goes on where it was."
        ) from error
