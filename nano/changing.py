"""Requests that make, change or delete files, each asked for by name; and two at once."""

from collections.abc import Callable
from random import Random

from nano.names import Names
from nano.reading import lines
from nano.scenario import Intent, Scenario, Step, does, literal, says

MAKE = "[create|make|add|start|set up|generate|new|i need|i want|give me|can i have|let's make|let's create]"
CALLED = "[called|named|with the name|by the name of|with name]"
TEXT = "[containing|with the text|with the content|with|that says|saying|which says|with the words|that contains|and put in it|with text|holding|having|with contents|which contains|with the line|with the message]"


def _quoted_text(text: str, rng: Random) -> str:
    """Writes a text as people do in a request, with or without quotes."""
    style = rng.random()
    if style < 0.2:
        return f"'{text}'" if "'" not in text else f'"{text}"'
    return f'"{text}"' if style < 0.45 else text


def _one(kind: str, make: Callable[[Names, Random], Scenario], phrases: str, weight: float = 1.0) -> Intent:
    return Intent(kind, phrases, make, reads=False, weight=weight)


def touch(names: Names, rng: Random) -> Scenario:
    del rng
    path = names.path()
    return Scenario("touch", {"p": path}, (Step(f"touch {path}", does(f"I created {path}.")),), subject=path)


def _text(names: Names, rng: Random) -> str:
    text = names.text()
    if rng.random() < 0.1:
        return (
            rng.choice(["it's ", "don't ", "I'm ", "that's ", "let's ", "can't ", f"{names.word()}'s "])
            + text
        )
    return text


def write(names: Names, rng: Random) -> Scenario:
    path, text = names.path(), _text(names, rng)
    step = Step(f"echo {literal(text)} > {path}", does(f"I wrote {path}."))
    return Scenario("write", {"p": path, "t": _quoted_text(text, rng)}, (step,), subject=path)


def append(names: Names, rng: Random) -> Scenario:
    path, text = names.path(), _text(names, rng)
    step = Step(f"echo {literal(text)} >> {path}", does(f"I added that to {path}."))
    slots = {"p": path, "t": _quoted_text(text, rng)}
    return Scenario("append", slots, (step,), {} if path[0] == "/" else {path: lines(rng)}, path)


def mkdir(names: Names, rng: Random) -> Scenario:
    folder = names.directory() if rng.random() < 0.3 else names.folder()
    step = Step(f"mkdir -p {folder}", does(f"I created the folder {folder}."))
    return Scenario("mkdir", {"d": folder}, (step,), subject=folder)


def remove(names: Names, rng: Random) -> Scenario:
    path = names.path()
    step = Step(f"rm {path}", does(f"I deleted {path}."))
    files = {path: "x\n"} if rng.random() < 0.8 and path[0] != "/" else {}
    return Scenario("remove", {"p": path}, (step,), files)


def remove_folder(names: Names, rng: Random) -> Scenario:
    folder = names.folder() if rng.random() < 0.8 else f"/tmp/{names.folder()}"
    step = Step(f"rm -r {folder}", does(f"I deleted the folder {folder}."))
    return Scenario("remove_folder", {"d": folder}, (step,), {folder: None} if rng.random() < 0.8 else {})


def rename(names: Names, rng: Random) -> Scenario:
    one, two = names.path(), names.path()
    step = Step(f"mv {one} {two}", does(f"I renamed {one} to {two}."))
    files = {one: "x\n"} if rng.random() < 0.85 and one[0] != "/" else {}
    return Scenario("rename", {"a": one, "b": two}, (step,), files, two)


def move(names: Names, rng: Random) -> Scenario:
    one, folder = names.path(), names.folder() if rng.random() < 0.6 else names.directory()
    step = Step(f"mv {one} {folder}", does(f"I moved {one} to {folder}."))
    files: dict[str, str | None] = {one: "x\n"} if rng.random() < 0.85 and one[0] != "/" else {}
    if folder[0] not in "/~.":
        files[folder] = None
    return Scenario("move", {"a": one, "b": folder}, (step,), files)


