"""Requests for two things at once: the second is asked for and run after the first."""

from collections.abc import Callable, Sequence
from random import Random

from nano.changing import P_MKDIR, P_TOUCH, P_WRITE, append, copy, mkdir, move, remove, rename, touch, write
from nano.measuring import counted
from nano.names import Names
from nano.reading import lines
from nano.scenario import Answer, Intent, Scenario, Step, does, failed, says

Make = Callable[[Names, Random], Scenario]
Second = tuple[str, str, Callable[[str], Answer]]
AND = "[and|and then|, then|then|, and then|and after that|, after that|, afterwards|and afterwards|and also|, and|and finally|, next|. then|; then|. after that|. afterwards]"
IT = "[it|it|it|the file|that file|{x}]"


def _sentence(text: str, empty: str = "") -> Callable[[str], Answer]:
    return lambda path: says(text.replace("{x}", path), (empty or text).replace("{x}", path))


# What can be wanted next of a file; `{x}` is its name.
OF_FILE: tuple[Second, ...] = (
    (f"[show|print|cat|display|read|output|show me|let me see|print out|read back|open] {IT} [|again|please|to me]", "cat {x}", _sentence("That is the content of {x}.", "{x} is empty.")),
    ("[show|print|display|show me|tell me|read] [its content|its contents|the content|the contents|what is in it|what's in it|whats in it|what it says|what {x} says|the content of {x}]", "cat {x}", _sentence("That is the content of {x}.", "{x} is empty.")),
    ("[count|tell me|show me|count me] [its lines|the lines|the lines in it|how many lines it has|how many lines it has now|how many lines are in it|the number of lines|the lines of {x}|how many lines {x} has]", "wc -l {x}", lambda path: counted(path, "line")),
    ("[count|tell me|show me|count me] [its words|the words|the words in it|how many words it has|how many words are in it|the number of words|the words of {x}|how many words {x} has]", "wc -w {x}", lambda path: counted(path, "word")),
    ("[list|show|show me] [the files|all files|the files here|what is here|what files are here|everything here|this folder|the folder|the directory|what is in this folder]", "ls", _sentence("Those are the files here.", "There are no files here.")),
    ("[list files|ls|do an ls|list|run ls|list everything|list the current directory|tell me what files are here]", "ls", _sentence("Those are the files here.", "There are no files here.")),
    (f"[make|set] {IT} [executable|runnable]", "chmod +x {x}", _sentence("{x} is executable now.")),
    ("[chmod +x it|give it execute permission|make it executable]", "chmod +x {x}", _sentence("{x} is executable now.")),
    (f"[make|set|mark] {IT} [read only|read-only|as read only|write protected]", "chmod 444 {x}", _sentence("{x} is read-only now.")),
    (f"[sort|show me sorted|order] {IT} [|alphabetically]", "sort {x}", _sentence("That is {x}, sorted.", "{x} is empty.")),
    ("[tell me|show|show me|check] [its size|how big it is|the size of it|the size|how large it is|the size of {x}]", "du -sh {x}", _sentence("That is the size of {x}.")),
    (f"[delete|remove|rm|erase] {IT} [|again]", "rm {x}", _sentence("I deleted {x}.")),
)  # fmt: skip
LISTING: tuple[Second, ...] = (
    *(second for second in OF_FILE if second[1] == "ls"),
    ("[tell me|show me|list|show] [what is left|what files are left|what's left|whats left|the remaining files|the files that are left|what remains]", "ls", _sentence("Those are the files here.", "There are no files here.")),
)  # fmt: skip
OF_FOLDER: tuple[Second, ...] = (
    ("[list|ls|show|show me|look into|look inside|print] [it|it|its contents|its content|what is in it|what's in it|whats in it|what's inside|the folder|that folder|the contents|{x}|the files in it|the new folder]", "ls {x}", _sentence("Those are the files in {x}.", "{x} is empty.")),
    ("[list|show|show me] [the files|all files|the files here|everything here|what is here|the current directory]", "ls", _sentence("Those are the files here.", "There are no files here.")),
    ("[delete|remove] [it|the folder|it again|{x}]", "rm -r {x}", _sentence("I deleted the folder {x}.")),
)  # fmt: skip


