"""What one request is made of: how it may be phrased, what is run, and what is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from nano.names import Names

Answer = Callable[[str], str]
FAILING = ("[exit code", "[timed out", "[killed by", "[output limit", "[disk limit", "[process limit")


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        command: What bash runs.
        answer: What is said of its result, as the tool loop tells it.
        told: A made-up result; None has the command really run.
    """

    command: str
    answer: Answer
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One request, with what it needs.

    Attributes:
        kind: The kind of request.
        slots: What fills the phrase.
        steps: The commands, one after the other.
        files: What has to exist before; None as content makes a folder.
        subject: The file it is about, for a next turn that says "it".
    """

    kind: str
    slots: Mapping[str, str]
    steps: tuple[Step, ...]
    files: Mapping[str, str | None] = field(default_factory=dict)
    subject: str | None = None

    def is_told(self) -> bool:
        """Whether every result is made up, so that nothing has to be run."""
        return all(step.told is not None for step in self.steps)


@dataclass(frozen=True, slots=True)
class Intent:
    """A kind of request.

    Attributes:
        kind: Its name.
        phrases: Templates, one a line.
        make: Draws one with its arguments.
        reads: Whether it must never change a file.
        weight: How often it is drawn.
    """

    kind: str
    phrases: str
    make: Callable[[Names, Random], Scenario]
    reads: bool = True
    weight: float = 1.0

    def templates(self) -> list[str]:
        """Returns the phrase templates."""
        return [line.strip() for line in self.phrases.strip().splitlines()]


def quoted(name: str) -> str:
    """Writes a path so that bash takes it as one word."""
    return f"'{name}'" if " " in name else name


def literal(text: str) -> str:
    """Writes a text so that bash takes it as it is."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def failed(told: str) -> str | None:
    """Returns what is said of a command that failed, or None where it did not."""
    status, _, output = told.partition("\n")
    if not status.startswith(FAILING):
        return None
    if status.startswith("[exit code") and output:
        return f"That failed: {output.splitlines()[0][:80]}"
    return f"That failed: {status.strip('[]')}"


def says(sentence: str, empty: str | None = None) -> Answer:
    """Answers with a sentence; `{}` in it is the output, which then is one short line."""

    def answer(told: str) -> str:
        if problem := failed(told):
            return problem
        if told == "[no output]":
            return empty or "It printed nothing."
        return sentence.replace("{}", told) if "\n" not in told else sentence.replace("{}", "above")

    return answer


def does(sentence: str) -> Answer:
    """Answers that something was done, unless it failed."""
    return lambda told: failed(told) or sentence
