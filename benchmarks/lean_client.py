"""An HTTP client that costs as little as it can, so that what is measured is the server.

It keeps one connection, and reads only answers with a `Content-Length`.
"""

import asyncio
import json
from urllib.parse import urlsplit


class LeanClient:
    """One connection to a server.

    Args:
        url: The server.
        key: Sent as a Bearer token, where there is one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = f"Host: {parts.netloc}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        """Ends the connection."""
        if self._streams is not None:
            self._streams[1].close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A server closes connections that rest for some seconds.
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams

    def written(self, method: str, path: str, body: object = None) -> bytes:
        """Writes a request, to be sent many times."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if content else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{kind}Content-Length: {len(content)}\r\n\r\n"
        return head.encode() + content

    async def ask(self, request: bytes) -> bytes:
        """Sends a request and returns the body of the answer, which has to be a good one."""
        reader, writer = await self._connected()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        start = lowered.index(b"content-length:") + len(b"content-length:")
        body = await reader.readexactly(int(lowered[start : lowered.index(b"\r\n", start)]))
        assert head.startswith(b"HTTP/1.1 2"), (head, body)
        return body
