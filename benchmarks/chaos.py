"""Kills a server under mixed load, again and again, and looks whether anything that it acknowledged is lost.

usage: python -m benchmarks.chaos [--rounds 200] [--seed 1] [--database postgresql://...]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.reading import Query, search
from lm_sandbox.audit.verification import verify

KEY = "a-key-for-rounds-of-chaos"
START_S = 120
CLIENTS = 4
# After so many acknowledgements a server is killed.
LEAST, MOST = 20, 80


@dataclass(slots=True)
class Promises:
    """What was acknowledged and must be there; what was asked for and not answered may be there or not.

    Attributes:
        keys: Ids of keys.
        uploads: Contents by id; None for what was deleted.
        sandboxes: Ids of those that are there; False for those that were deleted.
        files: Contents by their paths.
        commands: What each has to write, by its path.
        changes: Request ids of what an admin changed.
    """

    keys: set[str] = field(default_factory=set)
    uploads: dict[str, bytes | None] = field(default_factory=dict)
    sandboxes: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    changes: set[str] = field(default_factory=set)

    def count(self) -> Counter[str]:
        """Tells how many of each there are."""
        return Counter({name: len(getattr(self, name)) for name in self.__slots__})


class Client(threading.Thread):
    """Asks for things until the server is gone."""

    def __init__(self, url: str, promises: Promises, seed: int) -> None:
        super().__init__()
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        self._promises = promises
        self._random = random.Random(seed)  # noqa: S311 - a seed that gives the same again
        self._own: list[str] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        kinds: list[Callable[[], None]] = [
            self._key,
            self._upload,
            self._drop,
            self._file,
            self._command,
            self._remove,
        ]
        try:
            self._make()
            while True:
                self._random.choice([*kinds, self._make])()
        except httpx.TransportError:
            return  # It was killed.
        except Exception as error:  # noqa: BLE001 - told at the end of the round
            self.failure = error
        finally:
            self._http.close()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        answer = self._http.request(method, path, **more)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    def _key(self) -> None:
        answer = self._ask("POST", "/v1/keys", json={"name": "chaos", "scopes": ["models"]})
        self._promises.keys.add(answer.json()["id"])
        self._promises.changes.add(answer.headers["x-request-id"])

    def _upload(self) -> None:
        content = self._random.randbytes(self._random.randrange(1, 20_000))
        form = {"file": ("a", content), "purpose": (None, "user_data")}
        self._promises.uploads[self._ask("POST", "/v1/files", files=form).json()["id"]] = content

    def _drop(self) -> None:
        mine = [one for one, content in list(self._promises.uploads.items()) if content is not None]
        if mine:
            chosen = self._random.choice(mine)
            # Asked for: from now on it may be gone.
            if self._promises.uploads.pop(chosen, None) is not None:
                self._ask("DELETE", f"/v1/files/{chosen}")
                self._promises.uploads[chosen] = None

    def _make(self) -> None:
        if len(self._own) < 3:
            made = f"/v1/sandboxes/{self._ask('POST', '/v1/sandboxes', json={}).json()['id']}"
            self._own.append(made)
            self._promises.sandboxes[made] = True

    def _file(self) -> None:
        path = f"{self._random.choice(self._own)}/files/workspace/f{self._random.randrange(1_000_000)}"
        content = self._random.randbytes(self._random.randrange(1, 50_000))
        self._ask("PUT", path, content=content)
        self._promises.files[path] = content

    def _command(self) -> None:
        box, count = self._random.choice(self._own), self._random.randrange(1, 60)
        # It ends when it is told to: how one ended in the moment of the kill itself may not be known.
        script = (
            f"for i in $(seq {count}); do echo $i; sleep 0.01; done; until [ -e go ]; do sleep 0.02; done"
        )
        body = {"command": script, "background": True}
        made = self._ask("POST", f"{box}/commands", json=body).json()["id"]
        self._promises.commands[f"{box}/commands/{made}"] = "".join(f"{i + 1}\n" for i in range(count))

    def _remove(self) -> None:
        if len(self._own) > 1:
            box = self._own.pop(0)
            self._forget(box)
            self._ask("DELETE", box)
            self._promises.sandboxes[box] = False

    def _forget(self, box: str) -> None:
        self._promises.sandboxes.pop(box)
        for kept in (self._promises.files, self._promises.commands):
            for path in [one for one in list(kept) if one.startswith(f"{box}/")]:
                kept.pop(path)


class Chaos:
    """Rounds over one data directory and database.

    Args:
        env: Of the servers.
        seed: What is done, and when it ends.
    """

    def __init__(self, env: dict[str, str], seed: int) -> None:
        self._env = {**env, "LM_SANDBOX_API_KEY": KEY, "LM_SANDBOX_LOG__LEVEL": "error"}
        self._data = Path(env["LM_SANDBOX_DATA_DIR"])
        self._random = random.Random(seed)  # noqa: S311 - a seed that gives the same again
        self._changes: set[str] = set()
        self.total: Counter[str] = Counter()

    def round(self) -> None:
        """Loads a server, kills it, and has the next one show what was acknowledged.

        Raises:
            AssertionError: something is lost, or the chain is broken.
        """
        promises = Promises()
        with self._server() as (process, url):
            clients = [Client(url, promises, self._random.randrange(1 << 30)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            wanted = self._random.randrange(LEAST, MOST)
            while sum(promises.count().values()) < wanted and any(one.is_alive() for one in clients):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for client in clients:
                client.join()
        failures = [client.failure for client in clients if client.failure is not None]
        assert not failures, failures
        self._changes |= promises.changes
        self.total += promises.count()
        with self._server() as (_, url), httpx.Client(base_url=url, timeout=60) as http:
            http.headers["Authorization"] = f"Bearer {KEY}"
            self._check(http, promises)
            listed = http.get("/v1/sandboxes", params={"limit": 100}).json()["data"]
            for box in listed:
                assert http.delete(f"/v1/sandboxes/{box['id']}").status_code == 204
        self.check_left()

    def _check(self, http: httpx.Client, promises: Promises) -> None:
        for key in promises.keys:
            assert http.get(f"/v1/keys/{key}").is_success, f"the key {key} is lost"
        for upload, content in promises.uploads.items():
            answer = http.get(f"/v1/files/{upload}/content")
            assert answer.status_code == 404 if content is None else answer.content == content, (
                f"{upload} is lost"
            )
        for box, there in promises.sandboxes.items():
            answer = http.get(box)
            assert answer.is_success is there, f"{box}: {answer.status_code} {answer.text}"
            assert not there or answer.json()["state"] == "running", answer.text
        for path, content in promises.files.items():
            assert http.get(path).content == content, f"{path} is lost"
        for box in {command.partition("/commands")[0] for command in promises.commands}:
            assert http.put(f"{box}/files/workspace/go", content=b"").is_success
        for command, output in promises.commands.items():
            found = http.get(command, params={"wait_s": 30}).json()
            assert (found.get("exit_code"), found.get("stdout")) == (0, output), f"{command}: {found}"

    def check_left(self) -> None:
        """Looks what a server that was stopped in order has left: nothing but what it keeps."""
        report = verify(audit_folder(self._data))
        assert report.whole, report.findings
        recorded = {
            record["request"]
            for record in search(audit_folder(self._data), Query(kind="admin"), 10**6).records
        }
        assert self._changes <= recorded, f"{len(self._changes - recorded)} changes are not in the audit"
        for name in ("launchers", "spool", "servers"):
            left = [path.name for path in (self._data / name).iterdir() if path.name != "lock"]
            assert not left, f"{name}: {left}"

    @contextmanager
    def _server(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        program = str(Path(sys.executable).with_name("lm-sandbox"))
        process = subprocess.Popen(
            [program, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env=self._env
        )
        try:
            assert process.stdout is not None
            url = next(line for line in process.stdout if "serves on" in line).split()[3]
            yield process, url
        finally:
            process.terminate()
            process.communicate(timeout=START_S)


def environment(data: Path, database: str | None) -> dict[str, str]:
    """The environment of the servers."""
    nowhere = "http://127.0.0.1:9"
    env = {
        **os.environ,
        "LM_SANDBOX_DATA_DIR": str(data),
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": nowhere,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": nowhere,
    }
    return env | ({"LM_SANDBOX_DATABASE__URL": database} if database else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lm-sandbox-chaos-") as data:
        chaos = Chaos(environment(Path(data), given.database), given.seed)
        began = time.monotonic()
        for number in range(1, given.rounds + 1):
            chaos.round()
            told = ", ".join(f"{count} {name}" for name, count in chaos.total.items())
            print(f"round {number}: {told}; {time.monotonic() - began:.0f} s", flush=True)
    print("nothing that was acknowledged is lost, every chain holds, nothing is left behind")


if __name__ == "__main__":
    main()
