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


def touch_in(names: Names, rng: Random) -> Scenario:
    folder, file = names.folder(), names.file()
    step = Step(f"touch {folder}/{file}", does(f"I created {folder}/{file}."))
    files: dict[str, str | None] = {folder: None} if rng.random() < 0.85 else {}
    return Scenario("touch_in", {"d": folder, "f": file}, (step,), files)


def mkdir_nested(names: Names, rng: Random) -> Scenario:
    del rng
    outer, inner = names.folder(), names.stem()
    step = Step(f"mkdir -p {outer}/{inner}", does(f"I created the folder {outer}/{inner}."))
    return Scenario("mkdir_nested", {"a": outer, "b": inner}, (step,))


def read_only(names: Names, rng: Random) -> Scenario:
    path = names.path()
    step = Step(f"chmod 444 {path}", does(f"{path} is read-only now."))
    files = {path: "x\n"} if rng.random() < 0.85 and path[0] != "/" else {}
    return Scenario("read_only", {"p": path}, (step,), files, path)


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


AND = "[and|and then|, then|then|, and then|and after that|, afterwards|and also|, and]"
P_TOUCH = f"""
    {MAKE} [a |an |]empty file [|{CALLED} ]{{p}}
    {MAKE} [a |a new |an empty |a blank |][file|text file] [|{CALLED} ]{{p}} [|without content|with nothing in it|, empty]
    [create|make|touch|add|new file|new empty file|create file|make file|make me a file|touch the file|create an empty] {{p}}
    [i want|i need|i'd like|give me|make me|get me|let me have] [a|an|a new] [blank|empty|new empty|new blank] [file|text file] [|called |named |with the name ]{{p}}
    [create|make|start|add] [|me ][a |an |a new |][blank|empty|new|fresh] [file|text file|document] [|called |named |with the name |by the name of ]{{p}} [|with nothing in it|, nothing in it|, leave it empty|, no content|without any content]
    [touch|touch the file|touch a file called|touch a new file called] {{p}}
    [new|new empty|empty|blank|fresh] [file|text file]: {{p}}
    [there should be|i want to have|we need|i need] [an|a new] empty file [called |named |]{{p}} [|here]
    """
P_WRITE = f"""
    [create|make|write|add|generate|new|save|set up|i need|i want] [a |the |a new |a text |][file|text file|document|file] [|{CALLED} ]{{p}} {TEXT} {{t}}
    [write|put|save|store|print|place|enter|dump|record] [|the text |the words |the line |the message |the sentence ]{{t}} [to|into|in|in the file|to the file|to a file called|in a file called|into a file named|in a new file called|into the file|to a file named|in a new file|as] {{p}}
    [create|make|write|generate] {{p}} {TEXT} {{t}}
    [echo] {{t}} [into|to] {{p}}
    {{p}} should [contain|have|say|read|hold|just contain|contain just|contain only] [|the text |the line |the words |only |just ]{{t}}
    [i want|i need|i'd like] [|a |a new ][new file|file|text file] {{p}} [and inside it|and in it|with|containing|that says|and inside|and inside it word|and inside it the word|and inside it the text|which says] {{t}}
    [save|write|put|store|note|note down|jot down|record|place|stick] [|the text |the words |the word |the line |the sentence |the message |this line: |this text: |this: ]{{t}} [into|in|to|inside|as the content of] [|a file |a file called |a file named |the file |file |a new file |a new file called |a text file called |my file ]{{p}}
    [make|create|start|open|set up|produce] [|me ][a |a new |][file|text file|new file|note] [|called |named |with the name ]{{p}} [containing|with|that contains|which contains|saying|that says|with the content|with the text|and write into it|and write in it|and put in it|and save in it|and fill it with|having the content|, content:|, text:] {{t}}
    [in|into|inside] [|the file |a file called |a new file |a new file called ]{{p}} [write|put|save|store|note] [|the text |the words |the word |the line ]{{t}}
    [set|let] [the content of |the contents of |the text of |]{{p}} [to|be] {{t}}
    [file|new file] {{p}}[:| with| containing| with content] {{t}}
    [fill|overwrite] [the file |]{{p}} with [the text |]{{t}}
    [make|create] [me |]a [file|note|text file] {TEXT} {{t}} [called|named|and call it|and name it|in|and save it as|, call it|as] {{p}}
    """