def _then(kind: str, first: Make, phrases: str, seconds: Sequence[Second], weight: float = 1.0) -> Intent:
    """Makes an intent of what `first` makes and one of the seconds, which `{z}` in the phrase asks for."""

    def make(names: Names, rng: Random) -> Scenario:
        scenario = first(names, rng)
        made = scenario.subject or scenario.slots.get("d") or scenario.slots.get("p", "")
        wording, command, answer = rng.choice(seconds)
        step = scenario.steps[0]
        done, second = step.answer("[no output]"), answer(made)

        def both(told: str) -> str:
            return failed(told) or f"{done} {second(told)}"

        steps = (step, Step(command.replace("{x}", made), both))
        slots = {**scenario.slots, "z": wording.replace("{x}", made)}
        return Scenario(kind, slots, steps, scenario.files, scenario.subject)

    joined = "\n".join(f"[|||||first ]{line.strip()} {AND} {{z}}" for line in phrases.strip().splitlines())
    return Intent(kind, joined, make, reads=False, weight=weight)


FACTS = (
    ("[who i am|my user name|who am i|the user name|whoami|which user i am|my username|the current user]", "whoami"),
    ("[where i am|the current directory|where am i|pwd|which directory i am in|which folder we are in|the working directory|which directory im in|the current folder|what folder this is]", "pwd"),
    ("[the date|the time|what time it is|date|today's date|the date and time|the current time|what date it is]", "date"),
    ("[the hostname|hostname|what this machine is called|the name of this machine|the host name]", "hostname"),
    ("[the kernel version|which kernel is running|kernel version|the kernel|what kernel this is|kernel]", "uname -r"),
    ("[the number of cpus|how many cpus there are|how many cores we have|cpu count|the number of cores|how many cpus i have]", "nproc"),
    ("[the files here|what files are here|list the files|ls|what is in this folder|the files in this folder|which files are here|the files]", "ls"),
    ("[the disk space|disk usage|how full the disk is|the free disk space|the disk usage|how much disk space is left]", "df -h"),
    ("[the memory usage|how much memory is free|memory|the free memory|memory usage|how much ram is left]", "free -h"),
    ("[the uptime|how long this machine is up|uptime|how long the system has been running]", "uptime"),
    ("[the distribution|which linux this is|the linux distribution|the os|which os this is|what distro this is]", ". /etc/os-release; echo $PRETTY_NAME"),
    ("[the architecture|which architecture this is|the cpu architecture|architecture]", "uname -m"),
)  # fmt: skip


def _facts(names: Names, rng: Random) -> Scenario:
    del names
    (one, first), (two, second) = rng.sample(FACTS, 2)
    steps = (Step(first, says("")), Step(second, says("Both are above.", "Both are above.")))
    return Scenario("two_facts", {"y": one, "z": two}, steps)


READS = (
    ("[show|print|cat|display|read|show me|output] [|the file ]{p}", "cat {p}"),
    ("[count the lines of|count the lines in|tell me how many lines are in|show the number of lines in] [|the file ]{p}", "wc -l {p}"),
    ("[count the words of|count the words in|tell me how many words are in] [|the file ]{p}", "wc -w {p}"),
    ("[show|print|show me] the first 3 lines of {p}", "head -n 3 {p}"),
    ("[sort|show me sorted] [|the file ]{p}", "sort {p}"),
    ("[list|show] [|me ]the files [|here]", "ls"),
)  # fmt: skip


def _reads(names: Names, rng: Random) -> Scenario:
    path = names.path()
    wording, first = rng.choice(READS)
    seconds = [
        second for second in OF_FILE if second[1].split()[0] not in {"chmod", "rm", "ls", first.split()[0]}
    ]
    asked, command, answer = rng.choice(seconds)
    if first == "ls":
        asked = asked.replace("[it|it|it|the file|that file|{x}]", "{x}")
        while "{x}" not in asked or " it" in asked:
            asked, command, answer = "[show|print|cat|display|read] {x}", "cat {x}", OF_FILE[0][2]
    files: dict[str, str | None] = {} if path[0] == "/" or rng.random() < 0.12 else {path: lines(rng)}
    steps = (Step(first.replace("{p}", path), says("")), Step(command.replace("{x}", path), answer(path)))
    slots = {"y": wording.replace("{p}", path), "z": asked.replace("{x}", path)}
    return Scenario("two_reads", slots, steps, files, path)


