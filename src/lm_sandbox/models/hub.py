"""Pulls models from the Hugging Face hub."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import SecretStr

from lm_sandbox.errors import EngineUnavailable, NoCapacity, UpstreamError
from lm_sandbox.models.downloads import Download, download
from lm_sandbox.models.engine import PullProgress, Tell
from lm_sandbox.models.hardware import MIB
from lm_sandbox.models.hub_files import HubFile, HubSource, choose_files

STAGING = ".pulling"
SPARE_BYTES = 256 * MIB
NOT_FOR_YOU = frozenset({401, 403, 404})


class Hub:
    """The Hugging Face hub, or what `HF_ENDPOINT` names.

    Args:
        folder: Where models are put.
        token: For repositories that are not public; `HF_TOKEN` is read too.
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
            Conflict: it is being pulled already.
            UpstreamError: the hub refuses, or a file came damaged.
            EngineUnavailable: the hub does not answer.
            NoCapacity: the disk has not the room.
        """
        wanted = HubSource.parse(source)
        await tell(PullProgress(f"looking for {wanted.repo}"))
        revision, listed = await anyio.to_thread.run_sync(self._list, wanted.repo, abandon_on_cancel=True)
        files = choose_files(wanted, listed)
        downloads = [self._download(wanted.repo, revision, file) for file in files]
        await anyio.to_thread.run_sync(self._make_room, downloads)
        for one in downloads:
            await download(one, tell)
        # The first part makes a model of it, so it comes last.
        for one in reversed(downloads):
            await anyio.to_thread.run_sync(one.path.rename, self._folder / one.path.name)
        await tell(PullProgress("success"))

    def _list(self, repo: str) -> tuple[str, list[HubFile]]:
        from huggingface_hub import HfApi  # noqa: PLC0415 - takes half a second, and few pull

        with _translated(repo):
            info = HfApi(endpoint=self._endpoint, token=self._secret()).model_info(repo, files_metadata=True)
            files = [
                HubFile(found.rfilename, found.size or 0, found.lfs.sha256 if found.lfs else None)
                for found in info.siblings or ()
            ]
        return info.sha or "main", files

    def _download(self, repo: str, revision: str, file: HubFile) -> Download:
        from huggingface_hub import get_token, hf_hub_url  # noqa: PLC0415

        token = self._secret() or get_token()
        staging = self._folder / STAGING / repo.replace("/", "--")
        return Download(
            name=file.name,
            url=hf_hub_url(repo, file.name, revision=revision, endpoint=self._endpoint),
            path=staging / file.name.rpartition("/")[2],
            size=file.size,
            sha256=file.sha256,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def _make_room(self, downloads: list[Download]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        here = sum(one.part.stat().st_size for one in downloads if one.part.exists())
        needed = sum(one.size for one in downloads) - here
        free = shutil.disk_usage(self._folder).free
        if needed + SPARE_BYTES > free:
            raise NoCapacity(
                f"The model takes {needed / MIB:.0f} MiB more, and its disk has {free / MIB:.0f} MiB."
            )

    def _secret(self) -> str | None:
        return self._token.get_secret_value() if self._token else None


@contextmanager
def _translated(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in NOT_FOR_YOU:
            raise UpstreamError(
                f"The hub has no repository {repo!r} for you: it does not exist, or needs "
                "llamacpp.hub_token and its conditions accepted.",
                status=404,
            ) from error
        raise UpstreamError(f"The hub answered {status}: {error.server_message or 'no message'}") from error
    except Exception as error:
        raise EngineUnavailable("The hub does not answer; try again later.") from error
