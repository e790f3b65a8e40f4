"""What a server takes for streams in which nothing happens. usage: python -m benchmarks.idle_streams [--streams N].

A scripted engine begins every answer and then says nothing; each stream is a chat completion over a
connection of its own. Memory is the PSS of the server, before and while they all wait.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.chatting import load
from benchmarks.commands import server
from benchmarks.load import pss, server_of

BEGUN = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]}\n\n'
LISTING = b'{"object": "list", "data": [{"id": "silent"}]}'
AT_ONCE = 50


@asynccontextmanager
async def silent_engine() -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            kind, length = b"application/json", b"content-length: %d\r\nconnection: close\r\n" % len(LISTING)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\n" + length + b"\r\n" + LISTING)
            await writer.drain()
            writer.close()
            return
        chunk = b"%x\r\n%s\r\n" % (len(BEGUN), BEGUN)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        writer.write(chunk)
        await writer.drain()
        while await reader.read(4096):
            continue
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def begin(client: httpx.AsyncClient, turns: asyncio.Semaphore) -> asyncio.StreamWriter:
    """Opens a stream and reads as far as its first event."""
    body = json.dumps({"model": "silent", "messages": [{"role": "user", "content": "x"}], "stream": True})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: {client.headers['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with turns:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write((head + body).encode())
        await reader.readuntil(b'"content": "x"')
    return writer


async def measure(count: int) -> None:
    async with silent_engine() as url:
        settings = {
            "LM_SANDBOX_ENGINES__SILENT__BASE_URL": url,
            "LM_SANDBOX_ENGINES__SILENT__TIMEOUT_S": "3600",
            "LM_SANDBOX_LIMITS__ADDRESS_CONNECTIONS": "0",
            "LM_SANDBOX_LIMITS__ADDRESS_REQUESTS_PER_MINUTE": "0",
            "LM_SANDBOX_QUOTAS__REQUESTS_PER_MINUTE": "0",
            "LM_SANDBOX_SANDBOX__WARM": "0",
        }
        async with server(settings) as client:
            pid, turns = server_of(client.base_url.port or 0), asyncio.Semaphore(AT_ONCE)
            writers = [await begin(client, turns)]
            before = pss(pid)
            writers += await asyncio.gather(*(begin(client, turns) for _ in range(count)))
            after = pss(pid)
            for writer in writers:
                writer.close()
    print("| what | measured |\n| --- | ---: |")
    print(f"| PSS of the server with one stream | {before / 1e6:.1f} MB |")
    print(f"| more with {count} idle streams | {(after - before) / 1e6:.1f} MB |")
    print(f"| each | {(after - before) / count / 1e3:.1f} KB |")
    print(f"\n{load()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    asyncio.run(measure(parser.parse_args().streams))


if __name__ == "__main__":
    main()
