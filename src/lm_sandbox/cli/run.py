"""`lm-sandbox run`: ask the model, and watch it use a sandbox."""

import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import ModelNotFound

LABEL = 9
EXAMPLES = (
    "Which Linux is this?",
    "what is 437 * 91?",
    "make a folder called x and list it",
    "how many lines are in /etc/passwd?",
)

Event = dict[str, Any]


async def run_prompt(settings: Settings, prompt: str, model: str | None, *, as_json: bool) -> int:
    """Runs one prompt and prints what happens; returns the exit status.

    Raises:
        LmSandboxError: the run could not be started.
    """
    async with connect(settings) as client:
        chosen = await _choose(client, model)
        request = {"model": chosen["id"], "input": prompt, "tools": [{"type": "shell"}], "stream": True}
        printer = _JsonPrinter() if as_json else _Printer(prompt, chosen)
        printer.start()
        async with client.stream("POST", "/v1/responses", json=request) as answer:
            await check(answer)
            async for event in _events(answer):
                if _sandbox_of(event) not in {"", printer.sandbox}:
                    made = await client.get(f"/v1/sandboxes/{_sandbox_of(event)}")
                    printer.in_sandbox((await check(made)).json())
                printer.event(event)
        if printer.sandbox:
            await client.delete(f"/v1/sandboxes/{printer.sandbox}")
        printer.end()
        return 0 if printer.status == "completed" else 1


async def _choose(client: httpx.AsyncClient, model: str | None) -> dict[str, Any]:
    if model is not None:
        return dict((await check(await client.get(f"/v1/models/{model}"))).json())
    rows = (await check(await client.get("/v1/models"))).json()["data"]
    default = next((row for row in rows if row["default"]), None)
    if default is None:
        raise ModelNotFound("default", [row["id"] for row in rows])
    return dict(default)


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line[len("data:") :])


class _JsonPrinter:
    """One line of JSON an event, for programs."""

    def __init__(self) -> None:
        self.sandbox = ""
        self.status = ""

    def start(self) -> None:
        """Nothing comes before the first event."""

    def in_sandbox(self, sandbox: dict[str, Any]) -> None:
        """A sandbox is used from now on."""
        self.sandbox = sandbox["id"]

    def event(self, event: Event) -> None:
        """Something happened."""
        self.status = event.get("response", {}).get("status", self.status)
        print(json.dumps(event), flush=True)  # noqa: T201

    def end(self) -> None:
        """Nothing comes after the last event."""


class _Printer(_JsonPrinter):
    """The run as people read it, with how long each part took."""

    def __init__(self, prompt: str, model: dict[str, Any]) -> None:
        super().__init__()
        self._console = Console(highlight=False)
        self._prompt = prompt
        self._model = model
        self._began = self._last = perf_counter()
        self._answer: list[str] = []
        self._streamed = False

    def start(self) -> None:
        kind = "demo model" if self._model["demo"] else "model"
        self._line("prompt", self._prompt)
        self._line("model", f"{self._model['id']} ({kind}, engine {self._model['owned_by']})")

    def in_sandbox(self, sandbox: dict[str, Any]) -> None:
        super().in_sandbox(sandbox)
        held = sandbox["enforced"]
        confined = "system calls filtered" if held["seccomp"] else "no system call filter"
        self._line(
            "sandbox",
            f"{sandbox['id']} ({held['driver']}, host user {held['host_uid']}, "
            f"network {held['network']}, {confined})",
        )

    def event(self, event: Event) -> None:
        self.status = event.get("response", {}).get("status", self.status)
        kind = event["type"].removeprefix("response.")
        handler = {
            "shell_call_command.done": self._command,
            "shell_call_output_content.delta": self._output,
            "shell_call_output_content.done": self._finished,
            "output_text.delta": self._text,
            "failed": self._failed,
            "incomplete": self._incomplete,
        }.get(kind)
        if handler is not None:
            handler(event)

    def end(self) -> None:
        answer = "".join(self._answer)
        if answer:
            self._line("answer", answer, self._lap(), style="bold green")
        self._line("total", f"{perf_counter() - self._began:.2f} s", style="dim")
        if self._model["demo"]:
            self._console.print(
                f"\n[dim]nano is a tiny demo model. Try: {escape(' / '.join(EXAMPLES))}\n"
                "For real work start Ollama or LM Studio, or put a GGUF file into the models folder; "
                "it is used from then on.[/]"
            )

    def _command(self, event: Event) -> None:
        self._line("bash", event["command"], self._lap(), style="bold cyan")
        self._streamed = False

    def _output(self, event: Event) -> None:
        for stream, style in (("stdout", ""), ("stderr", "yellow")):
            text = event["delta"].get(stream)
            if text:
                self._streamed = True
                body = "".join(f"{'':{LABEL}}{line}\n" for line in text.splitlines())
                self._console.print(Text(body, style=style), end="")

    def _finished(self, event: Event) -> None:
        [output] = event["output"]
        outcome = output["outcome"]
        how = "timed out" if outcome["type"] == "timeout" else f"exit {outcome['exit_code']}"
        limits = output.get("limits") or []
        notes = [how, *(f"{limit} limit hit" for limit in limits)]
        if not self._streamed:
            notes.append("no output")
        self._line("", f"({', '.join(notes)})", output["duration_ms"] / 1000, style="dim")
        self._last = perf_counter()

    def _text(self, event: Event) -> None:
        self._answer.append(event["delta"])

    def _failed(self, event: Event) -> None:
        self._line("error", event["response"]["error"]["message"], style="bold red")

    def _incomplete(self, event: Event) -> None:
        reason = event["response"]["incomplete_details"]["reason"]
        self._line("stopped", reason.replace("_", " "), style="bold red")

    def _lap(self) -> float:
        now = perf_counter()
        lap, self._last = now - self._last, now
        return lap

    def _line(self, label: str, text: str, seconds: float | None = None, style: str = "") -> None:
        line = Text(f"{label:{LABEL}}", style="dim")
        line.append(text, style=style)
        if seconds is not None:
            line.append(f"  {seconds * 1000:.0f} ms", style="dim")
        self._console.print(line, soft_wrap=True)


def _sandbox_of(event: Event) -> str:
    environment = event.get("item", {}).get("environment") or {}
    return str(environment.get("container_id", ""))
