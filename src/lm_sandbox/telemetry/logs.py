"""The log of a server: one line a request, one a command, and what modules log.

On a terminal lines are for people, elsewhere JSON in the Elastic Common Schema. A thread writes them, and
whoever reads them cannot hold the server up: lines that cannot be written in time are left out and counted.
"""

import logging
import re
import traceback
from collections.abc import Mapping
from queue import Full, Queue
from threading import Thread
from time import sleep
from typing import Self, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from lm_sandbox.config.insight import LogFormat, LogSettings
from lm_sandbox.telemetry.ecs import Fields, Line, line_of, line_of_record
from lm_sandbox.telemetry.happenings import ORIGIN, Happening, Origin

MOST_WAITING = 10_000
GATHER_S = 0.05
LEAVE_S = 5.0
# What would end a line, move the cursor, or turn the direction of what stands behind it.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
OWN = logging.getLogger("lm_sandbox")
LEVELS = {name: number for name, number in logging.getLevelNamesMapping().items() if name.isupper()}

Item = Happening | tuple[logging.LogRecord, Origin] | None


class _DocumentLogger(structlog.BoundLoggerBase):
    """Writes whole documents."""

    def write(self, document: Fields) -> None:
        self._proxy_to_logger("msg", document=document)


class Logs(logging.Handler):
    """Listens to what happens and to what modules log, and writes it down.

    Args:
        settings: What is written, and how.
        stream: Where to.
    """

    def __init__(self, settings: LogSettings, stream: TextIO) -> None:
        super().__init__(LEVELS[settings.level.upper()])
        pretty = settings.format is LogFormat.PRETTY
        if settings.format is LogFormat.AUTO:
            pretty = stream.isatty()
        processors: list[Processor] = [
            _unwrapped,
            _for_people,
            structlog.dev.ConsoleRenderer(colors=stream.isatty()),
        ]
        if not pretty:
            processors = [_unwrapped, structlog.processors.JSONRenderer(ensure_ascii=True)]
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream), processors=processors, wrapper_class=_DocumentLogger
        )
        self._queue: Queue[Item] = Queue(MOST_WAITING)
        self._left_out = 0
        self._thread = Thread(target=self._write_for_ever, name="log", daemon=True)

    def __enter__(self) -> Self:
        """Takes the place of all other handlers."""
        self._thread.start()
        # Libraries tell too much below a warning, such as addresses that hold secrets.
        logging.basicConfig(handlers=[self], level=max(self.level, logging.WARNING), force=True)
        OWN.setLevel(self.level)
        return self

    def __exit__(self, *exc: object) -> None:
        """Writes what waits, for a few seconds."""
        logging.getLogger().removeHandler(self)
        OWN.setLevel(logging.NOTSET)
        self._put(None)
        self._thread.join(LEAVE_S)

    def __call__(self, happening: Happening) -> None:
        """Takes what has happened."""
        self._put(happening)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes what a module has logged."""
        self._put((record, ORIGIN.get()))

    def _put(self, item: Item) -> None:
        try:
            self._queue.put_nowait(item)
        except Full:
            self._left_out += 1

    def _write_for_ever(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._queue.empty():
                # Waking for each line would cost those who serve more than the lines themselves.
                sleep(GATHER_S)
            line = _line(item)
            if line is None or line.level < self.level:
                continue
            try:
                self._log.write(self._counted(line.document()))
            except Exception:  # noqa: BLE001 - whatever the stream does, the thread must live
                self._left_out += 1

    def _counted(self, document: Fields) -> Fields:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            document["labels"] = {**_labels(document), "lines_left_out": str(count)}
        return document


def _line(item: Happening | tuple[logging.LogRecord, Origin]) -> Line | None:
    if isinstance(item, Happening):
        return line_of(item)
    record, origin = item
    trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
    return line_of_record(record, origin, trace)


def _labels(document: Mapping[str, object]) -> dict[str, object]:
    labels = document.get("labels")
    return labels if isinstance(labels, dict) else {}


def _unwrapped(logger: WrappedLogger, name: str, wrapped: EventDict) -> EventDict:
    """ECS has an `event` that is not structlog's."""
    del logger, name
    document: EventDict = wrapped["document"]
    return document


def _for_people(logger: WrappedLogger, name: str, document: EventDict) -> EventDict:
    """Keeps what people look for, and nothing that a terminal would obey."""
    del logger, name
    http, error = document.get("http", {}), document.get("error", {})
    shown: EventDict = {
        "timestamp": document["@timestamp"][11:23],
        "level": document["log.level"],
        "event": _plain(document["message"]),
    }
    told = {
        "request": http.get("request", {}).get("id"),
        "user": document.get("user", {}).get("name"),
        "from": document.get("source", {}).get("address"),
        "error": error.get("code"),
        "left_out": _labels(document).get("lines_left_out"),
    }
    shown.update({name: _plain(str(value)) for name, value in told.items() if value})
    if "stack_trace" in error:
        lines = error["stack_trace"].splitlines()
        shown["exception"] = "\n".join(map(_plain, lines))
    return shown


def _plain(text: str) -> str:
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
