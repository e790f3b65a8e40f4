"""Whole conversations, and how they are written for the model: exactly as the chat template does."""

import json
from dataclasses import dataclass, replace
from random import Random

from nano import arithmetic, changing, reading, system, talk
from nano.grammar import expand, held_out
from nano.names import Names
from nano.noise import dress
from nano.scenario import Intent, Scenario, Step, failed, quoted, says

INTENTS: list[Intent] = [*reading.INTENTS, *changing.INTENTS, *system.INTENTS, *arithmetic.INTENTS]
WEIGHTS = [intent.weight for intent in INTENTS]

SHOWN_CHARACTERS = 140
USER_CHARACTERS = 600
CUT = "\n[cut]"
# Names too short to be found safely, and those whose files are real, keep what they are called.
LONG_NAME = 6
FIXED = ("/etc", "/proc", "/usr", "/sys", "http", "$")

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
    """

    turns: tuple[Turn, ...]
    files: dict[str, str | None]
    shell: bool = True

    def commands(self) -> list[str]:
        """The commands whose results have to be found by running them all, in order."""
        return [step.command for turn in self.turns for step in turn.steps]


class Writer:
    """Draws dialogues.

    Args:
        rng: Where chance comes from.
        unseen: Draw names, and phrases where there are enough, that training never sees.
    """

    def __init__(self, rng: Random, *, unseen: bool = False) -> None:
        self.rng = rng
        self.names = Names(rng, unseen=unseen)
        self.unseen = unseen

    def phrase(self, intent: Intent, scenario: Scenario, *, unseen: bool = False) -> str:
        """Words one request."""
        for _ in range(300):
            phrase = expand(self.rng.choice(intent.templates()), self.rng)
            if held_out(phrase) == unseen or phrase in {"{c}", "{x}"}:
                break
        fixed = intent.kind == "bare"
        text = phrase if fixed else dress(phrase, self.rng)
        for name, value in scenario.slots.items():
            text = text.replace(f"{{{name}}}", value)
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

    def reword(self, dialogue: Dialogue) -> Dialogue:
        """Words every request of a dialogue anew; what is done and said stays."""
        turns = tuple(
            replace(turn, user=self.phrase(*turn.request)) if turn.request else turn
            for turn in dialogue.turns
        )
        return replace(dialogue, turns=turns)

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
        for _ in range(rng.choice([1, 1, 1, 1, 2])):
            if rng.random() < 0.13:
                turns.append(self.talk())
                continue
            turn, scenario = self.request()
            turns.append(turn)
            files = {**scenario.files, **files}
            if scenario.subject and rng.random() < 0.2:
                turns.append(self._follow_up(scenario.subject))
        return Dialogue(tuple(turns), files)

    def _follow_up(self, path: str) -> Turn:
        template, command, sentence, empty = self.rng.choice(FOLLOW_UPS)
        unit = {"wc -l": "line", "wc -w": "word"}.get(command[:5])
        user = dress(expand(template, self.rng), self.rng)
        answer = says(sentence.replace("{p}", path), empty.replace("{p}", path))
        if unit:
            answer = reading._counted(path, unit)  # noqa: SLF001 - the same sentence for the same count
        if "test" in command:

            def answer(told: str) -> str:
                return f"Yes, {path} exists." if told == "yes" else f"No, there is no {path}."

        return Turn(user, (Step(command.replace("{p}", quoted(path)), answer),), "follow_up")


def rename(dialogue: Dialogue, pieces: list[tuple[str, bool]], names: Names) -> list[tuple[str, bool]]:
    """Gives the files and folders of a written dialogue other names, the same everywhere in it."""
    for turn in dialogue.turns:
        for value in turn.request[1].slots.values() if turn.request else ():
            if len(value) < LONG_NAME or " " in value or value.startswith(FIXED) or value[-1] in "/'":
                continue
            folder, _, file = value.rpartition("/")
            stem, dot, ending = file.rpartition(".")
            if not (dot and stem) and not folder:
                continue
            fresh = f"{names.stem()}.{ending}" if dot and stem else names.stem()
            if folder and names.rng.random() < 0.6:
                fresh = f"{folder if names.rng.random() < 0.5 else names.folder()}/{fresh}"
            pieces = [(text.replace(value, fresh), learn) for text, learn in pieces]
    return pieces


def shorten(told: str) -> str:
    """Cuts a result as the chat template does."""
    return told if len(told) <= SHOWN_CHARACTERS else told[:SHOWN_CHARACTERS] + CUT


def render(dialogue: Dialogue, results: list[str]) -> list[tuple[str, bool]]:
    """Writes a conversation as pieces of text, each with whether the model is to learn it."""
    pieces = [("<|im_start|>system\ntools: bash<|im_end|>\n", False)] if dialogue.shell else []
    left = iter(results)
    for turn in dialogue.turns:
        user = turn.user[:USER_CHARACTERS]
        pieces.append((f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", False))
        said = turn.talk
        for index, step in enumerate(turn.steps):
            told = next(left)
            pieces.append((call(step.command), True))
            shown = shorten(told)
            result = f"<|im_start|>user\n<tool_response>\n{shown}\n</tool_response><|im_end|>\n"
            pieces.append((result + "<|im_start|>assistant\n", False))
            said = step.answer(told)
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
