"""Whole conversations, and how they are written for the model: exactly as the chat template does."""

import json
import re
from dataclasses import dataclass, field, replace
from random import Random

from nano import (
    arithmetic,
    changing,
    inspecting,
    measuring,
    pairs,
    programs,
    reading,
    searching,
    system,
    talk,
    texts,
)
from nano.grammar import expand, held_out
from nano.names import Names, fill
from nano.noise import dress, surround
from nano.scenario import Intent, Scenario, Step, failed, quoted, says

INTENTS: list[Intent] = [
    intent
    for module in (
        reading,
        measuring,
        searching,
        inspecting,
        changing,
        pairs,
        system,
        programs,
        texts,
        arithmetic,
    )
    for intent in module.INTENTS
]
# What people ask for most.
COMMON = {
    "list", "list_path", "show", "lines", "words", "head", "tail", "grep", "grep_r", "find_ext", "find_name", "exists", "mkdir",
    "touch", "write", "append", "copy", "move", "rename", "remove", "remove_folder", "diff", "echo", "distro", "arithmetic",
}  # fmt: skip
WEIGHTS = [intent.weight * (1.5 if intent.kind in COMMON else 1.0) for intent in INTENTS]

_SLOT = re.compile(r"\{(\w)\}")
SHOWN_CHARACTERS = 96
USER_CHARACTERS = 600
CUT = "\n[cut]"

