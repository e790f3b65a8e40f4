"""Name look-ups as they come in, over UDP and TCP."""

from contextlib import suppress

import anyio
from anyio.abc import ByteStream, UDPSocket

from lm_sandbox.sandboxes.proxying.dns import LARGEST_QUERY, answer, parse_query
from lm_sandbox.sandboxes.proxying.gate import Gate
from lm_sandbox.sandboxes.proxying.relay import GONE

LENGTH_BYTES = 2
IDLE_S = 10.0


class DnsDoor:
    """Answers look-ups by the policy alone.

    Args:
        gate: Knows the policy.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def serve_packets(self, sock: UDPSocket) -> None:
        """Answers for as long as the socket is open."""
        async with sock:
            async for packet, sender in sock:
                reply = self._answer(packet)
                if reply is not None:
                    with suppress(OSError):
                        await sock.sendto(reply, *sender)

    async def serve(self, stream: ByteStream) -> None:
        """Answers what comes over one connection."""
        data = b""
        with anyio.move_on_after(IDLE_S) as idle:
            try:
                while len(data) <= LARGEST_QUERY:
                    data += await stream.receive(LARGEST_QUERY)
                    while (reply := self._take(data)) is not None:
                        data = data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES]) :]
                        await stream.send(len(reply).to_bytes(LENGTH_BYTES) + reply)
                        idle.deadline = anyio.current_time() + IDLE_S
            except (anyio.EndOfStream, *GONE):
                return

    def _take(self, data: bytes) -> bytes | None:
        size = int.from_bytes(data[:LENGTH_BYTES])
        if len(data) < LENGTH_BYTES + size or len(data) < LENGTH_BYTES:
            return None
        return self._answer(data[LENGTH_BYTES : LENGTH_BYTES + size])

    def _answer(self, packet: bytes) -> bytes | None:
        query = parse_query(packet)
        if query is None:
            return None
        known = self._gate.is_known(query.name)
        if not known:
            self._gate.note(query.name[:253], "The look-up of this name is denied: no rule names it.")
        return answer(query, known=known)
