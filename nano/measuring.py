"""Requests for what is true of one file: its length, size, kind, date and rights; they change nothing."""

from random import Random

from nano.names import Names
from nano.reading import HOWMANY, about_file, present
from nano.scenario import Answer, Intent, Scenario, Step, failed, quoted


def counted(path: str, unit: str) -> Answer:
    def answer(told: str) -> str:
        if problem := failed(told):
            return problem
        count = told.split(maxsplit=1)[0]
        return f"{path} has {count} {unit if count == '1' else unit + 's'}."

    return answer


def _count(kind: str, flag: str, unit: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        path = names.path()
        step = Step(f"wc {flag} {quoted(path)}", counted(path, unit))
        if rng.random() < 0.5:
            step = Step(step.command, step.answer, f"{names.number()} {path}")
        return Scenario(kind, {"p": path}, (step,), present(path, rng), subject=path)

    return Intent(kind, phrases, make, weight=1.6)


def _exists(names: Names, rng: Random) -> Scenario:
    path = names.path() if rng.random() < 0.75 else names.directory()

    def answer(told: str) -> str:
        return failed(told) or (f"Yes, {path} exists." if told == "yes" else f"No, there is no {path}.")

    step = Step(f"test -e {quoted(path)} && echo yes || echo no", answer, rng.choice(["yes", "no"]))
    return Scenario("exists", {"p": path}, (step,), subject=path)


INTENTS = [
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
    [can you|could you|please|will you] [tell me|say|check|find out|count|see] how many [lines|rows] [|the file |file |my ]{{p}} [has|contains|got|consists of|is made of]
    how many [lines|rows] [are there |]in total [in|of] [|the file ]{{p}}
    [tell me|i want to know|i'd like to know|i need to know|find out|check|can you tell me] how many [lines|rows] [are|there are|has|are there] [in |inside |][|the file |file |my ]{{p}} [|has|contains]
    [length|line count|row count|number of lines|lines|rows|amount of lines|total lines|line number] [of|in|for|from|inside] [|the file |file |my ]{{p}}
    [how long is|how many lines long is|what is the length of] [|the file |file |my ]{{p}} [in lines|counted in lines|, in lines]
    [count|count all|count up|please count|i want you to count] [|the ][lines|rows] [that are |there are |][in|of|inside|for] [|the file |file |my ]{{p}}
    [how many lines did i write in|how many lines do i have in|how many rows of data are in|how many lines of code are in|how many records are in] [|the file |file |my ]{{p}}
    run wc -l on {{p}}
    """),
    _count("words", "-w", "word", f"""
    {HOWMANY} words [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many words [does|has] [|the file |file ]{{p}} [have|contain|got]
    [count|count up|tally|get] the [number of |]words [in|of|inside|for] [|the file |file ]{{p}}
    [word count|wordcount|number of words|words|wc -w] [of|in|for|on] [|the file |file ]{{p}}
    [what is|what's|give me|tell me|get me|i need|show] the [word count|number of words|total of words|total number of words] [of|in|for] [|the file |file ]{{p}}
    {{p}} [word count|how many words|number of words]
    i [wonder|was wondering|want to know|need to know|would like to know] how many words {{p}} [has|contains]
    [can you|could you|please] [tell me|say|check|find out|count] how many words [|the file |file |my ]{{p}} [has|contains|got]
    how many words [did i write|have i written|did i put|do i have|are written|are there altogether] in [|the file |file |my ]{{p}}
    [word count|number of words|words|amount of words|total words] [for|of|in|inside] [|the file |file |my ]{{p}}
    [tell me|i want to know|i'd like to know|find out|check] how many words [are|there are|has] [in |][|the file |file |my ]{{p}} [|has|contains]
    [count|count all] [|the |all ]words [that are |][in|of|inside|for] [|the file |file |my ]{{p}}
    [run wc -w on {{p}}|how wordy is {{p}}|length of {{p}} in words]
    """),
    _count("bytes", "-c", "byte", f"""
    {HOWMANY} [bytes] [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many bytes [does|has] [|the file |file ]{{p}} [have|contain|take|take up|use]
    how many bytes is [|the file |file ]{{p}}
    [size|length|file size] [of|for] [|the file |file ]{{p}} in bytes
    [what is|what's|give me|tell me|show] the [size|length|exact size|file size] of [|the file |file ]{{p}} in bytes
    how [big|large|long] is [|the file |file ]{{p}} in bytes
    [size|file size|length|exact size] [of|for] [|the file |file |my ]{{p}} [in bytes|in byte|, in bytes|counted in bytes]
    [tell me|show|what is|give me|i need] [|me ]the [number of bytes|byte count|size in bytes|exact size in bytes|bytes] [of|in|for] [|the file |file |my ]{{p}}
    [byte count|number of bytes|bytes|count the bytes] [of|in|for] [|the file |file |my ]{{p}}
    """),
    _count("characters", "-m", "character", f"""
    {HOWMANY} [characters|letters|chars] [are |are there |exist |][in|inside|of|within] [|the file |file |the ]{{p}}
    how many [characters|letters|chars] [does|has] [|the file |file ]{{p}} [have|contain|got]
    [count|count up|tally] the [number of |][characters|letters|chars] [in|of|inside] [|the file |file ]{{p}}
    [character count|char count|number of characters] [of|in|for] [|the file |file ]{{p}}
    [number of|count the|count all|how many|count|amount of] [characters|letters|chars] [in|of|inside|are in|does it take for] [|the file |file |my ]{{p}}
    [character count|char count|length in characters|characters|number of chars|length] [of|for|in] [|the file |file |my ]{{p}} [in characters|]
    [tell me|can you tell me|i want to know] how many [characters|chars|letters] [|the file ]{{p}} [has|contains]
    """),
    about_file("size", "du -sh {p}", "That is the size of {p}.", """
    how [big|large|heavy] is [|the file |file |the folder |folder |the directory |the ]{p}
    [what is|what's|show|show me|tell me|give me|get|check] the [size|file size|disk usage|total size] of [|the file |file |the folder |folder |the directory |directory ]{p}
    how much [space|disk space|disk|room|storage] does [|the file |file |the folder |folder |the directory ]{p} [take|use|take up|need|occupy|consume]
    [size of|file size of|disk usage of|du|folder size of|file size] [|the file |the folder |folder ]{p}
    {p} [size|how big|file size]
    [what size has|what size is|how many megabytes is|how many kilobytes is|how many mb is|what is the weight of] [|the file |file |the folder |my ]{p}
    [total size|size|disk usage|file size|space usage] [of|for|on] [|the file |file |the folder |folder |my |the directory ]{p}
    how much [space|disk space|room|disk] [does|do|is] [|the file |file |the folder |folder |the directory |my ]{p} [take|use|take up|need|eat|occupy|using|taking up] [|on disk|on the disk|in total|altogether]
    [is|how] [|the file |file ]{p} [big|large|a big file|a large file]
    [tell me|can you tell me|i want to know|check] how [big|large|heavy] [|the file |file |the folder |folder ]{p} is
    """, weight=1.3),
    about_file("type", "file {p}", "That is the type of {p}.", """
    what [kind of|type of|sort of] [file|thing|data] is [|the file |file ]{p}
    [what is|what's|tell me|show|determine|find out|check] the [type|file type|format|mime type] of [|the file |file ]{p}
    [file type of|type of|what type is|what format is|what format has|which file type is|file] [|the file ]{p}
    is {p} [a text file or a binary|text or binary|a binary|a text file|an image|a script|an executable]
    [what|which] [kind|type|sort] of file is [|the file |file |my ]{p}
    [is|check if|tell me if] {p} [a file or a folder|a file or a directory|a folder or a file|a text file or binary|an image or text|really an image|really a text file|a real pdf]
    [what kind of thing|what sort of thing|what exactly|what type of data] is [|the file ]{p}
    [determine|detect|identify|figure out|guess] the [file type|type|format|kind] of [|the file ]{p}
    [run file on|use file on|file type for|what file type has] {p}
    """),
    about_file("modified", "stat -c %y {p}", "That is when {p} was last changed.", """
    when was [|the file |file ]{p} [last |][changed|modified|edited|touched|written|updated|saved]
    [what is|what's|show|tell me|give me] the [modification time|modification date|last modified date|date|timestamp|mtime|last change] of [|the file |file ]{p}
    how old is [|the file |file ]{p}
    [when did {p} last change|when did someone last edit {p}|last change of {p}|date of {p}|{p} last modified]
    when [did i|did we|did anyone|did somebody] last [change|edit|modify|touch|save|update] [|the file |file |my ]{p}
    when [|was ][|the file |file ]{p} [was |][last |][changed|modified|edited|updated|saved|touched]
    [last modified|modification|last change|change] [date|time|timestamp] [of|for] [|the file |file ]{p}
    [what is the date of|what date has|what time was|how recent is] {p}
    """),
    about_file("owner", "stat -c %U {p}", "{p} belongs to {}.", """
    who [owns|is the owner of|has|is owner of] [|the file |file ]{p}
    [what is|what's|show|show me|tell me|get] the [owner|owning user|user owner] of [|the file |file ]{p}
    [owner of {p}|whose file is {p}|to whom does {p} belong|who does {p} belong to|which user owns {p}]
    [who is|tell me who is|tell me] the owner of [|the file |file |my ]{p}
    [which|what] user [does {p} belong to|owns the file {p}|is the owner of {p}]
    [who does the file {p} belong to|who owns the file {p}|owner for {p}|is {p} mine|whose is {p}]
    """),
    about_file("permissions", "ls -l {p}", "Those are the permissions of {p}.", """
    [what are|show|show me|list|display|tell me|get|check] the [permissions|access rights|rights|file permissions|mode|permission bits|file mode] [of|on|for] [|the file |file ]{p}
    [who can read|who may read|who can write to|who can run|can i write to|can i execute] {p}
    [permissions of|permissions on|file permissions of|rights of|details of|ls -l|file info of|info about the file|details about] {p}
    [what are|show|list|tell me|check|i want to see|what are the current] [|me ][the |][permissions|rights|access rights|file permissions|mode bits] [on|of|for] [|the file |file |my ]{p}
    [which|what] [permissions|rights|access rights] [does|has|are set on|are on|do we have on] [|the file |file |my ]{p} [|have]
    [who can|who may|who is allowed to|can everyone|can others|can anyone] [read|open|write to|access] [|the file ]{p}
    [can i|am i allowed to|may i] [read|write to|write|execute] {p}
    """),
    Intent("exists", """
    [does|do we have|is there|do i have|is there a file called|does a file called|is there a file named|have we got|is there any|check if there is|check whether there is|see if there is|tell me if there is] [|a file |the file |a ]{p} [|here|exist]
    does [|the file |a file |file |the folder |the directory |the path |path ]{p} exist
    [check|check if|check whether|test if|test whether|tell me if|tell me whether|see if|see whether|verify that|verify if|can you tell if|do you know if] [|the file |file |the folder |the path |a file called ]{p} [exists|is there|exists here|is present|is here|does exist]
    is [|the file |file |the folder ]{p} [there|here|present|around|in this folder|in here|missing|still there|available]
    [do i have|do we have|have i got|did someone make|is there] a [file|folder|directory] [called|named] {p}
    [do i|do we|does my folder] [still |already |]have [a file|the file|a file called|a file named|file] {p} [|here|in this folder]
    [check|please check|can you check|could you check|see|look|test|verify|find out|tell me|let me know] [if|whether] [there is|there's|i have|we have|there exists] [|a file |a file called |a file named |the file |a folder called |a folder named |a folder |a directory ]{p} [|here|in this folder|or not]
    [is there|is there already|is there really|is there still|isn't there|do you see|can you see] [|a file |a file called |a file named |the file |a folder called |a folder named |a ]{p} [|here|in this folder|in here|around]
    does [|the file |a file |file |the folder |the directory ]{p} [exist|exist here|exist already|really exist|still exist|exist or not]
    [is|was] [|the file |file |the folder ]{p} [there|here|present|missing|gone|still here|still there|already there|already here]
    [exists|exist|existence of|do we have|got|have i] [|the file |a file |a ]{p}
    [did|has] [|the file |file ]{p} [get created|been created|disappear|survive]
    """, _exists, weight=1.5),
]  # fmt: skip
