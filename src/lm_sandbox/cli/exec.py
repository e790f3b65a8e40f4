"""`lm-sandbox exec`: run one command in a new sandbox."""

import json
import sys

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.config.settings import Settings

# What shells report for a command that was killed.
KILLED = 137
TIMED_OUT = 124


async def run_command(
    settings: Settings, command: str, timeout_s: float | None, allow: list[str], *, as_json: bool
) -> int:
    """Runs a command, prints what it wrote, and returns its exit status.

    Raises:
        LmSandboxError: it could not be run.
    """
    async with connect(settings) as client:
        new = {"metadata": {"made_for": "exec"}, "egress": _egress(allow)}
        sandbox = (await check(await client.post("/v1/sandboxes", json=new))).json()
        path = f"/v1/sandboxes/{sandbox['id']}"
        try:
            body = {"command": command} | ({} if timeout_s is None else {"timeout_s": timeout_s})
            result = (await check(await client.post(f"{path}/commands", json=body))).json()
        finally:
            await client.delete(path)
    if as_json:
        print(json.dumps(result))  # noqa: T201
    else:
        sys.stdout.write(result["stdout"])
        sys.stderr.write(result["stderr"])
        for limit in result["limits"]:
            sys.stderr.write(f"lm-sandbox: the {limit.replace('_', ' ')} limit was hit\n")
    if result["timed_out"]:
        return TIMED_OUT
    return KILLED if result["exit_code"] is None else int(result["exit_code"])


def _egress(allow: list[str]) -> dict[str, object]:
    return {"mode": "allowlist", "allow": allow} if allow else {}
