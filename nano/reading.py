"""Requests that look at files and folders and change nothing."""

from random import Random

from nano.names import TEXT_WORDS, Names
from nano.scenario import Answer, Intent, Scenario, Step, failed, quoted, says

Files = dict[str, str | None]
SHOW = "[show|show me|print|display|cat|read|read me|output|view|dump|see|look at|give me|gimme|i want to see|let me see|let me read|get]"
LISTV = "[list|show|show me|display|print|give me|tell me|what are|see|enumerate]"
FILEP = "[|the file |file |the ]{p}"
HOWMANY = "[how many|what's the number of|what is the number of|number of|the number of|count of|count the|count|count all the|tell me how many|give me the number of]"
IN = "[in|of|inside|from|within]"


WRITTEN = {
    "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight",
    "10": "ten", "12": "twelve", "15": "fifteen", "20": "twenty", "30": "thirty", "50": "fifty", "100": "hundred",
}  # fmt: skip


def lines(rng: Random, count: int | None = None) -> str:
    """Makes the content of a text file."""
    rows = range(rng.randint(1, 9) if count is None else count)
    return "".join(" ".join(rng.choice(TEXT_WORDS) for _ in range(rng.randint(1, 5))) + "\n" for _ in rows)


def _present(path: str, rng: Random) -> Files:
    """The file, most of the time; system files are there by themselves."""
    if path.startswith(("/etc/", "/proc/", "/sys/", "/usr/lib/os-")) or rng.random() < 0.12:
        return {}
    return {path: lines(rng) if rng.random() < 0.93 else ""}


