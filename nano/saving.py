"""More requests that change files: what a command gives is saved, files are emptied, programs installed."""

from random import Random

from nano.changing import CALLED, MAKE
from nano.names import Names
from nano.scenario import Intent, Scenario, Step, does, says

SAVED = (
    ("date", "[the date|the current date|the current time|the date and time|today's date|the time]"),
    ("ls", "[the list of files|a list of the files|the file list|a list of all files here|the directory listing|the names of the files]"),
    ("ls -la", "[the output of ls -la|a detailed list of the files|a detailed file list]"),
    ("df -h", "[the disk usage|the free disk space|the output of df -h]"),
    ("ps aux", "[the list of processes|the process list|the running processes|the output of ps aux]"),
    ("uname -a", "[the output of uname -a|the system information|the kernel information]"),
    ("env", "[the environment variables|the environment|the output of env]"),
    ("whoami", "[my user name|the user name|the output of whoami]"),
)  # fmt: skip


def _save(command: str) -> Intent:
    phrases = dict(SAVED)[command]

    def make(names: Names, rng: Random) -> Scenario:
        del rng
        path = names.path()
        step = Step(f"{command} > {path}", does(f"I wrote {path}."))
        return Scenario("save", {"p": path}, (step,), subject=path)

    return Intent("save", f"""
    [save|write|put|store|dump|redirect] {phrases} [to|in|into|in the file|to the file|to a file called|in a file named|into a file called] {{p}}
    [create|make] a file [called|named] {{p}} [with|containing] {phrases}
    """, make, reads=False, weight=0.2)  # fmt: skip


def _numbers(names: Names, rng: Random) -> Scenario:
    path, n = names.path(), str(rng.randint(2, 200))
    step = Step(f"seq {n} > {path}", does(f"I wrote {path}."))
    return Scenario("save_numbers", {"p": path, "n": n}, (step,), subject=path)


def _empty(names: Names, rng: Random) -> Scenario:
    path = names.path()
    files: dict[str, str | None] = {path: "x\n"} if rng.random() < 0.8 and path[0] != "/" else {}
    return Scenario(
        "empty", {"p": path}, (Step(f"truncate -s 0 {path}", does(f"{path} is empty now.")),), files, path
    )


def _all_of_kind(names: Names, rng: Random) -> Scenario:
    ending = rng.choice(["tmp", "log", "bak", "txt", "csv", "pyc", "o", "old", "swp", "json", "md"])
    files: dict[str, str | None] = {names.file(ending): "x\n"} if rng.random() < 0.8 else {}
    step = Step(f"rm *.{ending}", does(f"I deleted the .{ending} files."))
    return Scenario("remove_kind", {"e": ending}, (step,), files)


def _install(names: Names, rng: Random) -> Scenario:
    python = rng.random() < 0.5
    known = (
        "numpy requests flask pandas django scipy torch rich pytest"
        if python
        else "htop vim nano curl jq tree tmux gcc"
    ).split()
    name = rng.choice(known) if rng.random() < 0.6 else names.stem().lower().split(".")[0]
    command = f"pip install {name}" if python else f"apt-get install -y {name}"
    told = rng.choice([
        "[exit code 100]\nE: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)",
        f"[exit code 100]\nE: Unable to locate package {name}",
    ])  # fmt: skip
    if python:
        told = rng.choice([
            "[exit code 127]\nbash: line 1: pip: command not found",
            f"[exit code 1]\nERROR: Could not find a version that satisfies the requirement {name} (from versions: none)",
        ])  # fmt: skip
    kind = (
        rng.choice(["the python package ", "the python module ", "python package "])
        if python
        else rng.choice(["", "the program ", "the package ", ""])
    )
    return Scenario("install", {"x": kind + name}, (Step(command, does(f"I installed {name}."), told),))


def _named_archive(names: Names, rng: Random) -> Scenario:
    folder, path = names.folder(), names.path("tar.gz")
    files: dict[str, str | None] = {folder: None} if rng.random() < 0.85 else {}
    step = Step(f"tar -czf {path} {folder}", does(f"I packed {folder} into {path}."))
    return Scenario("pack_named", {"d": folder, "p": path}, (step,), files)


def _python_script(names: Names, rng: Random) -> Scenario:
    path, text = names.file("py"), names.text()
    steps = (
        Step(f"echo \"print('{text}')\" > {path}", does(f"I wrote {path}.")),
        Step(f"python3 {path}", says(f"I wrote {path}. It printed: {{}}")),
    )
    shown = text if rng.random() < 0.7 else f'"{text}"'
    return Scenario("python_script", {"p": path, "t": shown}, steps)


PRINTS = "[that prints|printing|which prints|that says|that outputs|to print|that writes]"
RUN_IT = (
    "[and|and then|, then|, and|then] [run it|execute it|start it|run the script|run that|execute the script]"
)
INTENTS = [
    *(_save(command) for command, _ in SAVED),
    Intent("save_numbers", """
    [write|save|put|store] the numbers [from 1 to|1 to|from one to|1 through] {n} [to|in|into|to the file|into the file|in a file called] {p}
    [create|make] a file [called|named] {p} with the numbers [from 1 to|1 to] {n}
    """, _numbers, reads=False, weight=0.6),
    Intent("empty", """
    [empty|clear|truncate|blank|wipe|empty out|clear out] [the file|file|the content of|the contents of|the content of the file|all content of] {p}
    [delete|remove|erase] [the content|the contents|all content|all lines|everything] [of|in|inside|from] [|the file |file ]{p}
    [empty|truncate] {p}
    make {p} empty
    """, _empty, reads=False, weight=0.8),
    Intent("remove_kind", """
    [delete|remove|rm|erase|get rid of] [all|all the|every|all my] [.|*.|]{e} [files|file] [|here|in this folder]
    """, _all_of_kind, reads=False, weight=0.6),
    Intent("install", """
    [install|set up|add|download and install|get and install] {x}
    [can you install|could you install|i need to install|i want to install|please install] {x}
    """, _install, reads=False, weight=0.6),
    Intent("pack_named", f"""
    [pack|compress|archive|tar|bundle] [|the folder |the directory |folder ]{{d}} [into|to|as|in] [|the archive |the file |an archive called |a tarball called |an archive named ]{{p}}
    {MAKE} [an archive|a tarball|a tar archive|a compressed archive|a tar file] [|{CALLED} ]{{p}} [of|from|with|containing|out of] [|the folder |the directory ]{{d}}
    """, _named_archive, reads=False),
    Intent("python_script", f"""
    [create|make|write] [a |][python script|python program|python file|script in python] [|called |named ]{{p}} {PRINTS} {{t}} {RUN_IT}
    [create|make|write] {{p}} {PRINTS} {{t}} {RUN_IT}
    """, _python_script, reads=False, weight=0.8),
]  # fmt: skip
