"""Requests that look at files and folders and change nothing."""

from random import Random

from nano.names import TEXT_WORDS, Names
from nano.scenario import Intent, Scenario, Step, quoted, says

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


def present(path: str, rng: Random) -> Files:
    """The file, most of the time; system files are there by themselves."""
    if path.startswith(("/etc/", "/proc/", "/sys/", "/usr/lib/os-")) or rng.random() < 0.12:
        return {}
    return {path: lines(rng) if rng.random() < 0.93 else ""}


def _tells_file(path: str) -> bool:
    """Whether anyone can see that it names a file: "the contents of x" could also mean a folder."""
    return (
        "." in path.rsplit("/", 1)[-1]
        or path.startswith(("/etc/", "/proc/"))
        or path.endswith(("file", "E", "G"))
    )


def about_file(kind: str, command: str, answer: str, phrases: str, *, empty: str = "{p} is empty.",
               weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent with one file and perhaps a small number `{n}`."""

    def make(names: Names, rng: Random) -> Scenario:
        path, n = names.path(), str(names.few())
        while kind == "show" and not _tells_file(path):
            path = names.path()
        slots = {"p": path, "n": WRITTEN.get(n, n) if rng.random() < 0.25 and kind != "line" else n}
        step = Step(
            command.format(p=quoted(path), n=n),
            says(answer.replace("{p}", path).replace("{n}", n),
                 empty.replace("{p}", path).replace("{n}", n)),
        )  # fmt: skip
        return Scenario(kind, slots, (step,), present(path, rng), subject=path)

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
    [what have we got|what all have we got|what all is|what do we have|what can you see|what do i have] [here|in here|in this place|around here|in this dir|in my current folder|on this spot]
    [can u|can you|could you|would you] [show|tell|list] me [what is|whats|what's|what all is] [here|in here|in this folder|in this directory]
    [i'd like|i want|i would love|i wish|i'd love] to [see|look at|know] [my files|what is here|what's here|whats here|all my files|the files here|what's in my current folder|which files are here|the files in this folder]
    [my files|all files|all my files|file list|files here|current files|the files|folder contents|contents|dir contents|contents of cwd|what's here|whats here|whats in here|whats in this folder] [|please|pls]
    [show|list] [|me ][what's here|whats here|what we have here|everything here|everything in here|what is around here|this folder|this directory|the current directory|the current folder|the folder i am in|the working directory|the stuff in this folder|the stuff here]
    [which|what] files [are|lie|are lying|sit|are sitting] [around here|here|in here]
    [look around|look around here|have a look around|look at what is here|check what is here|check this folder|list this|list it all|list everything|list all|list stuff|ls here|ls .|ls this folder|run ls]
    [name|enumerate|tell me|write down] [all |][the |my ]files [in this folder|here|in the current directory|of this directory]
    """, weight=1.5),
    here("list_hidden", "ls -a", "Those are all the files here, hidden ones too.", f"""
    {LISTV} [|all |all the |the |my ][hidden files|dotfiles|dot files|invisible files|hidden ones|files starting with a dot] [|here|in this folder|in this directory|too]
    {LISTV} [all|all the|the|every] [files|file|contents] [|here|in this folder] [including|with|even|also|and] [the |][hidden|hidden ones|hidden files|dotfiles|invisible ones]
    [are there|do i have|have we got|what are the|which are the] [any |][hidden files|dotfiles|hidden ones|dot files] [here|in this folder|in this directory|]
    [ls -a|what hidden files are here|which files are hidden|what files are hidden here|also show hidden files]
    [show|list|display|give me|print] [hidden files too|everything, also hidden files|everything including hidden files|everything, hidden or not|also the hidden files|the hidden files as well|hidden stuff too|hidden stuff|all files incl. hidden|all files, also the hidden ones|everything here with the hidden ones|files and dotfiles|all files and also dotfiles|the files i normally can't see]
    [any|are there|got|have i|do we have] [hidden|invisible|secret|dot] [files|things|stuff|items] [here|around|in here|in this folder]
    [i want|i'd like|i need] to see [the |all |also the |even the |][hidden|hidden files|hidden ones|dotfiles|invisible files] [|here|in this folder|too]
    [only|just] the [dotfiles|hidden files|dot files|hidden ones] [|here|in this folder|please]
    """),
    here("list_long", "ls -l", "Those are the files here, in detail.", f"""
    {LISTV} [|all |the |all the ]files [|here |in this folder |in this directory ][in detail|with details|in long format|with their sizes|with sizes|with permissions|with dates|with sizes and dates|with owner and size|in a long listing|long form]
    {LISTV} [|a |me a |the ][detailed|long|verbose|full] [list|listing|file list|directory listing] [|here|of this folder|of the files|of files|of this directory]
    [what are the sizes of|how big are|who owns|what permissions do] [the|my|all the] files [|here|in this folder|have|have here]
    [ls -l|file details|long listing|ls long|details of all files|show file sizes|list files with permissions please]
    [long|detailed|full|verbose] [listing|list] [|of the cwd|of the current folder|of here|of my files|of this place|please|of all files|of files here]
    [which|what] [permissions|rights|sizes|owners] do [my|the|these|all] files [here |]have
    [files|file list|listing|list|ls] [with|including] [details|permissions|sizes|owners|dates|sizes and dates|all details|owner and date]
    [show|list] [|me |all |the |my ]files [and their|and the] [sizes|permissions|owners|dates|details|rights]
    [when were|who owns] [the|my] files here [changed|last changed|]
    [i need|i want|i'd like|give me] [the |all |more |][details|file details|more information|full information] [of|about|on] [the|my|all|these] files [|here|in this folder]
    """),
    here("list_dirs", "ls -d */", "Those are the folders here.", f"""
    {LISTV} [|only |just |all |the |all the |only the |just the ][folders|directories|subfolders|subdirectories|dirs] [|here|in this folder|in this directory|only|in the current directory|in here]
    [what|which] [folders|directories|subfolders|subdirectories|dirs] [are here|are there|do i have|exist here|exist|are in this directory|are in here]
    [are there any|do i have any|have we got any] [folders|directories|subfolders] [here|in here|]
    [folders|directories|subfolders|dirs|subdirs] [|here|please|only|in here|in this folder]
    [i want|i need|i'd like] [to see |][only |just |][the |my ][folders|directories|subdirectories] [|here]
    [show|list] [|me ][no files, only folders|only directories, no files|which folders are here|what folders there are|which subfolders there are|the folders but not the files|which directories i have here]
    """),
    about_folder("list_path", "ls {d}", "Those are the files in {d}.", f"""
    {LISTV} [|all |all the |the |me the |out the ][files|contents|file names|content|entries|things|stuff|everything] [in|of|inside|under|within|from] [|the folder |the directory |folder |directory |the ]{{d}}
    [what|which] files [are|do i have|are there|exist|live|can you find|do we have] [in|inside|under|within] [|the folder |the directory |folder |directory |the ]{{d}}
    what [is|do you see|do we have|does it have] [in|inside|under|within] [|the folder |the directory |folder |directory |the ]{{d}}[| folder| directory]
    what's [in|inside|under|in the folder|in the directory|inside of|stored in|there in] [|the ]{{d}}[| folder| directory]
    what does [|the folder |the directory |folder ]{{d}} [contain|have in it|hold|have inside]
    [ls|list|dir|list dir|list directory|look in|look into|look inside|peek into|peek inside|check|check what is in|open the folder|show the folder|show the directory|browse|list folder|show folder|see what's in|let's see|i want to see what is in] [|the ]{{d}}
    [is there anything|are there files|are there any files|do i have anything|what do i have] [in|inside] [|the folder |the directory |folder ]{{d}}
    [list|show|tell|give] me [what is|what's|whats|what there is|what we have|what all is|everything|everything that is] [in|inside|inside of|within|under] [|the folder |the directory |folder |dir |my ]{{d}}
    [whats|what's|what is|what all is] [in|inside|inside of|stored in|kept in|lying in|within|under|to be found in] [|the folder |the directory |folder |dir |the dir |my ]{{d}}[| folder| directory| dir]
    [i want|i'd like|i need|i would like|let me|i wish] [|to ]see [|what is in |what's in |the files in |what's inside |everything in ][|the folder |the directory |folder ]{{d}}[| folder| directory]
    [open|open up|go to|go into|look into|look in|look inside|peek into|check|browse|enter|step into] [|the folder |the directory |folder |dir ]{{d}} [and|and then|, then] [show|tell|list] [|me ][what is in it|what's in it|whats in it|its files|its contents|everything|the files|what is there|what's inside]
    [look|have a look|take a look|check] [in|inside|into] [|the folder |the directory ]{{d}} [|for me] [and list everything|and list it|and list its files|and tell me what's there|and show the files]
    [show|list|display|print] [|me ][the |][contents|content|files|insides|entries] [of|in|inside|from] the [folder|directory|dir] [|called |named ]{{d}}
    [which|what] [files|things|documents|stuff|items] [are|lie|sit|are stored|are kept|are located|reside|did i put] [in|inside|under|within] [|the folder |the directory |folder |dir |my ]{{d}}[| folder| directory]
    [list|ls|dir|show] [|the |my ][|folder |directory ]{{d}}[| folder| directory| dir|, please| for me]
    [the |][files|contents|content|listing|directory listing] [of|in|inside|for] [|the folder |the directory |folder ]{{d}}
    [has|does] [|the folder |the directory |folder ]{{d}} [any files in it|anything in it|anything inside|have files|have anything in it|contain files|contain anything]
    [is|are] [|the folder |the directory |folder ]{{d}} [empty|empty or not|really empty]
    """, weight=2.2),
    about_folder("list_path_hidden", "ls -a {d}", "Those are all the files in {d}, hidden ones too.", f"""
    {LISTV} [|all |the |all the ][hidden files|dotfiles|dot files] [in|of|inside] [|the folder |folder |the directory ]{{d}}
    {LISTV} [all|all the|every] files in [|the folder |folder |the directory ]{{d}} [including|with|even|also] [the |][hidden ones|hidden files|hidden|dotfiles]
    [are there|what are the|any] [hidden files|dotfiles] in {{d}}
    [list|show|display] [everything|all|all files|all the files] in [|the folder |folder |directory ]{{d}}[|,] [including the hidden ones|including hidden files|also hidden files|even hidden files|hidden ones too|with the hidden ones|incl. hidden|and the hidden files]
    [show|list|find] [|me |also |even ][the |all |][hidden files|hidden things|dotfiles] [of|in|inside] [|the folder |folder |directory ]{{d}}
    [ls -a {{d}}|hidden files in {{d}}|dotfiles in {{d}}|what hidden files are in {{d}}|which hidden files does {{d}} have]
    """),
    about_folder("tree", "find {d}", "That is everything under {d}.", f"""
    {LISTV} [everything|all files|all the files|every file] [under|below|inside|beneath] [|the folder |folder |the directory ]{{d}} [recursively|and its subfolders|including subfolders|with subfolders|and below]
    [recursively list|list recursively|recursive listing of|show the tree of|show the whole tree of|tree of|tree|show the directory tree of|file tree of|walk through|show me the structure of|what is the structure of] [|the folder |folder |the directory ]{{d}}
    [show|list|print|find] [|me ][everything|all files|all the files|each file] in [|the folder |folder |directory ]{{d}} [and all its subfolders|and its subfolders|recursively|including subfolders|and below|and all folders below it|with all subdirectories]
    [all|every] [files|file] [under|below|beneath|anywhere under] [|the folder |folder ]{{d}}
    """),
    about_folder("count_path", "ls {d} | wc -l", "There are {} files in {d}.", f"""
    {HOWMANY} [files|entries|items|things|documents] [are |are there |do i have |exist |]in [|the folder |folder |the directory |directory ]{{d}}
    [count|count up|tally] [|the |all |all the ][files|entries|items] [in|inside|of] [|the folder |folder |the directory ]{{d}}
    how full is [the folder |the directory |]{{d}}
    how many [files|things|items|entries] [does|has] [|the folder |the directory |folder ]{{d}} [have|contain|hold|got|have in it|]
    [number of files|file count|count of files|amount of files|count files|count entries] [in|of|for|inside] [|the folder |the directory |folder ]{{d}}
    [tell me|can you tell me|i want to know|i'd like to know] how many files [|the folder |the directory ]{{d}} [has|contains|holds]
    """),
    here("count_here", "ls | wc -l", "There are {} files here.", f"""
    {HOWMANY} [files|entries|items|documents] [are |are there |do i have |do we have |exist |][here|in here|in this folder|in this directory|in the current directory|in the current folder|in my folder]
    [count|count up|tally] [|the |all |all the |my ]files [|here|in this folder|in this directory|in the current directory]
    how many files [are there|do i have|do we have|exist]
    [file count|number of files|count files|count my files|count the files here|how many files] [|here|please|in this folder|in here]
    how many [files|things|items|entries] [does|has] [this folder|this directory|the current folder|my folder] [have|contain|got|hold|]
    [can you tell me|tell me|i want to know|i wonder] how many [files|items] [are here|there are here|i have here|this folder has|are in this directory]
    """),
    here("newest", "ls -t | head -n 1", "The newest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me|list] the [newest|latest|most recent|most recently changed|most recently modified|last modified|youngest|last changed] file [|here|in this folder|in this directory]
    [which|what] file [was|did i|has been] [changed|modified|touched|edited|created] [last|most recently]
    [newest|latest|most recent|last changed|last modified] file [|here|in this folder|please|in this directory]
    [which|what] [file|one of the files|of these files|of my files] [did i|have i|did we|did somebody] [change|touch|edit|modify|save|write|work on] [last|most recently|latest]
    [which|what] is [the |my ][newest|latest|most recent] [file|one|one of my files] [|here]
    """),
    here("largest", "ls -S | head -n 1", "The largest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me|list] the [largest|biggest|heaviest|fattest] file [|here|in this folder|in this directory]
    [which|what] file [is|takes] [the largest|the biggest|biggest|largest|the most space] [|here|in this folder]
    [largest|biggest|heaviest] file [|here|in this folder|please|in this directory]
    [which|what] [file|one|of the files|of these files|of my files] [here |][is|takes|needs|uses|has] [the largest|the biggest|largest|biggest|most space|the most space|the most room|the biggest size]
    [what|which file] [takes|uses|eats] [the most|most] [space|room|disk space] [here|in this folder]
    """),
    here("oldest", "ls -tr | head -n 1", "The oldest file is {}.", """
    [what is|what's|show|show me|which is|find|tell me|give me] the [oldest|least recently changed|least recently modified] file [|here|in this folder|in this directory]
    [which|what] file is [the oldest|oldest] [|here|in this folder]
    [oldest|least recently changed|longest unchanged] file [|here|in this folder|please]
    [which|what] [file|of my files|of these files] [here |][is the oldest|is oldest|has not been changed for the longest time|did i not touch for the longest time|was changed first|is the most ancient]
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
    [show|open|display|print|cat|read|view] [|me |up ][|the file |file |my |my file ]{{p}} [so i can read it|so that i can read it|and let me read it|to read it|for reading|, i want to read it|please, i need to read it|so i can see it]
    [lemme|let me|let's|lets|i wanna|i want to|i gotta|i need to|i must|i have to|we should|i would like to|i'd like to|can i|could i|may i] [see|read|look at|view|check|have a look at|take a look at] [|what is in |what's in |whats in |what's written in |whats written in |the content of |the contents of |the text of |the text in ][|the file |file |my file |my ]{{p}}
    [whats|what's|what is] [in|inside|written in|written inside|the content of|the text of|stored in|inside of|standing in] [|the file |file |my |my file ]{{p}}
    [what|which text|which words|which content] [did i write in|did i put in|have i written in|did i note in|is noted in|stands in|is written in|is there in|can be found in] [|the file |file |my |my file ]{{p}}
    [what|whatever] does [my |the |]{{p}} [file |][say|contain|tell us|have to say|read|show]
    [give|read|show|print|get|tell] me [|the ][text|words|content|contents|full text|whole text|complete content|lines] [of|in|inside|from] [|the file |file |my |my file ]{{p}}
    [content|contents|text] [of|in|from] [|the file |file |my file |my ]{{p}}
    [dump|print out|output|list|spit out|echo|type out|write out] [|the content of |the contents of |the text of |all of ][|the file |file |my file |my ]{{p}} [|to the screen|to the terminal|on screen|for me|here]
    [read|look] [|through |into |over ][|the file |file |my file |my ]{{p}} [|and tell me what it says|and tell me what is in it|to me|out loud|and show it]
    [i forgot what is in|remind me what is in|i can't remember what is in|i wonder what is in|i don't know what is in|do you know what is in|can you tell me what is in|could you tell me what stands in|please tell me what's in] [|the file |file |my file ]{{p}}
    """, weight=4.0),
    about_file("head", "head -n {n} {p}", "Those are the first {n} lines of {p}.", f"""
    {SHOW} [|me ][the |just the |only the |][first|top|initial|leading|starting] {{n}} [lines|rows|line|entries] {IN} [|the file |file ]{{p}}
    [what are|get|fetch|i need|i want|tell me|list|what is in] the [first|top|initial] {{n}} [lines|rows] {IN} [|the file |file ]{{p}}
    [head {{p}} {{n}}|head -n {{n}} of {{p}}|head of {{p}}, {{n}} lines|{{p}} first {{n}} lines|first {{n}} lines {IN} {{p}}|top {{n}} of {{p}}|first {{n}} rows {IN} {{p}}|the first {{n}} lines from {{p}} please|show {{n}} lines from the start of {{p}}|show {{n}} lines from the top of {{p}}|start of {{p}}, {{n}} lines]
    [the |][first|top|initial] {{n}} [lines|rows|entries|line] {IN} [|the file |file |my ]{{p}}
    [show|give me|print|display|read|get|i want|i need|let me see|can i see|can i have] [|only |just ][the |][first|top|beginning|initial] {{n}} [|lines |rows |records ][of|from|in] [|the file |file |my ]{{p}}
    [head|top] [of |][|the file ]{{p}}, {{n}} [lines|rows]
    [head -n {{n}} {{p}}|head -{{n}} {{p}}|head -n {{n}} of {{p}}|use head to show {{n}} lines of {{p}}|{{n}} lines from the start of {{p}}|{{n}} lines from the top of {{p}}|the top {{n}} of {{p}}|beginning of {{p}}, {{n}} lines]
    how do the first {{n}} lines of {{p}} [look|read|look like]
    [cut|limit] the output of {{p}} to the first {{n}} lines
    """, weight=1.8),
    about_file("tail", "tail -n {n} {p}", "Those are the last {n} lines of {p}.", f"""
    {SHOW} [|me ][the |just the |only the |][last|final|bottom|latest|ending] {{n}} [lines|rows|line|entries] {IN} [|the file |file ]{{p}}
    [what are|get|fetch|i need|i want|tell me|list|what is in] the [last|final|bottom] {{n}} [lines|rows] {IN} [|the file |file ]{{p}}
    [tail {{p}} {{n}}|tail -n {{n}} of {{p}}|tail of {{p}}, {{n}} lines|{{p}} last {{n}} lines|last {{n}} lines {IN} {{p}}|bottom {{n}} of {{p}}|last {{n}} rows {IN} {{p}}|the last {{n}} lines from {{p}} please|show {{n}} lines from the end of {{p}}|show {{n}} lines from the bottom of {{p}}|end of {{p}}, {{n}} lines]
    [the |][last|final|bottom|latest|closing] {{n}} [lines|rows|entries|line] {IN} [|the file |file |my ]{{p}}
    [show|give me|print|display|read|get|i want|i need|let me see|can i see|can i have] [|only |just ][the |][last|final|bottom|latest|most recent] {{n}} [|lines |rows |records |entries ][of|from|in] [|the file |file |my ]{{p}}
    [tail|end|bottom] [of |][|the file ]{{p}}, {{n}} [lines|rows]
    [tail -n {{n}} {{p}}|tail -{{n}} {{p}}|tail -n {{n}} of {{p}}|use tail to show {{n}} lines of {{p}}|{{n}} lines from the end of {{p}}|{{n}} lines from the bottom of {{p}}|the bottom {{n}} of {{p}}|tail {{p}}, {{n}} lines]
    how do the last {{n}} lines of {{p}} [look|read|look like]
    """, weight=1.8),
    about_file("head_plain", "head {p}", "Those are the first lines of {p}.", f"""
    {SHOW} the [beginning|start|top|head|first lines|first few lines|upper part|opening lines] [of|in|from] [|the file |file ]{{p}}
    [how does {{p}} start|how does {{p}} begin|what does {{p}} begin with|what does {{p}} start with]
    [head {{p}}|peek at the start of {{p}}|top of {{p}}|the beginning of {{p}} please]
    [show|print|give me|let me see|display|see] [|me ][just |only |][the |a bit of the |][beginning|start|top part|first part|top|first few lines|first couple of lines] [of|in|from] [|the file |file |my ]{{p}}
    [start|beginning|top|head|first lines|first few lines] of [|the file |file |my ]{{p}}
    """),
    about_file("tail_plain", "tail {p}", "Those are the last lines of {p}.", f"""
    {SHOW} the [end|bottom|tail|last lines|last few lines|final lines|latest entries|latest lines|most recent lines] [of|in|from] [|the file |file ]{{p}}
    [tail {{p}}|how does {{p}} end|end of {{p}}|the end of {{p}} please|what does {{p}} end with|bottom of {{p}}]
    [show|print|give me|let me see|display|see] [|me ][just |only |][the |][end|bottom part|last part|bottom|last few lines|ending|last couple of lines] [of|in|from] [|the file |file |my ]{{p}}
    [end|ending|bottom|tail|last lines|last few lines] of [|the file |file |my ]{{p}}
    [what are the last entries in|what came last in|what was written last to|what is at the end of|what's at the bottom of] [|the file |file |my ]{{p}}
    """),
    about_file("line", "sed -n '{n}p' {p}", "That is line {n} of {p}.", f"""
    {SHOW} [|me |only |just ][line|line number|line no|row] {{n}} {IN} [|the file |file ]{{p}}
    what [is|does|stands] [in |on |at |][line|line number|row] {{n}} {IN} [|the file |file ]{{p}}
    what's [on|in|at] [line|line number|row] {{n}} {IN} [|the file |file ]{{p}}
    [line {{n}} {IN} {{p}}|{{p}} line {{n}}|the {{n}}th line {IN} {{p}}|show the {{n}}th line {IN} {{p}}|i need line {{n}} {IN} {{p}}|read line {{n}} {IN} {{p}}]
    [line|row|line number|line no.] {{n}} [of|in|from] [|the file |file |my ]{{p}} [|please]
    [only|just] [line|row] {{n}} {IN} {{p}}
    what does line {{n}} {IN} [|the file ]{{p}} say
    """, empty="{p} has no line {n}."),
]  # fmt: skip