def about_file(kind: str, command: str, answer: str, phrases: str, *, empty: str = "{p} is empty.",
               weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent with one file and perhaps a small number `{n}`."""

    def make(names: Names, rng: Random) -> Scenario:
        path, n = names.path(), str(names.few())
        slots = {"p": path, "n": WRITTEN.get(n, n) if rng.random() < 0.25 and kind != "line" else n}
        step = Step(
            command.format(p=quoted(path), n=n),
            says(answer.replace("{p}", path).replace("{n}", n),
                 empty.replace("{p}", path).replace("{n}", n)),
        )  # fmt: skip
        return Scenario(kind, slots, (step,), _present(path, rng), subject=path)

    return Intent(kind, phrases, make, weight=weight)


def about_folder(kind: str, command: str, answer: str, phrases: str, *, empty: str = "{d} is empty.",
                 weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent with one folder."""

    def make(names: Names, rng: Random) -> Scenario:
        folder = names.directory()
        files: Files = {}
        if not folder.startswith(("/etc", "/proc", "/usr", "/")) and rng.random() < 0.85:
            files = {f"{folder}/{names.file()}": lines(rng) for _ in range(rng.randint(0, 4))}
            files[folder] = None
        step = Step(command.format(d=folder), says(answer.replace("{d}", folder), empty.replace("{d}", folder)))  # fmt: skip
        return Scenario(kind, {"d": folder}, (step,), files)

    return Intent(kind, phrases, make, weight=weight)


def here(kind: str, command: str, answer: str, phrases: str, *, empty: str = "There are no files here.",
         weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent about the current folder, without arguments."""

    def make(names: Names, rng: Random) -> Scenario:
        files: Files = {names.file(): lines(rng) for _ in range(rng.choice([0, 1, 2, 3, 5]))}
        if rng.random() < 0.4:
            files[names.stem()] = None
        return Scenario(kind, {}, (Step(command, says(answer, empty)),), files)

    return Intent(kind, phrases, make, weight=weight)


def _counted(path: str, unit: str) -> Answer:
    def answer(told: str) -> str:
        if problem := failed(told):
            return problem
        count = told.split(maxsplit=1)[0]
        return f"{path} has {count} {unit if count == '1' else unit + 's'}."

    return answer


def _count(kind: str, flag: str, unit: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        path = names.path()
        step = Step(f"wc {flag} {quoted(path)}", _counted(path, unit))
        if rng.random() < 0.5:
            step = Step(step.command, step.answer, f"{names.number()} {path}")
        return Scenario(kind, {"p": path}, (step,), _present(path, rng), subject=path)

    return Intent(kind, phrases, make, weight=1.6)


def _exists(names: Names, rng: Random) -> Scenario:
    path = names.path() if rng.random() < 0.75 else names.directory()

    def answer(told: str) -> str:
        return failed(told) or (f"Yes, {path} exists." if told == "yes" else f"No, there is no {path}.")

    step = Step(f"test -e {quoted(path)} && echo yes || echo no", answer, rng.choice(["yes", "no"]))
    return Scenario("exists", {"p": path}, (step,), subject=path)


INTENTS = [
    here("list", "ls", "Those are the files here.", """
    [list|show|show me|display|print|see|get|enumerate] [|all|all the|the|my|me the|out the] [files|file names|folder contents|directory contents|directory listing|contents of this folder|contents of the current directory|contents of this directory|stuff in here|content of this dir|files and folders]
    [list|show|show me|display|print|give me|see] [|all|all the|the|my] [files|file names|contents|things|stuff] [here|in here|in this folder|in this directory|in the current directory|in the current folder|in the working directory|in my folder|in this dir|of this directory|in my workspace|in the cwd]
    [what|which] files [are here|are in this folder|are there|do i have|do we have|have i got|exist here|are in the current directory|are in this directory|can you see|are in my folder|do you see here|are in here]
    what [is|do you see|do we have|have we got|do i have] [in here|here|in this folder|in this directory|in the current directory|in the current folder|inside this directory|in my folder]
    what's [in here|here|in this folder|in this directory|in the current directory|in the current folder|in this dir|inside this folder|lying around here|in my workspace]
    [ls|dir|list|list here|ls please|do an ls|files|run ls for me|directory listing]
    [can i see|i need|i want|i'd like|could i get] [a list of|to see|a listing of] [the|all|my|all the] files [|here|in this folder]
    are there any files [here|in this folder|in this directory|in here|around]
    """, weight=1.5),
    here("list_hidden", "ls -a", "Those are all the files here, hidden ones too.", f"""
    {LISTV} [|all |all the |the |my ][hidden files|dotfiles|dot files|invisible files|hidden ones|files starting with a dot] [|here|in this folder|in this directory|too]
    {LISTV} [all|all the|the|every] [files|file|contents] [|here|in this folder] [including|with|even|also|and] [the |][hidden|hidden ones|hidden files|dotfiles|invisible ones]
    [are there|do i have|have we got|what are the|which are the] [any |][hidden files|dotfiles|hidden ones|dot files] [here|in this folder|in this directory|]
    [ls -a|what hidden files are here|which files are hidden|what files are hidden here|also show hidden files]
    """),
    here("list_long", "ls -l", "Those are the files here, in detail.", f"""
    {LISTV} [|all |the |all the ]files [|here |in this folder |in this directory ][in detail|with details|in long format|with their sizes|with sizes|with permissions|with dates|with sizes and dates|with owner and size|in a long listing|long form]
    {LISTV} [|a |me a |the ][detailed|long|verbose|full] [list|listing|file list|directory listing] [|here|of this folder|of the files|of files|of this directory]
    [what are the sizes of|how big are|who owns|what permissions do] [the|my|all the] files [|here|in this folder|have|have here]
    [ls -l|file details|long listing|ls long|details of all files|show file sizes|list files with permissions please]
    """),
    here("list_dirs", "ls -d */", "Those are the folders here.", f"""
    {LISTV} [|only |just |all |the |all the |only the |just the ][folders|directories|subfolders|subdirectories|dirs] [|here|in this folder|in this directory|only|in the current directory|in here]
    [what|which] [folders|directories|subfolders|subdirectories|dirs] [are here|are there|do i have|exist here|exist|are in this directory|are in here]
    [are there any|do i have any|have we got any] [folders|directories|subfolders] [here|in here|]
    """),
    about_folder("list_path", "ls {d}", "Those are the files in {d}.", f"""
    {LISTV} [|all |all the |the |me the |out the ][files|contents|file names|content|entries|things|stuff|everything] [in|of|inside|under|within|from] [|the folder |the directory |folder |directory |the ]{{d}}
    [what|which] files [are|do i have|are there|exist|live|can you find|do we have] [in|inside|under|within] [|the folder |the directory |folder |directory |the ]{{d}}
    what [is|do you see|do we have|does it have] [in|inside|under|within] [|the folder |the directory |folder |directory |the ]{{d}}[| folder| directory]
    what's [in|inside|under|in the folder|in the directory|inside of|stored in|there in] [|the ]{{d}}[| folder| directory]
    what does [|the folder |the directory |folder ]{{d}} [contain|have in it|hold|have inside]
    [ls|list|dir|list dir|list directory|look in|look into|look inside|peek into|peek inside|check|check what is in|open the folder|show the folder|show the directory|browse|list folder|show folder|see what's in|let's see|i want to see what is in] [|the ]{{d}}
    [is there anything|are there files|are there any files|do i have anything|what do i have] [in|inside] [|the folder |the directory |folder ]{{d}}
    """, weight=2.2),
    about_folder("list_path_long", "ls -l {d}", "Those are the files in {d}, in detail.", f"""
    {LISTV} [|all |the |all the ][files|contents] [in|of|inside] [|the folder |folder |the directory ]{{d}} [in detail|with details|in long format|with their sizes|with sizes|with permissions|with dates]
    {LISTV} [|a |me a |the ][detailed|long|verbose] [list|listing|file list|directory listing] of [|the folder |the directory |the files in ]{{d}}
    [ls -l {{d}}|long listing of {{d}}|details of the files in {{d}}|how big are the files in {{d}}|show sizes of files in {{d}}]
    """),
    about_folder("list_path_hidden", "ls -a {d}", "Those are all the files in {d}, hidden ones too.", f"""
    {LISTV} [|all |the |all the ][hidden files|dotfiles|dot files] [in|of|inside] [|the folder |folder |the directory ]{{d}}
    {LISTV} [all|all the|every] files in [|the folder |folder |the directory ]{{d}} [including|with|even|also] [the |][hidden ones|hidden files|hidden|dotfiles]
    [are there|what are the|any] [hidden files|dotfiles] in {{d}}
    """),
    about_folder("tree", "find {d}", "That is everything under {d}.", f"""
    {LISTV} [everything|all files|all the files|every file] [under|below|inside|beneath] [|the folder |folder |the directory ]{{d}} [recursively|and its subfolders|including subfolders|with subfolders|and below]
    [recursively list|list recursively|recursive listing of|show the tree of|show the whole tree of|tree of|tree|show the directory tree of|file tree of|walk through|show me the structure of|what is the structure of] [|the folder |folder |the directory ]{{d}}
    """),
    about_folder("count_path", "ls {d} | wc -l", "There are {} files in {d}.", f"""
    {HOWMANY} [files|entries|items|things|documents] [are |are there |do i have |exist |]in [|the folder |folder |the directory |directory ]{{d}}
    [count|count up|tally] [|the |all |all the ][files|entries|items] [in|inside|of] [|the folder |folder |the directory ]{{d}}
    how full is [the folder |the directory |]{{d}}
    """),
    here("count_here", "ls | wc -l", "There are {} files here.", f"""
    {HOWMANY} [files|entries|items|documents] [are |are there |do i have |do we have |exist |][here|in here|in this folder|in this directory|in the current directory|in the current folder|in my folder]
    [count|count up|tally] [|the |all |all the |my ]files [|here|in this folder|in this directory|in the current directory]
    how many files [are there|do i have|do we have|exist]
    """),
    here("newest", "ls -t | head -n 1", "The newest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me|list] the [newest|latest|most recent|most recently changed|most recently modified|last modified|youngest|last changed] file [|here|in this folder|in this directory]
    [which|what] file [was|did i|has been] [changed|modified|touched|edited|created] [last|most recently]
    """),
    here("largest", "ls -S | head -n 1", "The largest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me|list] the [largest|biggest|heaviest|fattest] file [|here|in this folder|in this directory]
    [which|what] file [is|takes] [the largest|the biggest|biggest|largest|the most space] [|here|in this folder]
    """),
    here("oldest", "ls -tr | head -n 1", "The oldest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me] the [oldest|least recently changed|least recently modified] file [|here|in this folder|in this directory]
    [which|what] file is [the oldest|oldest] [|here|in this folder]
    """),
    about_file("show", "cat {p}", "That is the content of {p}.", f"""
    {SHOW} [|the |me the |all of |all |me |whole ][|content of |contents of |text of |text in |whole content of |file |full file |whole file |lines of |stuff in ]{{p}}
    {SHOW} {FILEP} [|to me|for me|on the screen|on screen|please|here|in full|completely]
    what [is|does it say|is written|is stored|do we have|text is|stands] [in|inside|inside of|in the file] {{p}}
    what's [in|inside|inside of|written in|the content of|the contents of|in the file|in file|the text in|stored in|up with] [|the file ]{{p}}
    what does [|the file |file ]{{p}} [say|contain|have in it|look like|hold|have inside|tell]
    [what are|what is|tell me|i need|i want] the [content|contents|text] [of|in|inside] [|the file |file ]{{p}}
    [open|open up|open the file|cat|type|cat out|check|check out|inspect|examine|peek at|peek into|take a look at|have a look at|look into|look inside|show the inside of|more|less|read out|read aloud|let's look at|view the file|tell me what is in|tell me what's in|tell me about the content of] {{p}}
    [can i see|could i see|i want to see|i'd like to see|i would like to read|i need to read|i need to see|let me look at|let me see|may i see] [what is in |what's in |the contents of |the content of |the file |]{{p}}
    {{p}} [content|contents|please|show it|, what does it say|: what is in it|, show me]
    """, weight=4.0),
    about_file("head", "head -n {n} {p}", "Those are the first {n} lines of {p}.", f"""
    {SHOW} [|me ][the |just the |only the |][first|top|initial|leading|starting] {{n}} [lines|rows|line|entries] {IN} [|the file |file ]{{p}}
    [what are|get|fetch|i need|i want|tell me|list|what is in] the [first|top|initial] {{n}} [lines|rows] {IN} [|the file |file ]{{p}}
    [head {{p}} {{n}}|head -n {{n}} of {{p}}|head of {{p}}, {{n}} lines|{{p}} first {{n}} lines|first {{n}} lines {IN} {{p}}|top {{n}} of {{p}}|first {{n}} rows {IN} {{p}}|the first {{n}} lines from {{p}} please|show {{n}} lines from the start of {{p}}|show {{n}} lines from the top of {{p}}|start of {{p}}, {{n}} lines]
    """, weight=1.8),
    about_file("tail", "tail -n {n} {p}", "Those are the last {n} lines of {p}.", f"""
    {SHOW} [|me ][the |just the |only the |][last|final|bottom|latest|ending] {{n}} [lines|rows|line|entries] {IN} [|the file |file ]{{p}}
    [what are|get|fetch|i need|i want|tell me|list|what is in] the [last|final|bottom] {{n}} [lines|rows] {IN} [|the file |file ]{{p}}
    [tail {{p}} {{n}}|tail -n {{n}} of {{p}}|tail of {{p}}, {{n}} lines|{{p}} last {{n}} lines|last {{n}} lines {IN} {{p}}|bottom {{n}} of {{p}}|last {{n}} rows {IN} {{p}}|the last {{n}} lines from {{p}} please|show {{n}} lines from the end of {{p}}|show {{n}} lines from the bottom of {{p}}|end of {{p}}, {{n}} lines]
    """, weight=1.8),
    about_file("head_plain", "head {p}", "Those are the first lines of {p}.", f"""
    {SHOW} the [beginning|start|top|head|first lines|first few lines|upper part|opening lines] [of|in|from] [|the file |file ]{{p}}
    [how does {{p}} start|how does {{p}} begin|what does {{p}} begin with|what does {{p}} start with]
    [head {{p}}|peek at the start of {{p}}|top of {{p}}|the beginning of {{p}} please]
    """),
    about_file("tail_plain", "tail {p}", "Those are the last lines of {p}.", f"""
    {SHOW} the [end|bottom|tail|last lines|last few lines|final lines|latest entries|latest lines|most recent lines] [of|in|from] [|the file |file ]{{p}}
    [tail {{p}}|how does {{p}} end|end of {{p}}|the end of {{p}} please|what does {{p}} end with|bottom of {{p}}]
    """),
    about_file("line", "sed -n '{n}p' {p}", "That is line {n} of {p}.", f"""
    {SHOW} [|me |only |just ][line|line number|line no|row] {{n}} {IN} [|the file |file ]{{p}}
    what [is|does|stands] [in |on |at |][line|line number|row] {{n}} {IN} [|the file |file ]{{p}}
    what's [on|in|at] [line|line number|row] {{n}} {IN} [|the file |file ]{{p}}
    [line {{n}} {IN} {{p}}|{{p}} line {{n}}|the {{n}}th line {IN} {{p}}|show the {{n}}th line {IN} {{p}}|i need line {{n}} {IN} {{p}}|read line {{n}} {IN} {{p}}]
    """, empty="{p} has no line {n}."),
    _count("lines", "-l", "line", f"""
    {HOWMANY} [lines|rows|line breaks|lines of text] [are |are there |does it have |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many [lines|rows] [does|has|did] [|the file |file ]{{p}} [have|contain|got|hold]
    how many [lines|rows] [does|has] [|the file |file ]{{p}} [|have]
    how long is [|the file |file ]{{p}} [in lines|in rows|, in lines|, counted in lines|measured in lines]
    [count|count up|tally|get] the [number of |][lines|rows] [in|of|inside|for] [|the file |file ]{{p}}
    [line count|linecount|number of lines|number of rows|lines|wc -l] [of|in|for|on] [|the file |file ]{{p}}
    [what is|what's|give me|tell me|get me|i need|show] the [line count|number of lines|line number count|total of lines|total number of lines] [of|in|for] [|the file |file ]{{p}}
    {{p}} [line count|how many lines|number of lines|lines?]
    i [wonder|was wondering|want to know|need to know|would like to know] how many lines {{p}} [has|contains|is]
    """),
    _count("words", "-w", "word", f"""
    {HOWMANY} words [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many words [does|has] [|the file |file ]{{p}} [have|contain|got]
    [count|count up|tally|get] the [number of |]words [in|of|inside|for] [|the file |file ]{{p}}
    [word count|wordcount|number of words|words|wc -w] [of|in|for|on] [|the file |file ]{{p}}
    [what is|what's|give me|tell me|get me|i need|show] the [word count|number of words|total of words|total number of words] [of|in|for] [|the file |file ]{{p}}
    {{p}} [word count|how many words|number of words]
    i [wonder|was wondering|want to know|need to know|would like to know] how many words {{p}} [has|contains]
    """),
    _count("bytes", "-c", "byte", f"""
    {HOWMANY} [bytes] [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many bytes [does|has] [|the file |file ]{{p}} [have|contain|take|take up|use]
    how many bytes is [|the file |file ]{{p}}
    [size|length|file size] [of|for] [|the file |file ]{{p}} in bytes
    [what is|what's|give me|tell me|show] the [size|length|exact size|file size] of [|the file |file ]{{p}} in bytes
    how [big|large|long] is [|the file |file ]{{p}} in bytes
    """),
    _count("characters", "-m", "character", f"""
    {HOWMANY} [characters|letters|chars] [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many [characters|letters|chars] [does|has] [|the file |file ]{{p}} [have|contain|got]
    [count|count up|tally] the [number of |][characters|letters|chars] [in|of|inside] [|the file |file ]{{p}}
    [character count|char count|number of characters] [of|in|for] [|the file |file ]{{p}}
    """),
    about_file("size", "du -sh {p}", "That is the size of {p}.", """
    how [big|large|heavy] is [|the file |file |the folder |folder |the directory |the ]{p}
    [what is|what's|show|show me|tell me|give me|get|check] the [size|file size|disk usage|total size] of [|the file |file |the folder |folder |the directory |directory ]{p}
    how much [space|disk space|disk|room|storage] does [|the file |file |the folder |folder |the directory ]{p} [take|use|take up|need|occupy|consume]
    [size of|file size of|disk usage of|du|folder size of|file size] [|the file |the folder |folder ]{p}
    {p} [size|how big|file size]
    """, weight=1.3),
    about_file("type", "file {p}", "That is the type of {p}.", """
    what [kind of|type of|sort of] [file|thing|data] is [|the file |file ]{p}
    [what is|what's|tell me|show|determine|find out|check] the [type|file type|format|mime type] of [|the file |file ]{p}
    [file type of|type of|what type is|what format is|what format has|which file type is|file] [|the file ]{p}
    is {p} [a text file or a binary|text or binary|a binary|a text file|an image|a script|an executable]
    """),
    about_file("modified", "stat -c %y {p}", "That is when {p} was last changed.", """
    when was [|the file |file ]{p} [last |][changed|modified|edited|touched|written|updated|saved]
    [what is|what's|show|tell me|give me] the [modification time|modification date|last modified date|date|timestamp|mtime|last change] of [|the file |file ]{p}
    how old is [|the file |file ]{p}
    [when did {p} last change|when did someone last edit {p}|last change of {p}|date of {p}|{p} last modified]
    """),
    about_file("owner", "stat -c %U {p}", "{p} belongs to {}.", """
    who [owns|is the owner of|has|is owner of] [|the file |file ]{p}
    [what is|what's|show|show me|tell me|get] the [owner|owning user|user owner] of [|the file |file ]{p}
    [owner of {p}|whose file is {p}|to whom does {p} belong|who does {p} belong to|which user owns {p}]
    """),
    about_file("permissions", "ls -l {p}", "Those are the permissions of {p}.", """
    [what are|show|show me|list|display|tell me|get|check] the [permissions|access rights|rights|file permissions|mode|permission bits|file mode] [of|on|for] [|the file |file ]{p}
    [who can read|who may read|who can write to|who can run|can i write to|can i execute] {p}
    [permissions of|permissions on|file permissions of|rights of|details of|ls -l|file info of|info about the file|details about] {p}
    """),
    Intent("exists", """
    [does|do we have|is there|do i have|is there a file called|does a file called|is there a file named|have we got|is there any|check if there is|check whether there is|see if there is|tell me if there is] [|a file |the file |a ]{p} [|here|exist]
    does [|the file |a file |file |the folder |the directory |the path |path ]{p} exist
    [check|check if|check whether|test if|test whether|tell me if|tell me whether|see if|see whether|verify that|verify if|can you tell if|do you know if] [|the file |file |the folder |the path |a file called ]{p} [exists|is there|exists here|is present|is here|does exist]
    is [|the file |file |the folder ]{p} [there|here|present|around|in this folder|in here|missing|still there|available]
    [do i have|do we have|have i got|did someone make|is there] a [file|folder|directory] [called|named] {p}
    """, _exists, weight=1.5),
]  # fmt: skip