def copy(names: Names, rng: Random) -> Scenario:
    one = names.path()
    two = names.path() if rng.random() < 0.7 else names.directory()
    step = Step(f"cp {one} {two}", does(f"I copied {one} to {two}."))
    files = {one: "x\n"} if rng.random() < 0.85 and one[0] != "/" else {}
    return Scenario("copy", {"a": one, "b": two}, (step,), files, two)


def copy_folder(names: Names, rng: Random) -> Scenario:
    one, two = names.folder(), names.folder()
    step = Step(f"cp -r {one} {two}", does(f"I copied the folder {one} to {two}."))
    return Scenario("copy_folder", {"a": one, "b": two}, (step,), {one: None} if rng.random() < 0.85 else {})


def executable(names: Names, rng: Random) -> Scenario:
    path = names.path(rng.choice(["sh", "sh", "py"]))
    step = Step(f"chmod +x {path}", does(f"{path} is executable now."))
    return Scenario(
        "executable", {"p": path}, (step,), {path: "echo hi\n"} if rng.random() < 0.85 else {}, path
    )


def replace(names: Names, rng: Random) -> Scenario:
    path, one, two = names.path(), names.word(), names.word()
    step = Step(f"sed -i 's/{one}/{two}/g' {path}", does(f"I replaced {one} with {two} in {path}."))
    slots = {"p": path, "a": one, "b": two}
    if rng.random() < 0.2:
        slots |= {"a": f'"{one}"', "b": f'"{two}"'}
    return Scenario("replace", slots, (step,), {} if path[0] == "/" else {path: f"{one} x\n"}, path)


def link(names: Names, rng: Random) -> Scenario:
    del rng
    one, two = names.path(), names.stem()
    step = Step(f"ln -s {one} {two}", does(f"{two} now links to {one}."))
    return Scenario("link", {"a": one, "b": two}, (step,))


def pack(names: Names, rng: Random) -> Scenario:
    folder = names.folder().split("/")[-1]
    step = Step(f"tar -czf {folder}.tar.gz {folder}", does(f"I packed {folder} into {folder}.tar.gz."))
    return Scenario("pack", {"d": folder}, (step,), {folder: None} if rng.random() < 0.85 else {})


def unpack(names: Names, rng: Random) -> Scenario:
    path = names.path(rng.choice(["tar.gz", "tgz", "tar"]))
    step = Step(
        f"tar -xf {path}",
        does(f"I unpacked {path}."),
        rng.choice(
            ["[no output]"] * 4 + [f"[exit code 2]\ntar: {path}: Cannot open: No such file or directory"]
        ),
    )
    return Scenario("unpack", {"p": path}, (step,))


def _then(
    first: Callable[[Names, Random], Scenario], command: str, answer: str, empty: str
) -> Callable[[Names, Random], Scenario]:
    """A second command on what the first one made, `{x}`."""

    def make(names: Names, rng: Random) -> Scenario:
        scenario = first(names, rng)
        made = scenario.subject or scenario.slots.get("d") or scenario.slots.get("p", "")
        step = scenario.steps[0]
        done = step.answer("[no output]")
        second = says(answer.replace("{x}", made), empty.replace("{x}", made))

        def both(told: str) -> str:
            said = second(told)
            return said if said.startswith("That failed") else f"{done} {said}"

        steps = (step, Step(command.replace("{x}", made), both))
        return Scenario(f"{scenario.kind}_then", scenario.slots, steps, scenario.files, made)

    return make


def _file_in_folder(names: Names, rng: Random) -> Scenario:
    del rng
    folder, file = names.folder(), names.file()
    steps = (
        Step(f"mkdir -p {folder}", does(f"I created the folder {folder}.")),
        Step(f"touch {folder}/{file}", does(f"I created the folder {folder}. I created {folder}/{file}.")),
    )
    return Scenario("mkdir_touch", {"d": folder, "f": file}, steps)


