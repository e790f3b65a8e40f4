"""What FastAPI and uvicorn cost by themselves: no key, no limits, no audit, no sandbox."""

import asyncio

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
SANDBOX: dict[str, object] = {}


class Command(BaseModel):
    """What to run."""

    command: str


@app.get("/healthz")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.put("/sandbox")
async def keep(body: dict[str, object]) -> None:
    SANDBOX.update(body)


@app.get("/sandbox")
async def sandbox() -> dict[str, object]:
    return SANDBOX


@app.post("/commands")
async def run(command: Command) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        "/bin/bash",
        "-c",
        command.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return {"stdout": out.decode(), "stderr": error.decode(), "exit_code": process.returncode}
