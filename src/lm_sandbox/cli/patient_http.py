"""HTTP/1.1 as uvicorn speaks it, but not without end for who says nothing, or nothing that gets anywhere."""

from asyncio import BaseTransport, TimerHandle, Transport
from collections import Counter
from collections.abc import Collection
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 15.0
HEAD_BYTES = 64 * 1024
TOO_LONG = "The head of the request is too long."


class Connections:
    """How many connections each address has.

    Args:
        most: From one address at once; 0 is no limit.
        exempt: Addresses that may have more, such as a proxy's.
    """

    def __init__(self, most: int = 0, exempt: Collection[str] = ()) -> None:
        self._most = most
        self._exempt = exempt
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Counts one more, and tells whether it may stay."""
        self._open[address] += 1
        return not self._most or self._open[address] <= self._most or address in self._exempt

    def leave(self, address: str) -> None:
        """Counts one less."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class PatientHttp(HttpToolsProtocol):
    """One connection.

    Attributes:
        connections_of_server: All that the server has.
        head_s: How long the head of a request may take, in seconds, from the connection or the answer
            before it; also what follows an answer that was given before the end of the body.
    """

    connections_of_server: ClassVar = Connections()
    head_s: ClassVar[float] = HEAD_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._address: str | None = None
        self._timer: TimerHandle | None = None
        self._in_head = True
        # Bytes of a head, of trailers or between chunks, which the parser keeps without a limit of its own.
        self._unfinished = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Begins."""
        super().connection_made(transport)  # type: ignore[arg-type] # as uvicorn names it
        self._address = self.client[0] if self.client else ""
        if self.connections_of_server.enter(self._address):
            self._watch()
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Goes on."""
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(TOO_LONG)
        self._watch()

    def on_message_begin(self) -> None:
        """Begins a request."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a field of the head; what comes after the body says nothing of a request that is at work."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Ends the head."""
        self._in_head = False
        self._unfinished = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request."""
        self._unfinished = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over."""
        self._leave()
        super().handle_websocket_upgrade()

    def _watch(self) -> None:
        """Runs the time while something is awaited that nobody has a use for but its sender."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None and self._address is not None:
            self._timer = self.loop.call_later(self.head_s, _abort, self.transport)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self) -> None:
        self._unwatch()
        if self._address is not None:
            self.connections_of_server.leave(self._address)
            self._address = None


def patient_http(connections: Connections, head_s: float = HEAD_S) -> type[PatientHttp]:
    """Makes the protocol of one server."""
    return type("ServedHttp", (PatientHttp,), {"connections_of_server": connections, "head_s": head_s})


def _abort(transport: Transport) -> None:
    if not transport.is_closing():
        transport.abort()