FOLLOW_UPS = (
    ("[show it|show me it|print it|cat it|read it|show its content|what is in it|what's in it|what does it say|display it|open it|let me see it|and what is in it|show the file|show that file]", "cat {p}", "That is the content of {p}.", "{p} is empty."),
    ("[how many lines does it have|how many lines are in it|count its lines|and how many lines|how many lines|and its lines|how many lines has it|line count?|count the lines]", "wc -l {p}", "", ""),
    ("[how many words does it have|how many words are in it|count its words|and how many words|how many words|word count?|and words|count the words]", "wc -w {p}", "", ""),
    ("[delete it|remove it|now delete it|now remove it|rm it|erase it|delete that file|now please delete it|get rid of it|delete the file|remove the file again]", "rm {p}", "I deleted {p}.", "I deleted {p}."),
    ("[how big is it|what is its size|size?|and how big is it|how large is it|how much space does it take]", "du -sh {p}", "That is the size of {p}.", ""),
    ("[sort it|show it sorted|sort its lines|now sort it|and sorted|sort the lines]", "sort {p}", "That is {p}, sorted.", "{p} is empty."),
    ("[show the first 3 lines of it|first 3 lines of it|show its first 3 lines|and the first 3 lines]", "head -n 3 {p}", "Those are the first 3 lines of {p}.", "{p} is empty."),
    ("[show the last 5 lines of it|last 5 lines of it|show its last 5 lines|and the last 5 lines]", "tail -n 5 {p}", "Those are the last 5 lines of {p}.", "{p} is empty."),
    ("[does it exist|is it there|does it exist now|is it there now|check that it exists]", "test -e {p} && echo yes || echo no", "", ""),
    ("[make it executable|chmod +x it|and make it executable]", "chmod +x {p}", "", "{p} is executable now."),
)  # fmt: skip
FOLDER_FOLLOW_UPS = (
    ("[list it|list its contents|show what is in it|what is in it|what's in it|now list it|ls it|and list it|look inside|is it empty]", "ls {p}", "Those are the files in {p}.", "{p} is empty."),
    ("[delete it|remove it|now delete it|delete it again|remove the folder|delete that folder|get rid of it|rm -r it|now remove the folder again]", "rm -r {p}", "", "I deleted the folder {p}."),
    ("[does it exist|is it there|does it exist now|is it there now|check that it exists]", "test -e {p} && echo yes || echo no", "", ""),
    ("[how big is it|what is its size|how large is it|its size]", "du -sh {p}", "That is the size of {p}.", ""),
)  # fmt: skip
SAME_AGAIN = (
    "[and|what about|how about|same for|now|and for|now the same for|do the same for|and of|also|then] {p}"
)
AGAIN_KINDS = {
    "show",
    "lines",
    "words",
    "exists",
    "size",
    "type",
    "head_plain",
    "tail_plain",
    "sort",
    "md5",
    "sha256",
}
LIMITS = (
    "[timed out after 30 s]", "[killed by SIGKILL]", "[killed by SIGKILL: memory limit]", "[exit code 1; disk limit]",
    "[killed by SIGKILL; process limit]", "[exit code 137; output limit]", "[killed by SIGTERM]",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and what is done and said then.

    Attributes:
        user: The request as it is worded.
        steps: The commands.
        kind: The kind of request.
        talk: What is said where no command is run.
        request: What to word anew.
    """

    user: str
    steps: tuple[Step, ...]
    kind: str
    talk: str = ""
    request: tuple[Intent, Scenario] | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation before its commands have run.

    Attributes:
        turns: In order.
        files: What has to exist before.
        shell: Whether the model has the tool.
        fills: What stands for the marks in it.
    """

    turns: tuple[Turn, ...]
    files: dict[str, str | None]
    shell: bool = True
    fills: dict[str, str] = field(default_factory=dict)

    def commands(self) -> list[str]:
        """The commands whose results have to be found by running them all, in order."""
        return [step.command for turn in self.turns for step in turn.steps]


class Writer:
    """Draws dialogues.

    Args:
        rng: Where chance comes from.
        unseen: Draw names that training never sees.
        marked: Draw marks for names, which `renew` replaces.
    """

    def __init__(self, rng: Random, *, unseen: bool = False, marked: bool = False) -> None:
        self.rng = rng
        self.names = Names(rng, unseen=unseen, marked=marked)
        self._fresh = Names(rng, unseen=unseen)

    def phrase(self, intent: Intent, scenario: Scenario, *, unseen: bool = False) -> str:
        """Words one request."""
        templates = intent.templates()
        used = set(_SLOT.findall(intent.phrases)) & set(scenario.slots)
        for _ in range(300):
            phrase = expand(self.rng.choice(templates), self.rng)
            if set(_SLOT.findall(phrase)) != used:
                continue
            if held_out(phrase) == unseen or phrase in {"{c}", "{x}"}:
                break
        fixed = intent.kind == "bare"
        text = phrase if fixed else dress(surround(phrase, self.rng, reads=intent.reads), self.rng)
        for name, value in scenario.slots.items():
            text = text.replace(f"{{{name}}}", expand(value, self.rng) if name in "yz" else value)
        return text

    def request(self) -> tuple[Turn, Scenario]:
        """Draws one request that needs the shell."""
        intent = self.rng.choices(INTENTS, WEIGHTS)[0]
        return self.request_of(intent)

    def request_of(self, intent: Intent, *, unseen_phrase: bool = False) -> tuple[Turn, Scenario]:
        """Draws one request of a kind."""
        scenario = intent.make(self.names, self.rng)
        text = self.phrase(intent, scenario, unseen=unseen_phrase)
        return Turn(text, scenario.steps, intent.kind, request=(intent, scenario)), scenario

    def renew(self, dialogue: Dialogue, results: list[str]) -> tuple[Dialogue, list[str]]:
        """Words every request anew and gives it new names; what is done stays."""
        turns: list[Turn] = []
        told: list[str] = []
        left = iter(results)
        for turn in dialogue.turns:
            known = [next(left) for _ in turn.steps]
            renewed, found = self._renew_turn(turn, known)
            turns.append(renewed)
            told += found
        texts = [turn.user for turn in turns] + [step.command for turn in turns for step in turn.steps]
        fills = self._fresh.fills(" ".join(texts + told))
        return replace(dialogue, turns=tuple(turns), fills=fills), told

    def _renew_turn(self, turn: Turn, told: list[str]) -> tuple[Turn, list[str]]:
        if not turn.steps:
            return (self.talk() if turn.kind == "talk" else turn), []
        if not turn.request:
            return turn, told
        intent, scenario = turn.request
        if scenario.is_told() and not scenario.subject:
            scenario = intent.make(self._fresh, self.rng)
            while not scenario.is_told():
                scenario = intent.make(self._fresh, self.rng)
            told = [step.told or "" for step in scenario.steps]
        elif self.rng.random() < 0.015 and len(told) == 1:
            told = [self.rng.choice(LIMITS)]
        return replace(turn, user=self.phrase(intent, scenario), steps=scenario.steps), told

    def talk(self) -> Turn:
        """Draws one turn of talk."""
        user, answer = talk.chat(self.names, self.rng)
        return Turn(dress(user, self.rng) if self.rng.random() < 0.6 else user, (), "talk", answer)

    def dialogue(self) -> Dialogue:
        """Draws a whole conversation."""
        rng = self.rng
        if rng.random() < 0.04:
            turn = self.request()[0] if rng.random() < 0.6 else self.talk()
            said = talk.NO_SHELL if turn.steps else turn.talk
            return Dialogue((Turn(turn.user, (), "no_shell", said),), {}, shell=False)
        turns: list[Turn] = []
        files: dict[str, str | None] = {}
        for _ in range(rng.choice([1, 1, 1, 1, 1, 2])):
            if rng.random() < 0.14:
                turns.append(self.talk())
                continue
            turn, scenario = self.request()
            turns.append(turn)
            files = {**scenario.files, **files}
            if scenario.subject and rng.random() < 0.2:
                turns.append(self._follow_up(scenario.subject, scenario.kind.startswith("mkdir")))
            elif turn.kind in AGAIN_KINDS and rng.random() < 0.12 and turn.request:
                same = replace(turn.request[0], phrases=SAME_AGAIN)
                turns.append(self.request_of(same)[0])
                files = {**files, **turns[-1].request[1].files} if turns[-1].request else files
        return Dialogue(tuple(turns), files)

    def _follow_up(self, path: str, folder: bool) -> Turn:
        template, command, sentence, empty = self.rng.choice(FOLDER_FOLLOW_UPS if folder else FOLLOW_UPS)
        unit = {"wc -l": "line", "wc -w": "word"}.get(command[:5])
        user = dress(expand(template, self.rng), self.rng)
        answer = says(sentence.replace("{p}", path), empty.replace("{p}", path))
        if unit:
            answer = measuring.counted(path, unit)
        if "test" in command:

            def answer(told: str) -> str:
                return failed(told) or (
                    f"Yes, {path} exists." if told == "yes" else f"No, there is no {path}."
                )

        return Turn(user, (Step(command.replace("{p}", quoted(path)), answer),), "follow_up")


def shorten(told: str) -> str:
    """Cuts a result as the chat template does."""
    return told if len(told) <= SHOWN_CHARACTERS else told[:SHOWN_CHARACTERS] + CUT


def render(dialogue: Dialogue, results: list[str]) -> list[tuple[str, bool]]:
    """Writes a conversation as pieces of text, each with whether the model is to learn it."""
    pieces = [("<|im_start|>system\ntools: bash<|im_end|>\n", False)] if dialogue.shell else []
    left = iter(results)
    for turn in dialogue.turns:
        user = fill(turn.user, dialogue.fills)[:USER_CHARACTERS]
        pieces.append((f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", False))
        said = turn.talk
        for index, step in enumerate(turn.steps):
            told = fill(next(left), dialogue.fills)
            pieces.append((call(fill(step.command, dialogue.fills)), True))
            shown = shorten(told)
            pieces.append(
                ((f"<|im_start|>user\n<tool_response>\n{shown}\n</tool_response><|im_end|>\n"
                 "<|im_start|>assistant\n"), False)
            )  # fmt: skip
            said = fill(step.answer(told), dialogue.fills)
            if failed(told) and said.startswith("That failed"):
                for _ in turn.steps[index + 1 :]:
                    next(left)
                break
        pieces.append((f"{said}<|im_end|>\n", True))
    return pieces


def call(command: str) -> str:
    """Writes a tool call."""
    arguments = json.dumps({"command": command}, ensure_ascii=False)
    return f'<tool_call>\n{{"name": "bash", "arguments": {arguments}}}\n</tool_call><|im_end|>\n'
