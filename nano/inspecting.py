"""More requests that look at files and change nothing: single lines, sums, encodings."""

from base64 import b64encode
from random import Random

from nano.names import Names
from nano.reading import IN, LISTV, SHOW, about_file, about_folder, here, lines
from nano.scenario import Intent, Scenario, Step, failed, says


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


def _decoded(names: Names, rng: Random) -> Scenario:
    text = " ".join(names.text().split()[:2])
    code = b64encode(text.encode()).decode()
    step = Step(f"echo {code} | base64 -d", says("It says: {}"), text)
    del rng
    return Scenario("decode", {"t": code}, (step,))


def _go(names: Names, rng: Random) -> Scenario:
    folder = names.directory()

    def said(told: str) -> str:
        return failed(told) or f"That is the folder {told}."

    files: dict[str, str | None] = {} if folder[0] in "/~." or rng.random() < 0.3 else {folder: None}
    return Scenario("go", {"d": folder}, (Step(f"cd {folder} && pwd", said),), files)


def _sum(kind: str, command: str, answer: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        path, n = names.path(rng.choice(["txt", "csv", "dat", "log"])), str(rng.randint(100, 99999))
        told = (
            n if rng.random() < 0.8 else f"[exit code 2]\nawk: cannot open {path} (No such file or directory)"
        )
        step = Step(command.replace("{p}", path), says(answer.replace("{p}", path)), told)
        return Scenario(kind, {"p": path}, (step,), {}, path)

    return Intent(kind, phrases, make, weight=0.7)


INTENTS = [
    Intent("line_range", f"""
    {SHOW} [|me |only |just ][lines|rows|the lines|the rows] [{{a}} to {{b}}|{{a}}-{{b}}|{{a}} through {{b}}|from {{a}} to {{b}}|between {{a}} and {{b}}] {IN} [|the file |file ]{{p}}
    [what is in|what are|i need|i want|what's in] [|the ]lines [{{a}} to {{b}}|{{a}}-{{b}}|{{a}} through {{b}}|from {{a}} to {{b}}] {IN} [|the file ]{{p}}
    [lines {{a}} to {{b}} of {{p}}|{{p}} lines {{a}} to {{b}}|{{p}} lines {{a}}-{{b}}|{{p}} from line {{a}} to line {{b}}|show {{p}} from line {{a}} to {{b}}|read lines {{a}} to {{b}} of {{p}}]
    """, _range, weight=1.3),
    _matching("grep_n", "-n", "Those are the lines of {p} with {w}, numbered.", """
    [find|search for|look for|grep|show|list] [|the word |the text |all lines with |lines with |lines containing ]{w} in [|the file |file ]{p} [with line numbers|and show line numbers|and give the line numbers|with the line numbers|including line numbers|and number them]
    [on which line|on what line|in which line|at which line|on which lines] of [|the file ]{p} is [|the word |the text ]{w}
    [what is the|give me the|show the|tell me the|what are the] [line number|line numbers] of {w} in {p}
    """),
    _matching("grep_v", "-v", "Those are the lines of {p} without {w}.", f"""
    {SHOW} [|me |all ][the |all |all the |][lines|rows] {IN} [|the file |file ]{{p}} [without|not containing|that do not contain|that don't contain|which do not have|except those with|that don't have|not mentioning|lacking] [|the word |the text ]{{w}}
    [which|what] lines [of|in] [|the file |file ]{{p}} [do not contain|don't contain|don't have|do not mention|lack] [|the word |the text ]{{w}}
    [everything in {{p}} except lines with {{w}}|{{p}} without the lines with {{w}}]
    """),
    about_file("numbered", "cat -n {p}", "That is {p} with line numbers.", f"""
    {SHOW} [|the file |the content of |the lines of |the contents of ]{{p}} [with line numbers|with numbered lines|and number the lines|numbered|with the line numbers|including line numbers]
    [number the lines of|number the lines in|number lines of|cat -n|line numbers for] [|the file ]{{p}}
    """),
    about_file("counts", "sort {p} | uniq -c", "That is how often each line of {p} occurs.", f"""
    [how often|how many times] does each [line|word|entry|value|row] [occur|appear|show up] in [|the file |file ]{{p}}
    [count|count up|tally] [the |][duplicates|duplicate lines|repeated lines|occurrences of each line|each line|equal lines|identical lines] [in|of] [|the file |file ]{{p}}
    {SHOW} the [number of occurrences|count|frequency] of [each line|every line] in {{p}}
    """),
    about_file("some_line", "shuf -n 1 {p}", "That is a random line of {p}.", f"""
    {SHOW} [a|one|any|some] random [line|row|entry] {IN} [|the file |file ]{{p}}
    [pick|choose|draw|select] [a|one] [random line|line at random|random entry] {IN} {{p}}
    """, weight=0.7),
    about_file("upper_file", "tr a-z A-Z < {p}", "That is {p} in upper case.", f"""
    {SHOW} [|the file |the content of |the text of ]{{p}} in [upper case|uppercase|capital letters|all caps|capitals]
    [convert|turn] the [content|text|contents] of {{p}} [to|into] [upper case|uppercase|capitals] [and show it|, just show it|on the screen]
    """, weight=0.7),
    about_file("first_line", "head -n 1 {p}", "That is the first line of {p}.", f"""
    {SHOW} [|me |only |just ]the [first|top|very first] [line|row] {IN} [|the file |file ]{{p}}
    [what is|what's|i need|tell me] [the |][first line|header line|header|top line] {IN} {{p}}
    """, weight=1.2),
    about_file("last_line", "tail -n 1 {p}", "That is the last line of {p}.", f"""
    {SHOW} [|me |only |just ]the [last|final|very last|bottom] [line|row|entry] {IN} [|the file |file ]{{p}}
    [what is|what's|i need|tell me] the [last|final] [line|entry|row] {IN} {{p}}
    """, weight=1.2),
    _sum("sum", "awk '{s += $1} END {print s}' {p}", "The sum is {}.", """
    [sum|sum up|add up|total|add together] [|all |the |all the ][numbers|values|lines|amounts|figures] [in|of|from] [|the file |file ]{p}
    [what is|what's|compute|calculate|give me|tell me|show] the [sum|total] of [|all ]the [numbers|values|amounts] in [|the file ]{p}
    """),
    _sum("average", "awk '{s += $1} END {print s / NR}' {p}", "The average is {}.", """
    [what is|what's|compute|calculate|give me|tell me|show] the [average|mean] of [|all ]the [numbers|values|lines] in [|the file ]{p}
    average [|of ]the [numbers|values] in [|the file ]{p}
    """),
    Intent("decode", """
    [decode|un-base64|convert|translate|turn] [|the text |the string |the base64 text |the base64 string ]{t} [from base64|from base 64|out of base64|back from base64]
    [base64 decode|decode the base64|decode base64|decode this base64:|base64 -d|what does this base64 say:] {t}
    """, _decoded),
    Intent("go", """
    [go|change|switch] [to|into] [|the folder |the directory |folder |directory ]{d}
    [cd|cd to|cd into|enter|change directory to|change the directory to|change folder to|change into|enter the folder|switch directory to|go inside|jump to|take me to] {d}
    """, _go),
    here("by_size", "ls -lS", "Those are the files here, the largest first.", f"""
    {LISTV} [|all |the |all the |my ]files [|here |in this folder ][by size|sorted by size|ordered by size|from largest to smallest|largest first|biggest first|in order of size|in descending order of size]
    [sort|order] [|all |the |my |all the ]files [|here |in this folder ]by [size|file size|their size]
    [what are|which are|show|list|show me] the [biggest|largest|heaviest] files [|here|in this folder|in here]
    """),
    here("by_time", "ls -lt", "Those are the files here, the newest first.", f"""
    {LISTV} [|all |the |all the |my ]files [|here |in this folder ][by date|by time|sorted by date|ordered by date|sorted by time|newest first|most recent first|by modification time|in order of date|latest first|by age]
    [sort|order] [|all |the |my |all the ]files [|here |in this folder ]by [date|time|age|modification time|modification date]
    [what are|which are|show|list|show me] the [newest|latest|most recent|recently changed|last changed|recently modified|recent] files [|here|in this folder|in here]
    """),
    here("count_dirs", "ls -d */ 2>/dev/null | wc -l", "There are {} folders here.", """
    [how many|count the|count|number of|what is the number of] [folders|directories|subfolders|subdirectories] [are there|are here|do i have|here|in this folder|in here|in this directory|are in this folder]
    """),
    about_folder("biggest_in", "ls -lS {d}", "Those are the files in {d}, the largest first.", f"""
    {LISTV} [|all |the |all the ]files in [|the folder |folder ]{{d}} [by size|sorted by size|ordered by size|largest first|biggest first]
    [what are|which are|show|list|show me] the [biggest|largest] files in [|the folder |folder ]{{d}}
    """, weight=0.8),
    about_file("link_target", "readlink {p}", "It points to {}.", """
    where does [|the link |the symlink |the symbolic link |link ]{p} [point|lead|go|point to|link to]
    [what is|what's|show|tell me] the target of [|the link |the symlink ]{p}
    [resolve|follow|readlink] [|the link |the symlink ]{p}
    """, empty="{p} is no link.", weight=0.7),
]  # fmt: skip