def _copy_delete(names: Names, rng: Random) -> Scenario:
    scenario = copy(names, rng)
    one, two = scenario.slots["a"], scenario.slots["b"]
    both = does(f"I copied {one} to {two}. I deleted {one}.")
    return Scenario("copy_delete", scenario.slots, (*scenario.steps, Step(f"rm {one}", both)), scenario.files)


def _script(names: Names, rng: Random) -> Scenario:
    path, text = names.file("sh"), names.text()
    steps = (
        Step(f"echo {literal(f'echo {text}')} > {path}", does(f"I wrote {path}.")),
        Step(f"bash {path}", says(f"I wrote {path}. It printed: {{}}")),
    )
    return Scenario("script", {"p": path, "t": _quoted_text(text, rng)}, steps)


def _list_after(first: Callable[[Names, Random], Scenario]) -> Callable[[Names, Random], Scenario]:
    return _then(first, "ls", "Those are the files here.", "There are no files here.")


SHOWIT = "[show it|print it|cat it|display it|show me what is in it|read it back|show its content|show the content|show me the content|output it|show the file|show me the file|print its contents|let me see it|read it]"
LISTIT = "[list it|show what is in it|list its contents|list its content|show me what's in it|look inside|ls it|list what's inside|list the contents|show its content|show it]"
AND = "[and|and then|, then|then|, and then|and after that|, afterwards|and also|, and]"
LISTHERE = "[list the files|list files|show the files|show me the files|ls|list everything here|list what is here|list the folder|show what is here|list the directory]"
P_TOUCH = f"""
    {MAKE} [a |an |]empty file [|{CALLED} ]{{p}}
    {MAKE} [a |a new |an empty |a blank |][file|text file] [|{CALLED} ]{{p}} [|without content|with nothing in it|, empty]
    [create|make|touch|add|new file|new empty file|create file|make file|make me a file|touch the file|create an empty] {{p}}
    """
P_WRITE = f"""
    [create|make|write|add|generate|new|save|set up|i need|i want] [a |the |a new |a text |][file|text file|document|file] [|{CALLED} ]{{p}} {TEXT} {{t}}
    [write|put|save|store|print|place|enter|dump|record] [|the text |the words |the line |the message |the sentence ]{{t}} [to|into|in|in the file|to the file|to a file called|in a file called|into a file named|in a new file called|into the file|to a file named|in a new file|as] {{p}}
    [create|make|write|generate] {{p}} {TEXT} {{t}}
    [echo] {{t}} [into|to] {{p}}
    [fill|overwrite] [the file |]{{p}} with [the text |]{{t}}
    [make|create] [me |]a [file|note|text file] {TEXT} {{t}} [called|named|and call it|and name it|in|and save it as|, call it|as] {{p}}
    """
P_MKDIR = f"""
    {MAKE} [a |the |a new |an empty |me a |][folder|directory|dir|subfolder|subdirectory|folder structure|new folder|new directory] [|{CALLED} |for ]{{d}}
    [mkdir|make dir|create dir|mkdir -p|make directory|create directory|create folder|make folder|new folder|new directory|new dir|add folder] [|called |named ]{{d}}
    i [need|want|would like] [a|a new] [folder|directory] [|called |named ]{{d}}
    [create|make] {{d}} as a [folder|directory|new folder]
    """
