"""Which web pages may open WebSockets."""

import pytest
from starlette.requests import HTTPConnection

from lm_sandbox.errors import Forbidden
from lm_sandbox.surfaces.origins import Origins

HOST = "box.local:8000"


def connection(origin: str | None, host: str = HOST) -> HTTPConnection:
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin is not None else [])
    return HTTPConnection({"type": "websocket", "headers": headers})


@pytest.mark.parametrize(
    "origin",
    [
        None,
        f"http://{HOST}",
        f"https://{HOST}",
        "http://BOX.local:8000",
        "https://tools.example",
        "https://TOOLS.example",
    ],
)
def test_own_pages_and_named_ones_pass(origin: str | None) -> None:
    Origins(["https://tools.example/"]).check(connection(origin))


@pytest.mark.parametrize(
    "origin",
    [
        "", "null", "http://box.local", "http://box.local:80000", "http://evil.test", f"http://{HOST}.evil.test", "file://",
        f"http://evil.test@{HOST}", f"chrome-extension://{HOST}", "http://tools.example", "https://tools.example.evil.test",
        f"http://evil.test/{HOST}", "http://", f"//{HOST}", "http://[::1",
    ],
)  # fmt: skip
def test_others_are_refused(origin: str) -> None:
    with pytest.raises(Forbidden, match="allowed_origins"):
        Origins(["https://tools.example"]).check(connection(origin))


def test_nothing_is_not_a_host() -> None:
    with pytest.raises(Forbidden):
        Origins([]).check(connection("http://", host=""))
