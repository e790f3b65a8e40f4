"""More requests that look at files and change nothing: single lines, sums, encodings."""

from random import Random

from nano.names import Names
from nano.reading import IN, LISTV, SHOW, about_file, here, lines
from nano.scenario import Intent, Scenario, Step, says


def _range(names: Names, rng: Random) -> Scenario:
    path, first = names.path(), rng.randint(1, 60)
    last = first + rng.randint(1, 30)
    said = says(
        f"Those are the lines {first} to {last} of {path}.", f"{path} has no lines {first} to {last}."
    )
    files: dict[str, str | None] = {} if path[0] == "/" or rng.random() < 0.12 else {path: lines(rng)}
    slots = {"p": path, "a": str(first), "b": str(last)}
    return Scenario("line_range", slots, (Step(f"sed -n '{first},{last}p' {path}", said),), files, path)


def _matching(kind: str, flag: str, answer: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        path, word = names.path(), names.word()
        none = f"I found no such line in {path}."

        def said(told: str) -> str:
            if told == "[exit code 1]":
                return none
            return says(answer.format(p=path, w=word), none)(told)

        files: dict[str, str | None] = {path: lines(rng, 3) + f"{word} x\n"}
        if path[0] == "/" or rng.random() < 0.12:
            files = {}
        slots = {"p": path, "w": f'"{word}"' if rng.random() < 0.15 else word}
        return Scenario(kind, slots, (Step(f"grep {flag} {word} {path}", said),), files, path)

    return Intent(kind, phrases, make)


INTENTS = [
    _matching("grep_v", "-v", "Those are the lines of {p} without {w}.", f"""
    {SHOW} [|me |all ][the |all |all the |][lines|rows] {IN} [|the file |file ]{{p}} [without|not containing|that do not contain|that don't contain|which do not have|except those with|that don't have|not mentioning|lacking] [|the word |the text ]{{w}}
    [which|what] lines [of|in] [|the file |file ]{{p}} [do not contain|don't contain|don't have|do not mention|lack] [|the word |the text ]{{w}}
    [everything in {{p}} except lines with {{w}}|{{p}} without the lines with {{w}}]
    [show|print|list|give me] [|me ][|the file |file ]{{p}} [but not the lines|but leave out lines|except lines|without lines|minus the lines|and skip lines|but hide lines] [with|containing|that have|that mention|that contain] {{w}}
    [all lines|every line|lines|the lines] [of|in|from] {{p}} [without|not containing|that don't mention|that do not have|except those with|but not those with] {{w}}
    [grep -v {{w}} {{p}}|leave out the lines with {{w}} from {{p}} and show the rest|hide the lines with {{w}} when showing {{p}}]
    """),
    about_file("upper_file", "tr a-z A-Z < {p}", "That is {p} in upper case.", f"""
    {SHOW} [|the file |the content of |the text of ]{{p}} in [upper case|uppercase|capital letters|all caps|capitals]
    [convert|turn] the [content|text|contents] of {{p}} [to|into] [upper case|uppercase|capitals] [and show it|, just show it|on the screen]
    [turn|convert|make|print|show|display|put|write out|cat] [|me |the file |the text of |the contents of |the content of |all of ]{{p}} [into all caps|into upper case|in all caps|in upper case|in uppercase|in capitals|in capital letters|uppercased|to upper case|as upper case|all in caps] [|and print it|and show it|on the screen|and print the result|and show me]
    [uppercase|capitalize|upcase] [|the file |the contents of |the text in |the content of ]{{p}} [|and print it|and show it|and show me the result|on screen]
    """, weight=0.7),
    about_file("first_line", "head -n 1 {p}", "That is the first line of {p}.", f"""
    {SHOW} [|me |only |just ]the [first|top|very first] [line|row] {IN} [|the file |file ]{{p}}
    [what is|what's|i need|tell me] [the |][first line|header line|header|top line] {IN} {{p}}
    [what is|what's|whats|show|show me|print|give me|tell me|read|get] the [very |][first|top|opening] [line|row] [in|of|from] [|the file |file |my ]{{p}}
    [first|top|very first|header] [line|row] [of|in|from] [|the file |file ]{{p}}
    [what does {{p}} start with|how does the first line of {{p}} read|only the first line of {{p}}|just the first line of {{p}}]
    """, weight=1.2),
    about_file("last_line", "tail -n 1 {p}", "That is the last line of {p}.", f"""
    {SHOW} [|me |only |just ]the [last|final|very last|bottom] [line|row|entry] {IN} [|the file |file ]{{p}}
    [what is|what's|i need|tell me] the [last|final] [line|entry|row] {IN} {{p}}
    [what is|what's|whats|show|show me|print|give me|tell me|read|get] the [very |][last|final|bottom] [line|row|entry] [in|of|from] [|the file |file |my ]{{p}}
    [last|final|very last|bottom] [line|row] [of|in|from] [|the file |file ]{{p}}
    [what does {{p}} end with|how does the last line of {{p}} read|only the last line of {{p}}|just the last line of {{p}}]
    """, weight=1.2),
    here("by_size", "ls -lS", "Those are the files here, the largest first.", f"""
    {LISTV} [|all |the |all the |my ]files [|here |in this folder ][by size|sorted by size|ordered by size|from largest to smallest|largest first|biggest first|in order of size|in descending order of size]
    [sort|order] [|all |the |my |all the ]files [|here |in this folder ]by [size|file size|their size]
    [what are|which are|show|list|show me] the [biggest|largest|heaviest] files [|here|in this folder|in here]
    [sort|order|list|show|arrange|rank] [|me ][the files|all files|files|my files|the files in this folder|the files here|everything] [|here |in here ][by size|by their size|by file size|according to size|in order of size][|, biggest first|, largest first|, the biggest first|, the largest at the top|, big ones first]
    [list|show|print|files] [|me |the |all |all the |my ][files|biggest files|][|,] [biggest first|largest first|largest on top|from biggest to smallest|from the biggest to the smallest|from large to small|big ones first|biggest at the top]
    [what are|which are|show me|list] the [biggest|largest|heaviest] [files|ones] [here|in this folder|in here|in this directory|]
    [files by size|files sorted by size|ls by size|biggest files|largest files|size ranking of the files]
    """),
    here("by_time", "ls -lt", "Those are the files here, the newest first.", f"""
    {LISTV} [|all |the |all the |my ]files [|here |in this folder ][by date|by time|sorted by date|ordered by date|sorted by time|newest first|most recent first|by modification time|in order of date|latest first|by age]
    [sort|order] [|all |the |my |all the ]files [|here |in this folder ]by [date|time|age|modification time|modification date]
    [what are|which are|show|list|show me] the [newest|latest|most recent|recently changed|last changed|recently modified|recent] files [|here|in this folder|in here]
    [sort|order|list|show|arrange] [|me ][the files|all files|files|my files|the files in this folder|the files here|everything] [|here |in here ][by date|by time|by age|by modification time|by the time of change|by last change|by when they changed][|, newest first|, latest first|, the newest on top|, most recent first|, newest on top]
    [what|which files] did i [change|edit|touch|modify] [most recently|last|recently|lately] [here|in this dir|in this folder|in this directory|] [|? newest on top|? newest first|, newest first|, most recent first]
    [list|show|files] [|me |the |all |all the |my ][files|][|,] [newest first|latest first|most recent first|newest on top|recent ones first|from newest to oldest|from new to old]
    [files by date|files sorted by date|ls by time|recent files|newest files|latest files|recently changed files|most recent files]
    """),
]  # fmt: skip
