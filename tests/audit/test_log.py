"""The audit as a server uses it: cheap to add to, on the disk when it says so, and killed at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.log import AuditLog
from lm_sandbox.audit.reading import Query, search
from lm_sandbox.audit.redaction import Redactor
from lm_sandbox.audit.store import AuditStore
from lm_sandbox.audit.verification import verify
from lm_sandbox.config.insight import AuditSettings
from lm_sandbox.errors import AuditUnavailable

pytestmark = pytest.mark.anyio


def new_log(folder: Path) -> AuditLog:
    return AuditLog(AuditStore(folder, AuditSettings(), Redactor()), 300)


def kinds(folder: Path) -> list[str]:
    return [record["kind"] for record in reversed(search(folder, Query(), 1000).records)]


async def test_what_was_added_is_on_the_disk_after_a_flush_and_signed_at_the_end(tmp_path: Path) -> None:
    async with new_log(tmp_path / "audit") as log:
        log.add(Entry("one", time.time()))
        await log.flush()
        assert kinds(tmp_path / "audit") == ["one"]
        log.add(Entry("two", time.time()))
    assert kinds(tmp_path / "audit") == ["one", "two", "audit.checkpoint"]
    assert verify(tmp_path / "audit").whole


async def test_adding_takes_microseconds(tmp_path: Path) -> None:
    async with new_log(tmp_path / "audit") as log:
        taken = []
        for _ in range(2000):
            entry = Entry("one", time.time(), what={"text": "echo hi"})
            started = time.perf_counter()
            log.add(entry)
            taken.append(time.perf_counter() - started)
    assert sorted(taken)[len(taken) // 2] < 50e-6
    assert verify(tmp_path / "audit").records > 2000


async def test_a_full_disk_is_told_and_afterwards_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_log(tmp_path / "audit") as log:
        sync = os.fdatasync
        full = True

        def fdatasync(descriptor: int) -> None:
            if full:
                raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        log.add(Entry("one", time.time()))
        with pytest.raises(AuditUnavailable, match="No space left"):
            await log.flush()
        with pytest.raises(AuditUnavailable):
            log.require()
        log.add(Entry("two", time.time()))
        full = False
        await log.flush()
        log.require()
    assert kinds(tmp_path / "audit") == ["one", "two", "audit.checkpoint"]
    assert verify(tmp_path / "audit").whole


async def test_a_folder_that_cannot_be_written_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    with pytest.raises(AuditUnavailable):
        async with new_log(tmp_path / "audit"):
            pytest.fail("it has started")


WRITER = """
import asyncio, itertools, sys, time
from pathlib import Path
from typing import Any
from tests.audit.test_log import new_log
from lm_sandbox.audit.entry import Entry

async def main():
    async with new_log(Path(sys.argv[1])) as log:
        for number in itertools.count():
            for _ in range(50):
                log.add(Entry("load", time.time(), what={"text": "x" * 2000, "number": number}))
            await log.flush()
            print(number, flush=True)

asyncio.run(main())
"""


def writer(folder: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=env
    )


async def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    acknowledged: list[int] = []
    for count in (1, 4):
        running = [writer(folder) for _ in range(2)]
        for process in running:
            assert process.stdout is not None
            for _ in range(count):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            acknowledged.append(int(rest[-1]) if rest else last)
    async with new_log(folder):
        report = verify(folder)
    assert report.whole, report.findings
    there = [record["what"]["number"] for record in records(folder) if record["kind"] == "load"]
    assert len(there) >= sum(50 * (last + 1) for last in acknowledged)


def records(folder: Path) -> list[dict[str, Any]]:
    return list(search(folder, Query(), 100_000).records)


async def test_the_oldest_and_the_newest_are_found_page_by_page(tmp_path: Path) -> None:
    async with new_log(tmp_path / "audit") as log:
        for number in range(500):
            log.add(
                Entry(
                    "a.b" if number % 2 else "c",
                    time.time(),
                    "key_1",
                    "me",
                    what={"text": "y" * 900, "n": number},
                )
            )
    found: list[int] = []
    query = Query(kind="a", who="me", text="YYY")
    while True:
        page = search(tmp_path / "audit", query, 33)
        found += [record["what"]["n"] for record in page.records]
        if page.next_before is None:
            break
        query = Query(kind="a", who="me", text="YYY", before=page.next_before)
    assert found == list(range(499, 0, -2))
    assert search(tmp_path / "audit", Query(after=499), 10).records[-1]["seq"] == 500