P_MKDIR = f"""
    {MAKE} [a |the |a new |an empty |me a |][folder|directory|dir|subfolder|subdirectory|folder structure|new folder|new directory] [|{CALLED} |for ]{{d}}
    [mkdir|make dir|create dir|mkdir -p|make directory|create directory|create folder|make folder|new folder|new directory|new dir|add folder] [|called |named ]{{d}}
    i [need|want|would like] [a|a new] [folder|directory] [|called |named ]{{d}}
    [create|make] {{d}} as a [folder|directory|new folder]
    [make|create|add|set up|prepare|open] [|me ][a |the |a new |an empty |one ][folder|directory|dir|subfolder|subdirectory|new folder|new directory] [|called |named |with the name |by the name |by name ]{{d}} [|for me|here|in this folder]
    [i need|i want|i'd like|i would like|we need] [a |a new |a place for my files, a |][folder|directory|dir|subfolder] [|called |named |with the name |by the name of ]{{d}} [|here]
    [i need|i want] [a place|somewhere|room|space] [to put|to store|to keep|for] [my files|my stuff|things|my papers|old things], [create|make] [a |the |][folder|directory] {{d}}
    [create|make] [folder|directory|dir|the folder|the folders|the directories|the directory|folders|directories|the nested folders|nested folders|the path|the directory path] {{d}} [|for me]
    [new|make new|create new] [folder|directory|dir|subfolder][|:] {{d}}
    [there should be|make sure there is|i need there to be] a [folder|directory] [called |named |]{{d}} [|here]
    [mkdir|mkdir -p|md|mkdir a folder called] {{d}}
    """