def _into_folder(verb: str, said: str) -> Make:
    def make(names: Names, rng: Random) -> Scenario:
        folder, file = names.folder(), names.path()
        files: dict[str, str | None] = {file: "x\n"} if rng.random() < 0.85 and file[0] != "/" else {}
        both = does(f"I created the folder {folder}. I {said} {file} to {folder}.")
        steps = (
            Step(f"mkdir -p {folder}", does(f"I created the folder {folder}.")),
            Step(f"{verb} {file} {folder}", both),
        )
        return Scenario(f"mkdir_{verb}", {"d": folder, "f": file}, steps, files)

    return make


NEW_FOLDER = (
    "[create|make|add|mkdir|make me|set up] [|a |a new |the ][|folder |directory |dir ][|called |named ]{d}"
)
INTO = (
    "[into it|in it|there|in there|inside|into the folder|to it|into that folder|into {d}|to {d}|inside it]"
)
INTENTS = [
    _then("write_then", write, P_WRITE, OF_FILE, 2.2),
    _then("touch_then", touch, P_TOUCH, OF_FILE, 1.8),
    _then("mkdir_then", mkdir, P_MKDIR, OF_FOLDER, 2.0),
    _then("append_then", append, """
    [append|add|put|write] [|the text |the line |the words |a line saying |a line |the word ]{t} [to|to the end of|to the file|at the end of|into] {p}
    [append|add] [a line|another line|one more line] {t} to [|the file ]{p}
    """, OF_FILE[:6], 1.3),
    _then("copy_then", copy, """
    [copy|duplicate|cp|back up] [|the file ]{a} [to|as|into] {b}
    make a copy of [|the file ]{a} [called|named|as] {b}
    """, (*OF_FILE[:2], ("[show|cat|print|display|read|show me] [the copy|the new file|the new one|{x}|{x}|it]", "cat {x}", OF_FILE[0][2]), *LISTING), 1.3),
    _then("rename_then", rename, """
    [rename|mv] [|the file ]{a} to {b}
    [rename|change the name of] [|the file ]{a} [to|into] {b}
    """, (*OF_FILE[:2], *LISTING)),
    _then("move_then", move, """
    [move|mv|put] [|the file ]{a} [into|in|to] the [folder|directory] {b}
    [move|put] [|the file ]{a} into {b}
    """, LISTING),
    _then("remove_then", remove, """
    [delete|remove|rm|erase|get rid of|trash] [|the file |file ]{p}
    """, LISTING, 1.3),
    Intent("mkdir_mv", f"""
    {NEW_FOLDER} {AND} [move|mv|put|shift] [|the file ]{{f}} {INTO}
    [move|put] [|the file ]{{f}} [into|in] a new [folder|directory] [|called |named ]{{d}}
    """, _into_folder("mv", "moved"), reads=False, weight=1.3),
    Intent("mkdir_cp", f"""
    {NEW_FOLDER} {AND} [copy|cp] [|the file ]{{f}} {INTO}
    copy [|the file ]{{f}} [into|to] a new [folder|directory] [|called |named ]{{d}}
    """, _into_folder("cp", "copied"), reads=False),
    Intent("two_facts", """
    [tell me|show me|show|print|give me|what is|i want to know|i need|check|get|can you tell me|i'd like to know|let me know|say|] {y} [and|and also|and then|and after that|, then|plus|as well as|and tell me|and show me|and then tell me|and also tell me|then|, and then show me] {z}
    """, _facts, weight=1.5),
    Intent("two_reads", f"""
    [|||first ]{{y}} {AND} {{z}}
    """, _reads, weight=1.3),
]  # fmt: skip