INTENTS = [
    _one("touch", touch, P_TOUCH),
    _one("write", write, P_WRITE, 2.5),
    _one("append", append, """
    [append|add|attach|write also] [|the text |the line |the words |a line |a line saying |a new line ]{t} [to|to the end of|at the end of|to the file|at the bottom of|to the bottom of|onto the end of|as a new line to|as a last line to] [|the file |file ]{p}
    [add|append] [a line|another line|one more line|a new line] to [|the file |file ]{p} [saying|that says|with|containing|with the text] {t}
    [extend|append to|add to] [|the file |file ]{p} [|with |: |the line |the text ]{t}
    """, 1.3),
    _one("mkdir", mkdir, P_MKDIR, 1.5),
    _one("remove", remove, """
    [delete|remove|rm|erase|get rid of|trash|throw away|throw out|discard|wipe out|kill the file|drop the file|please remove|unlink|dispose of|bin] [|the file |file |my file |this file: |the ]{p} [|for me|now|from disk|from here|permanently]
    i [want to|need to|would like to] [delete|remove|get rid of|erase] [|the file ]{p}
    [i don't need|i no longer need|we don't need|i do not need] [|the file ]{p} [any more|anymore|any longer], [delete it|remove it|please delete it|so delete it]
    """, 1.5),
    _one("remove_folder", remove_folder, """
    [delete|remove|erase|get rid of|trash|throw away|rm|wipe out|rm -r] [the |my |][folder|directory|dir|whole folder|whole directory|entire folder|entire directory|subfolder] [|called |named ]{d} [|and everything in it|with everything in it|and its contents|and all its content|recursively|with all its files]
    [delete|remove|erase] {d} [and everything in it|with everything in it|recursively|and all its contents|the folder, with all its files]
    [rmdir|recursively delete|recursively remove|delete recursively] [|the folder ]{d}
    """),
    _one("rename", rename, """
    [rename|change the name of] [|the file |file |my file ]{a} [to|into|as] {b}
    [move|mv] [|the file |file ]{a} to {b} []
    [give|change] [|the file ]{a} the [new |]name {b}
    [call|name] [|the file ]{a} {b} [from now on|instead]
    [i want|the file] {a} [to be called|should be called|to be named|should be named] {b}
    """, 1.3),
    _one("move", move, """
    [move|mv|put|shift|transfer|relocate] [|the file |file |my file ]{a} [into|inside|in|to] [the folder|the directory|folder|the dir|the subfolder] {b}
    [move|put|shift|transfer] [|the file |file ]{a} [into|inside] {b}
    [move|put] [|the file |file ]{a} [to|in|into] {b} [folder|directory]
    """),
    _one("copy", copy, """
    [copy|duplicate|cp|clone|make a copy of|make a duplicate of|create a copy of|back up|backup|make a backup of|save a copy of] [|the file |file |my file ]{a} [to|as|into|and call it|under the name|and name it|and call the copy] {b}
    [make|create] [a copy|a duplicate|a backup|another copy] of [|the file |file ]{a} [called|named|as|in|with the name|under the name] {b}
    """, 1.3),
    _one("copy_folder", copy_folder, """
    [copy|duplicate|clone|back up|make a copy of] [the |my |][folder|directory|dir|whole folder|whole directory|entire folder] {a} [to|as|into|and call it] {b}
    [copy|duplicate] {a} [recursively to|with everything in it to|and everything in it to|with all its files to] {b}
    """),
    _one("executable", executable, """
    [make|turn] [|the file |the script |script ]{p} [executable|runnable|into an executable]
    [chmod +x|mark as executable|give execute permission to|give execute rights to|add execute permission to|set the executable bit of|add the executable bit to|allow execution of|allow executing|set execute permission on] [|the file |the script ]{p}
    """),
    _one("replace", replace, """
    [replace|change|substitute|swap] [|every |all |all occurrences of |each |the word |the text |every occurrence of ]{a} [with|by|to|for|into] [|the word |the text ]{b} in [|the file |file ]{p}
    in [|the file |file ]{p} [replace|change|substitute|swap] [|every |all |the word ]{a} [with|by|to] {b}
    [search and replace|find and replace] {a} with {b} in [|the file ]{p}
    edit {p} so that {a} becomes {b}
    """),
    _one("link", link, """
    [create|make|add|set up] [a |a new |][symlink|symbolic link|soft link|link] [called|named] {b} [to|pointing to|that points to|for] {a}
    [create|make|add] [a |][symlink|symbolic link|link] [from {b} to {a}|to {a} called {b}|to {a} named {b}]
    [symlink|link] {a} [as|to the name|under the name] {b}
    """),
    _one("pack", pack, """
    [pack|compress|archive|tar|tar up|zip up|make an archive of|create a tarball of|make a tarball of|create an archive of|create a tar archive of|make a tar.gz of|pack up|bundle|create a compressed archive of|gzip] [|the folder |the directory |folder ]{d}
    """),
    _one("unpack", unpack, """
    [unpack|extract|untar|unzip|decompress|open the archive|expand|uncompress|extract everything from] [|the archive |the file |the tarball ]{p} [|here]
    """),
    _one("write_show", _then(write, "cat {x}", "That is the content of {x}.", "{x} is empty."), "\n".join(
        f"{line.strip()} {AND} {SHOWIT}" for line in P_WRITE.strip().splitlines()), 1.6),
    _one("mkdir_list", _then(mkdir, "ls {x}", "Those are the files in {x}.", "{x} is empty."), "\n".join(
        f"{line.strip()} {AND} {LISTIT}" for line in P_MKDIR.strip().splitlines()), 1.6),
    _one("touch_list", _list_after(touch), "\n".join(
        f"{line.strip()} {AND} {LISTHERE}" for line in P_TOUCH.strip().splitlines())),
    _one("mkdir_ls", _list_after(mkdir), "\n".join(
        f"{line.strip()} {AND} {LISTHERE}" for line in P_MKDIR.strip().splitlines())),
    _one("write_count", _then(write, "wc -w {x}", "Its number of words is above.", ""), "\n".join(
        f"{line.strip()} {AND} [count its words|count the words in it|tell me how many words it has|count the words]"
        for line in P_WRITE.strip().splitlines())),
    _one("append_show", _then(append, "cat {x}", "That is the content of {x}.", "{x} is empty."), f"""
    [append|add] [|the text |the line |the words |a line saying ]{{t}} [to|to the end of|to the file] {{p}} {AND} {SHOWIT}
    """),
    _one("replace_show", _then(replace, "cat {x}", "That is the content of {x}.", "{x} is empty."), f"""
    [replace|change] [|every |all |the word ]{{a}} [with|by|to] {{b}} in {{p}} {AND} {SHOWIT}
    """),
    _one("copy_show", _then(copy, "cat {x}", "That is the content of {x}.", "{x} is empty."), f"""
    [copy|duplicate|cp] [|the file ]{{a}} [to|as] {{b}} {AND} [show {{b}}|cat {{b}}|print {{b}}|show the copy|display the copy|show it]
    """),
    _one("rename_list", _list_after(rename), f"[rename|move] [|the file ]{{a}} to {{b}} {AND} {LISTHERE}"),
    _one("remove_list", _list_after(remove), f"[delete|remove|rm|erase] [|the file ]{{p}} {AND} {LISTHERE}"),
    _one("mkdir_touch", _file_in_folder, f"""
    {MAKE} [a |][folder|directory] [|called |named ]{{d}} {AND} [put|create|make|add] [a |an empty |a new |][file|empty file] [|called |named ]{{f}} [in it|inside|inside it|in there|into it|in that folder]
    {MAKE} [a |][folder|directory] [|called |named ]{{d}} with [a |an empty |][file|empty file] [|called |named ]{{f}} [in it|inside|]
    """),
    _one("copy_delete", _copy_delete, f"""
    [copy|duplicate|cp] [|the file ]{{a}} [to|as] {{b}} {AND} [delete|remove|rm|erase] [{{a}}|the original|the old one|the old file|the first one]
    """),
    _one("script", _script, f"""
    [create|make|write] [a |][script|bash script|shell script] [|called |named ]{{p}} [that prints|printing|which prints|that says|that echoes|to print] {{t}} {AND} [run it|execute it|start it|run the script]
    """),
]  # fmt: skip