INTENTS = [
    _one("touch", touch, P_TOUCH),
    _one("touch_in", touch_in, """
    [put|place|drop|add|make|create|leave] [a|an|a new|one] [empty|blank|new empty] [|file |text file |file called |file named ]{f} [in|into|inside|under] [|the folder |folder |the directory |my ]{d}
    [touch|create|make|add] [|the file |a file |a file called |an empty file ]{f} [in|inside|within] [the folder|the directory|folder] {d}
    in [|the folder |folder |the directory ]{d}[|,] [create|make|put|add|touch] [an |a new |a |][empty file|file|empty file called|file called] {f}
    """),
    _one("write", write, P_WRITE, 2.5),
    _one("append", append, """
    [append|add|attach|write also] [|the text |the line |the words |a line |a line saying |a new line ]{t} [to|to the end of|at the end of|to the file|at the bottom of|to the bottom of|onto the end of|as a new line to|as a last line to] [|the file |file ]{p}
    [add|append] [a line|another line|one more line|a new line] to [|the file |file ]{p} [saying|that says|with|containing|with the text] {t}
    [extend|append to|add to] [|the file |file ]{p} [|with |: |the line |the text ]{t}
    [at|to|on|onto|in] the [end|bottom|very end|last line] of [|the file |file |my ]{p} [write|add|put|append|stick|place] [|the line |the text |the words |a line saying |a line ]{t}
    [stick|put|tack|slap|push|place|insert] [|the line |the text |the words |the word ]{t} [at the end of|onto the end of|onto the bottom of|on the bottom of|at the bottom of|to the end of] [|the file |file |my ]{p}
    [add|append|put|write] [|one more |another |a new |a further |a |the |this ][line|entry|row|line of text] [to|into|at the end of|in] [|the file |file |my ]{p}: {t}
    [add|append] [|the line |the text |the words |the word |the entry |another line |a line |a line saying |a new line ]{t} [to|onto|at the end of|to the end of|to the bottom of|as a new line to|as a new line in] [|the file |file |my ]{p}
    [also |][write|add|put] {t} [as a new line |as the last line |as one more line |]at the end of [|the file |file ]{p}
    [append to|add to|extend] [|the file |file |my ]{p} [the line|the text|the words|the following:|this line:|:] {t}
    """, 1.3),
    _one("mkdir", mkdir, P_MKDIR, 1.5),
    _one("mkdir_nested", mkdir_nested, """
    [make|create|add] [a |the |][folder|directory] [|called |named ]{a} with [a |the |][folder|directory|subfolder|subdirectory] [|called |named ]{b} [inside|inside of it|in it|inside it|within|in there]
    [make|create|add|put] [a |the |][folder|directory|subfolder|new folder] [|called |named ]{b} [in|inside|within|under|into] [|the |a ][folder |directory |][|called ]{a}
    [in|inside] [|the folder |folder |the directory ]{a}[|,] [make|create|add] [a |][folder|directory|subfolder|subdirectory] [|called |named ]{b}
    """),
    _one("remove", remove, """
    [delete|remove|rm|erase|get rid of|trash|throw away|throw out|discard|wipe out|kill the file|drop the file|please remove|unlink|dispose of|bin] [|the file |file |my file |this file: |the ]{p} [|for me|now|from disk|from here|permanently]
    i [want to|need to|would like to] [delete|remove|get rid of|erase] [|the file ]{p}
    [i don't need|i no longer need|we don't need|i do not need] [|the file ]{p} [any more|anymore|any longer], [delete it|remove it|please delete it|so delete it]
    [remove|delete|erase|trash|rm|get rid of|dump|throw out|throw away|kill|destroy|scrap|drop] [|the file |file |my file |that file |the file called |the file named |my |the old file ]{p}[|, i don't need it|, i dont need it|, i do not need it anymore|, it is not needed|, it's old|, we don't need it any more|, it is useless| for good| from this folder| from here| please, it is not needed]
    [i don't need|i dont need|i no longer need|we don't need|i have no use for|nobody needs] [|the file |file |my file |my ]{p} [anymore|any more|any longer|now|] [, delete it|, remove it|, please remove it|, get rid of it|, trash it|so remove it|so delete it|, throw it away|, you can delete it]
    {p} [can go|can be deleted|can be removed|should be deleted|should be removed|must go|is not needed, delete it|has to go|is trash, delete it|is old, remove it]
    [make|let] [|the file ]{p} [disappear|go away|vanish]
    [i want|i would like|i need] [|the file ]{p} [deleted|removed|gone|to be deleted|to be gone|erased]
    """, 1.5),
    _one("remove_folder", remove_folder, """
    [delete|remove|erase|get rid of|trash|throw away|rm|wipe out|rm -r] [the |my |][folder|directory|dir|whole folder|whole directory|entire folder|entire directory|subfolder] [|called |named ]{d} [|and everything in it|with everything in it|and its contents|and all its content|recursively|with all its files]
    [delete|remove|erase] {d} [and everything in it|with everything in it|recursively|and all its contents|the folder, with all its files]
    [rmdir|recursively delete|recursively remove|delete recursively] [|the folder ]{d}
    [remove|delete|erase|trash|rm|get rid of|throw away|drop|destroy] [the |my |that |the whole |the entire |the old |the empty |this |][folder|directory|dir|subfolder] [|called |named ]{d} [|and all its contents|and all files in it|and all that is in it|with all that is in it|including its files|including everything in it|and its files|with its contents|, i don't need it|, it is not needed|completely|for good]
    [remove|delete|erase] {d} [folder|directory|and all that is in it|with all its contents|including all files in it|recursively with its files]
    [the folder|the directory|folder|directory] {d} [can go|can be deleted|should be removed|is not needed anymore, delete it|must go|is old, remove it|has to go]
    [i don't need|i no longer need] the [folder|directory] {d} [anymore|any more|any longer][, delete it|, remove it|, get rid of it]
    [rm -r {d}|rm -rf {d}|rm -r the folder {d}|rmdir {d}|rm the directory {d}]
    """),
    _one("rename", rename, """
    [rename|change the name of] [|the file |file |my file ]{a} [to|into|as] {b}
    [move|mv] [|the file |file ]{a} to {b} []
    [give|change] [|the file ]{a} the [new |]name {b}
    [call|name] [|the file ]{a} {b} [from now on|instead]
    [i want|the file] {a} [to be called|should be called|to be named|should be named] {b}
    [rename|rename the file|rename my file|rename file|rename the folder|rename the directory|rename folder] {a} [to|into|as|so that it is called|so it is called] {b} [|please|for me]
    [change|switch] the [name|file name|filename|folder name] [of|from] [|the file |file |folder ]{a} [to|into] {b}
    [change|switch] [folder|file|the folder|the file] name [from |of |]{a} to {b}
    [the file|file|my file] {a} [has a typo in the name, call it|has the wrong name, call it|is named wrong, call it|has a bad name, rename it to|needs a new name:|should have the name|should be named|should really be called|ought to be called|has a misspelled name, it should be] {b} [|instead]
    [i want|i'd like|please let] [|the file ]{a} [renamed to|to have the name|to be renamed to|be called] {b}
    [give|assign] [|the file |my file ]{a} [the name|the new name|a new name:|another name:] {b}
    [call|name] [|the file |my file ]{a} {b} [instead|from now on|please|now]
    [set|make] the name of [|the file ]{a} {b}
    """, 1.3),
    _one("move", move, """
    [move|mv|put|shift|transfer|relocate] [|the file |file |my file ]{a} [into|inside|in|to] [the folder|the directory|folder|the dir|the subfolder] {b}
    [move|put|shift|transfer] [|the file |file ]{a} [into|inside] {b}
    [move|put] [|the file |file ]{a} [to|in|into] {b} [folder|directory]
    [put|place|stick|throw|drop|move|shift|file] [|the file |file |my file |my ]{a} [in|into|inside|to|over to|away in|under] [the|my|our] {b} [folder|directory|dir]
    [put|place|stick|throw|drop|move|shift] [|the file |file |my file |my ]{a} [in|into|inside|under] [|the |my ][folder |directory |][|called |named ]{b}
    [move|mv|relocate|transfer|shift] [|the file |file |my file |my ]{a} [to|into|over to|over into|from here to|in] [|the folder |folder |the directory |my folder |dir ]{b} [|folder|please]
    [mv {a} {b}/|mv {a} to {b}/|move {a} to {b}/|move {a} into {b}/|put {a} into {b}/]
    {a} [should be in|belongs in|belongs into|should go to|should go into|has to go into|must go into] [|the folder |folder ]{b}[|, move it there|, put it there|, so move it]
    [i want|i'd like|i need] [|the file ]{a} [moved to|moved into|in|inside|to be in] [the folder|the directory|folder] {b}
    """),
    _one("copy", copy, """
    [copy|duplicate|cp|clone|make a copy of|make a duplicate of|create a copy of|back up|backup|make a backup of|save a copy of] [|the file |file |my file ]{a} [to|as|into|and call it|under the name|and name it|and call the copy] {b}
    [make|create] [a copy|a duplicate|a backup|another copy] of [|the file |file ]{a} [called|named|as|in|with the name|under the name] {b}
    [copy|cp|duplicate|clone|back up|backup] [|the file |file |my file |my ]{a} [to|into|as|over to|onto|under the name|under the new name|with the name|with the new name|and call it|and name it|to a file called|to a new file called|to a file named] {b}
    [make|create|give|i want|i need|get] [|me ][a |another |one more ][copy|duplicate|backup|second copy|clone|backup copy] [of|from] [|the file |file |my ]{a} [with the name|named|called|as|under the name|and call it|and name it|to|by the name of|into|which is called] {b}
    [save|store|keep] [|the file |a copy of |a backup of ]{a} [also |][as|under|under the name|with the name] {b}
    [copy|cp|put a copy of|place a copy of|make a copy of] [|the file |file ]{a} [into|to|in|inside] [|the |my ][folder|directory|dir] {b}
    [copy|cp] [|the file |file ]{a} [into|in|to] [|the |my ]{b} [folder|directory]
    [cp {a} {b}|cp {a} into {b}|cp {a} to {b}|copy {a} {b}|copy {a} -> {b}]
    """, 1.3),
    _one("copy_folder", copy_folder, """
    [copy|duplicate|clone|back up|make a copy of] [the |my |][folder|directory|dir|whole folder|whole directory|entire folder] {a} [to|as|into|and call it] {b}
    [copy|duplicate] {a} [recursively to|with everything in it to|and everything in it to|with all its files to] {b}
    [copy|duplicate|clone|back up|backup|replicate] [the |my |this |the whole |the entire |the complete ][folder|directory|dir] [|called |named ]{a} [to|as|into|and call it|and name it|under the name|to a new folder called|to the folder|to folder|over to|with everything in it to] {b}
    [make|create] [a |me a |][copy|duplicate|backup|full copy] of the [folder|directory|whole folder|entire folder] {a} [called|named|as|to|in|and call it|with the name] {b}
    [copy|duplicate] [|the folder |the directory ]{a} and [everything in it|all its files|all files in it|its contents|all of its contents|all that is in it] [to|into|as] {b}
    [cp -r {a} {b}|cp -r {a} to {b}|copy {a} recursively to {b}|recursively copy {a} to {b}|copy recursively {a} to {b}]
    """),
    _one("executable", executable, """
    [make|turn] [|the file |the script |script ]{p} [executable|runnable|into an executable]
    [chmod +x|mark as executable|give execute permission to|give execute rights to|add execute permission to|set the executable bit of|add the executable bit to|allow execution of|allow executing|set execute permission on] [|the file |the script ]{p}
    [i want to be able to run|i need to be able to run|i want to run|i'd like to be able to execute|i can't run|i cannot execute] {p}[|,] [set the permission|set the permissions|make it executable|give it the right permission|set the execute bit|fix the permission|set the right permissions|allow it]
    [make|mark|set|turn] [|the file |the script |my script |file |script ][|called ]{p} [executable|as executable|runnable|to executable|to be executable|so that it can be run|so i can run it|so that i can execute it]
    [give|add|set|grant|allow] [|me |the ][execute|execution|exec|executable|run|x] [permission|permissions|rights|bit|flag|right] [to|for|on|of] [|the file |the script ]{p}
    [chmod +x {p}|chmod +x the file {p}|chmod {p} so it is executable|chmod {p} +x|chmod it executable: {p}|{p} should be executable|{p} needs to be executable|{p} must be executable|let me execute {p} by setting its permissions]
    """),
    _one("read_only", read_only, """
    [make|set|mark|turn] [|the file |file |my file ]{p} [read only|read-only|as read only|to read only|unwritable|so nobody can change it|write protected]
    [write protect|write-protect|protect|chmod 444|forbid writing to|take away the write permission from|remove the write permission of|remove write permission from] [|the file ]{p}
    """),
    _one("replace", replace, """
    [replace|change|substitute|swap] [|every |all |all occurrences of |each |the word |the text |every occurrence of ]{a} [with|by|to|for|into] [|the word |the text ]{b} in [|the file |file ]{p}
    in [|the file |file ]{p} [replace|change|substitute|swap] [|every |all |the word ]{a} [with|by|to] {b}
    [search and replace|find and replace] {a} with {b} in [|the file ]{p}
    edit {p} so that {a} becomes {b}
    [replace|change|swap|substitute|turn] [|every |each |all |all the |any ][|word |text |occurrence of |occurrences of |instance of ]{a} [with|by|to|for|into] [|the word |the text ]{b} [in|inside|within|throughout|everywhere in|all over] [|the file |file |my ]{p}
    [in|inside] [|the file |file |my ]{p}[|,] [replace|change|swap|turn] [|every |all |each |the word ]{a} [with|to|by|into|for] {b}
    [i want|i'd like] {a} [replaced by|replaced with|changed to] {b} in [|the file ]{p}
    [use sed to replace|sed] {a} [with|by|to] {b} in {p}
    """),
    _one("pack", pack, """
    [pack|compress|archive|tar|tar up|zip up|make an archive of|create a tarball of|make a tarball of|create an archive of|create a tar archive of|make a tar.gz of|pack up|bundle|create a compressed archive of|gzip] [|the folder |the directory |folder ]{d}
    [pack|compress|archive|tar|zip|bundle|wrap|squash] [|up ][the |my |the whole |][folder|directory|dir] {d} [|into an archive|into a tarball|into a tar.gz|as tar.gz|as a tarball|to a tar.gz file|into one file|into a compressed file]
    [make|create|build|i need|i want] [|me ][an |a ][archive|tarball|tar.gz|tar archive|compressed archive|tar.gz archive] [of|from|out of|with] [|the folder |the directory |folder ]{d}
    """),
    _one("mkdir_touch", _file_in_folder, f"""
    {MAKE} [a |][folder|directory] [|called |named ]{{d}} {AND} [put|create|make|add] [a |an empty |a new |][file|empty file] [|called |named ]{{f}} [in it|inside|inside it|in there|into it|in that folder]
    {MAKE} [a |][folder|directory] [|called |named ]{{d}} with [a |an empty |][file|empty file] [|called |named ]{{f}} [in it|inside|]
    [make|create] [a |the |][folder|directory|dir] [|called |named ]{{d}} {AND} [put|create|make|add|place|touch] [an empty file|a file|an empty file called|a file called|a file named|an empty file named|a new file|the file] {{f}} [in it|inside|inside it|in there|into it|in that folder|inside of it]
    [mkdir|make] {{d}} {AND} [touch|put] [|a file |an empty file ]{{f}} [in it|inside it|in there]
    """),
    _one("copy_delete", _copy_delete, f"""
    [copy|duplicate|cp] [|the file ]{{a}} [to|as] {{b}} {AND} [delete|remove|rm|erase] [{{a}}|the original|the old one|the old file|the first one]
    [make a copy of|copy|back up|duplicate|cp] [|the file ]{{a}} [called|named|as|to|under the name] {{b}} {AND} [delete|remove|rm|erase|get rid of] [{{a}}|the original|the old one|the old file|the first one|the original file|the first file]
    """),
    _one("script", _script, f"""
    [create|make|write] [a |][script|bash script|shell script] [|called |named ]{{p}} [that prints|printing|which prints|that says|that echoes|to print] {{t}} {AND} [run it|execute it|start it|run the script]
    [create|make|write] [a |me a |][script|bash script|shell script] [|called |named ]{{p}} [that prints|printing|which prints|that says|that echoes|to print|that outputs] {{t}} {AND} [run it|execute it|start it|run the script|launch it|show what it prints]
    """),
]  # fmt: skip
