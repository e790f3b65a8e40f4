"""What the launcher asks of the engine when no server is there. Standard library only.

HTTP/1.0, so that every answer ends with its connection. Source: the Docker Engine API, version 1.41.
"""

import json
import socket
import time
from typing import Any
from urllib.parse import quote

ANSWER_S = 60.0
# An engine that restarts is waited for.
PATIENCE_S = 600.0
PAUSE_S = 0.5


def ask(engine: str, method: str, target: str) -> tuple[int, bytes]:
    """Asks once, and returns the status and the body.

    Raises:
        OSError: it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(engine)
        connection.sendall(f"{method} {target} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 - the version and the status
        raise OSError("no answer")
    return int(words[1]), body


def remove_labelled(engine: str, labels: set[str]) -> None:
    """Removes every container with one of the labels, as soon as the engine answers."""
    end = time.monotonic() + PATIENCE_S
    left = set(labels)
    while left and time.monotonic() < end:
        for label in labels & left:
            try:
                found = _labelled(engine, label)
                for container in found:
                    ask(engine, "DELETE", f"/containers/{container}?force=true&v=true")
            except (OSError, ValueError):
                found = ["unknown"]
            if not found:
                left.remove(label)
        if left:
            time.sleep(PAUSE_S)


def exit_code(engine: str, program: str) -> int | None:
    """Waits until an exec has ended, and returns its exit code; None where the engine knows it no more."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            status, body = ask(engine, "GET", f"/exec/{program}/json")
            if status == 200:  # noqa: PLR2004 - of HTTP
                told: dict[str, Any] = json.loads(body)
                if not told["Running"] and told["ExitCode"] is not None:
                    return int(told["ExitCode"])
            elif status < 500:  # noqa: PLR2004 - of HTTP
                return None
        except (OSError, ValueError):
            pass  # It restarts.
        time.sleep(PAUSE_S / 10)
    return None


def _labelled(engine: str, label: str) -> list[str]:
    filters = quote(json.dumps({"label": [label]}))
    status, body = ask(engine, "GET", f"/containers/json?all=true&filters={filters}")
    if status != 200:  # noqa: PLR2004 - of HTTP
        raise OSError("refused")
    return [one["Id"] for one in json.loads(body)]
