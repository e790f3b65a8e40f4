"""Measures nano through real llama.cpp and prints the table.

usage: python -m nano.evaluate [GGUF] [--count N] [--json] [--misses]
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xllamacpp

from nano import talk
from nano.dialogue import INTENTS, Dialogue, Turn, Writer
from nano.paths import BUILD, PACKAGED
from nano.recording import record
from nano.safety import changes
from nano.scenario import Scenario, Step

LOOKED_AT = Path(__file__).with_name("free_hand_dev.jsonl")
NEVER_LOOKED_AT = Path(__file__).with_name("free_hand.jsonl")
TOOL = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command with bash.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string"}},
            "required": ["command"],
        },
    },
}
MOST_STEPS = 3
Message = dict[str, Any]


@dataclass
class Score:
    """How many of how many, and the misses."""

    right: int = 0
    total: int = 0
    misses: list[str] = field(default_factory=list)

    def add(self, right: bool, miss: str) -> None:
        self.total += 1
        self.right += right
        if not right:
            self.misses.append(miss)

    @property
    def percent(self) -> float:
        return 100 * self.right / max(1, self.total)


class Model:
    """The model behind llama.cpp, at temperature 0."""

    def __init__(self, path: Path) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 8192
        params.n_parallel = 1
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.verbosity = 0
        self._server = xllamacpp.Server(params)
        self.turns = 0
        self.tokens = 0
        self.seconds = 0.0

    def say(self, messages: list[Message], *, shell: bool = True) -> tuple[str | None, str]:
        """Returns the command it asks for, or None, and the text it says."""
        request: Message = {"messages": messages, "max_tokens": 160, "temperature": 0}
        if shell:
            request["tools"] = [TOOL]
        started = time.perf_counter()
        try:
            answer = self._server.handle_chat_completions(request)
        except RuntimeError as error:
            return None, f"<{error}>"
        self.seconds += time.perf_counter() - started
        self.turns += 1
        self.tokens += answer["usage"]["completion_tokens"]
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls")
        if not calls:
            return None, (message.get("content") or "").strip()
        arguments = calls[0]["function"]["arguments"]
        try:
            return json.loads(arguments).get("command"), ""
        except ValueError:
            return None, f"<unfinished call {arguments}>"


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def called(command: str, told: str) -> list[Message]:
    """A call and its result, as the tool loop sends them back."""
    function = {"name": "bash", "arguments": json.dumps({"command": command})}
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c", "content": told},
    ]


def requests(count: int, *, unseen_phrase: bool, seed: int) -> list[tuple[Turn, Scenario]]:
    """Draws requests with names that training never saw, the kinds evenly."""
    writer = Writer(random.Random(seed), unseen=True)
    return [
        writer.request_of(INTENTS[number % len(INTENTS)], unseen_phrase=unseen_phrase)
        for number in range(count)
    ]


def measure_calls(model: Model, drawn: Iterable[tuple[Turn, Scenario]]) -> Score:
    score = Score()
    for turn, _ in drawn:
        command, said = model.say([user(turn.user)])
        wanted = turn.steps[0].command
        score.add(command == wanted, f"{turn.user!r}: {command or said!r}, not {wanted!r}")
    return score


def measure_answers(model: Model, drawn: list[tuple[Turn, Scenario]]) -> dict[str, Score]:
    """Gives the true results and compares what is said, by what the result is like."""
    dialogues = [Dialogue((turn,), dict(scenario.files)) for turn, scenario in drawn]
    with tempfile.TemporaryDirectory() as folder:
        results = record(dialogues, f"{folder}/jobs")
    scores = {
        name: Score() for name in ("answers", "one line", "several lines", "empty", "failing", "second steps")
    }
    for (turn, _), told in zip(drawn, results, strict=True):
        messages = [user(turn.user)]
        for index, (step, result) in enumerate(zip(turn.steps, told, strict=True)):
            messages += called(step.command, result)
            command, said = model.say(messages)
            failed = step.answer(result).startswith("That failed")
            if index + 1 < len(turn.steps) and not failed:
                wanted = turn.steps[index + 1].command
                scores["second steps"].add(
                    command == wanted, f"{turn.user!r}: {command or said!r}, not {wanted!r}"
                )
                continue
            wanted = step.answer(result)
            for name in ("answers", _kind(result)):
                scores[name].add(said == wanted, f"{turn.user!r}: {command or said!r}, not {wanted!r}")
            break
    return scores


def _kind(told: str) -> str:
    if told.startswith("[exit"):
        return "failing"
    if told == "[no output]":
        return "empty"
    return "several lines" if "\n" in told else "one line"


def measure_talk(model: Model, count: int) -> Score:
    writer = Writer(random.Random(77), unseen=True)
    score = Score()
    for _ in range(count):
        turn = writer.talk()
        command, said = model.say([user(turn.user)])
        score.add(said == turn.talk and command is None, f"{turn.user!r}: {command or said!r}")
    return score


def measure_no_shell(model: Model, drawn: Iterable[tuple[Turn, Scenario]]) -> Score:
    score = Score()
    for turn, _ in drawn:
        command, said = model.say([user(turn.user)], shell=False)
        score.add(command is None and said == talk.NO_SHELL, f"{turn.user!r}: {command or said!r}")
    return score


def measure_read_safety(model: Model, count: int) -> Score:
    """Requests to read, of names and phrases not trained on: none may change a file."""
    reading = [intent for intent in INTENTS if intent.reads and intent.kind not in {"given", "bare"}]
    writer = Writer(random.Random(99), unseen=True)
    score = Score()
    for number in range(count):
        turn, _ = writer.request_of(reading[number % len(reading)], unseen_phrase=number % 2 == 0)
        command, _ = model.say([user(turn.user)])
        score.add(command is None or not changes(command), f"{turn.user!r}: {command!r}")
    return score


def measure_free_hand(model: Model, path: Path) -> Score:
    """Lets the model work on each request as the tool loop does, and compares all it ran with what is accepted."""
    score = Score()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        commands, said = _work(model, row)
        command = "\n".join(commands)
        if not row["accept"]:
            score.add(not commands, f"{row['prompt']!r}: {command!r}")
        else:
            right = command in row["accept"] or (bool(commands) and _behaves_alike(command, row))
            score.add(right, f"[{row['kind']}] {row['prompt']!r}: {command or said!r}")
    return score


def _work(model: Model, row: Message) -> tuple[list[str], str]:
    """Returns the commands it runs one after the other in a fresh sandbox, and what it says then."""
    messages = [user(row["prompt"])]
    commands: list[str] = []
    while len(commands) < MOST_STEPS:
        command, said = model.say(messages)
        if command is None:
            return commands, said
        commands.append(command)
        told = _results([[*row["setup"], *commands]])[0][-1]
        messages += called(command, told)
    return commands, ""


def _results(jobs: list[list[str]]) -> list[list[str]]:
    """Runs command lines, each job in a folder of its own in one fresh sandbox, and returns what each line gives."""
    dialogues = [Dialogue((Turn("", tuple(Step(line, str) for line in lines), ""),), {}) for lines in jobs]
    with tempfile.TemporaryDirectory() as folder:
        return record(dialogues, f"{folder}/jobs")


def _behaves_alike(command: str, row: Message) -> bool:
    """Whether it gives the same output and files as an accepted command."""
    look = ["find . -type f -exec sha256sum {} + | sort", "find . | sort"]
    jobs = [[*row["setup"], one, *look] for one in (command, *row["accept"])]
    shared = any(outside in line for job in jobs for line in job for outside in ("/tmp", "~", "$HOME"))
    # What lies outside the folder would be seen by the next job, so that needs a sandbox for each.
    told = [_results([job])[0] for job in jobs] if shared else _results(jobs)
    mine, *accepted = (result[len(row["setup"]) :] for result in told)
    return mine in accepted


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", nargs="?", type=Path, default=PACKAGED)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    model = Model(options.gguf)
    scores: dict[str, Score] = {}
    run: Callable[[str, Score], None] = scores.__setitem__
    drawn = requests(options.count, unseen_phrase=False, seed=11)
    run("calls, names never seen", measure_calls(model, drawn))
    run(
        "calls, phrases never seen either",
        measure_calls(model, requests(options.count, unseen_phrase=True, seed=12)),
    )
    scores |= measure_answers(model, drawn)
    run("talk", measure_talk(model, options.count // 3))
    run(
        "asked without a shell",
        measure_no_shell(model, requests(options.count // 6, unseen_phrase=False, seed=13)),
    )
    run("reads that stay reads", measure_read_safety(model, options.count))
    run("free-hand phrases, first set", measure_free_hand(model, LOOKED_AT))
    run("free-hand phrases, second set", measure_free_hand(model, NEVER_LOOKED_AT))
    report(scores, model, as_json=options.json, misses=options.misses)


def report(scores: dict[str, Score], model: Model, *, as_json: bool, misses: bool) -> None:
    """Prints the table."""
    speed = {
        "ms per turn": 1000 * model.seconds / model.turns,
        "tokens per second": model.tokens / model.seconds,
    }
    if as_json:
        rows = {name: {"right": score.right, "of": score.total} for name, score in scores.items()}
        print(json.dumps(rows | speed))
        return
    print("| what | right | of | % |\n| --- | ---: | ---: | ---: |")
    for name, score in scores.items():
        print(f"| {name} | {score.right} | {score.total} | {score.percent:.1f} |")
    for name, value in speed.items():
        print(f"\n{name}: {value:.1f}")
    for name, score in scores.items() if misses else ():
        print(f"\n{name}:")
        for miss in score.misses[:60]:
            print(f"  {miss}")


if __name__ == "__main__":
    main()
