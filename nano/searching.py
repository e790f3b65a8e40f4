"""Requests that search, sort, compare and sum up files, and change nothing."""

from random import Random

from nano.names import EXTENSIONS, TEXT_WORDS, Names
from nano.reading import SHOW, Files, about_file, lines
from nano.scenario import Intent, Scenario, Step, failed, quoted, says


def _grep(kind: str, flag: str, answer: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        path, word = names.path(), names.word()
        if flag == "-r ":
            path = rng.choice([".", names.directory()])
        content = lines(rng, 4) + (f"{word} {rng.choice(TEXT_WORDS)}\n" if rng.random() < 0.7 else "")
        none = f"I found no {word} in {path}."

        def said(told: str) -> str:
            if told == "[exit code 1]" or (flag == "-c " and told.endswith("\n0")):
                return none
            return says(answer.replace("{w}", word).replace("{p}", path), none)(told)

        files: Files = {} if path.startswith("/") or flag == "-r " else {path: content}
        if rng.random() < 0.1:
            files = {}
        slots = {"p": path, "w": f'"{word}"' if rng.random() < 0.15 else word}
        if flag == "-r ":
            files = {names.file(): content}
            slots = {"d": path, "w": slots["w"]}
            if path == ".":
                del slots["d"]
        return Scenario(kind, slots, (Step(f"grep {flag}{word} {quoted(path)}", said),), files, path)

    return Intent(kind, phrases, make)


def _find(kind: str, test: str, answer: str, empty: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        where = "." if "{d}" not in phrases or rng.random() < 0.6 else names.directory()
        ending, name, n = rng.choice(EXTENSIONS), names.file(), str(names.few())
        slots = {"e": ending, "f": name, "n": n, "d": where}
        fill = {**slots, "f": quoted(name)}
        files: Files = {}
        if rng.random() < 0.75:
            files = {f"{names.folder()}/{names.file(ending)}": "x\n", name: "y\n"}
        command = f"find {where} " + test.format(**fill)
        said = says(answer.format(**slots), empty.format(**slots))
        if where == ".":
            del slots["d"]
        return Scenario(kind, slots, (Step(command, said),), files)

    return Intent(kind, phrases, make)


def _two_files(kind: str, command: str, phrases: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        one, two = names.path(), names.path()
        content = lines(rng, 3)
        files: Files = {one: content, two: content if rng.random() < 0.5 else lines(rng, 3)}
        if rng.random() < 0.1:
            del files[two]

        def said(told: str) -> str:
            if told == "[no output]":
                return f"{one} and {two} are the same."
            if told.startswith("[exit code 1]\n"):
                return f"Those are the differences between {one} and {two}."
            return failed(told) or "That is the output."

        slots = {"a": one, "b": two}
        return Scenario(kind, slots, (Step(command.format(a=one, b=two), said),), files)

    return Intent(kind, phrases, make)


def _column(names: Names, rng: Random) -> Scenario:
    path, n = names.path(rng.choice(["csv", "csv", "tsv", "txt"])), str(rng.randint(1, 9))
    content = "".join(",".join(rng.choice(TEXT_WORDS) for _ in range(4)) + "\n" for _ in range(3))
    said = says(f"That is column {n} of {path}.", f"{path} has no column {n}.")
    step = Step(f"cut -d, -f{n} {path}", said)
    word = {"1": "first", "2": "second", "3": "third"}.get(n, n + "th")
    slots = {"p": path, "o": word} if rng.random() < 0.5 else {"p": path, "n": n}
    return Scenario("column", slots, (step,), {} if path.startswith("/") else {path: content}, path)


INTENTS = [
    _grep("grep", "", "Those are the lines of {p} with {w}.", """
    [find|search for|search|look for|grep|grep for|locate|scan for|seek] [|the word |the text |the string |all |every |lines with |all lines with |occurrences of |the term |mentions of ]{w} [in|inside|within] [|the file |file ]{p}
    [search|scan|look through|look in|look inside|go through|grep|grep through|check] [|the file |file ]{p} [for|and find] [|the word |the text |the string |lines with |occurrences of |mentions of ]{w}
    [which|what] lines [of|in] [|the file |file ]{p} [contain|have|mention|include|match|say] [|the word |the text |the string ]{w}
    [show|show me|print|list|display|give me|get|find] [|all |all the |the |only the |every ][lines|rows|line|entries] [in|of|from] [|the file |file ]{p} [containing|with|that contain|that have|which contain|mentioning|that mention|having|matching|where it says|that include] [|the word |the text |the string ]{w}
    [where|on which line|on what line|in which line] [does|is] {w} [appear|occur|show up|mentioned|found|stand] in [|the file |file ]{p}
    [does|is] [|the file ]{p} [contain|containing|mention|have|include] [|the word |the text |the string ]{w}
    is [|the word |the text |there any ]{w} [in|inside|mentioned in|anywhere in] [|the file |file ]{p}
    """),
    _grep("grep_i", "-i ", "Those are the lines of {p} with {w}.", """
    [find|search for|look for|grep|grep for|locate] [|the word |the text |all |lines with ]{w} in [|the file |file ]{p} [ignoring case|case insensitive|case-insensitively|case insensitively|regardless of case|no matter the case|ignore case|upper or lower case|in any case|in upper or lower case|without case]
    [ignoring case|case insensitive|case-insensitive|regardless of case|ignore case and|ignoring upper and lower case] [find|search for|search|look for|grep|grep for] [|, ]{w} in [|the file |file ]{p}
    [search|scan|grep] [|the file |file ]{p} [ignoring case|case insensitively|case-insensitively] for [|the word ]{w}
    """),
    _grep("grep_c", "-c ", "{} lines of {p} have {w}.", """
    how many lines [of|in] [|the file |file ]{p} [contain|have|mention|include|match] [|the word |the text |the string ]{w}
    how [often|many times] [does|is] [|the word |the text ]{w} [appear|occur|found|mentioned|show up] in [|the file |file ]{p}
    [count|count how often|count the times|count how many lines have|count occurrences of|count the occurrences of|count the lines with|count lines with|count lines containing|number of lines with|number of lines containing|count mentions of] [|the word |the text ]{w} in [|the file |file ]{p}
    """),
    _grep("grep_r", "-r ", "Those are the places with {w}.", """
    [find|search for|look for|grep for|locate] [|the word |the text |the string ]{w} in [all files|every file|all the files|any file|all my files|each file] [in|under|of|inside] {d}
    [find|search for|look for|grep for|grep|locate|search] [|the word |the text |the string ]{w} in [all files|every file|all the files|any file|all my files|each file|all files here|this folder|the current folder|these files|this directory|any file here|the files here]
    [search|scan|look through|go through|grep] [all files|every file|all the files|my files|all files here|this folder|the whole folder|everything here|the current directory|these files] for [|the word |the text |the string ]{w}
    [which|what] files [contain|mention|have|include] [|the word |the text |the string ]{w}
    [which of my files|which file here|which file|what file|which files here] [contains|mentions|has|have|contain] [|the word |the text ]{w}
    [recursively search|search recursively|grep recursively|find everywhere|look everywhere|search everywhere] for [|the word |the text ]{w}
    [which|what] files [in|under] {d} [contain|mention|have|include] [|the word |the text |the string ]{w}
    [recursively search|search recursively|grep recursively|recursive grep|search the whole folder|search everything under|search all files under|search the folder|search the directory] {d} for [|the word |the text ]{w}
    [grep -r {w} {d}|search {d} recursively for {w}|look for {w} everywhere in {d}|find {w} anywhere under {d}]
    """),
    _find("find_ext", "-name '*.{e}'", "Those are the .{e} files.", "There are no .{e} files there.", """
    [find|list|show|show me|search for|look for|locate|get|give me|display] [|all |all the |every |the |any ][.|]{e} files [|in {d}|under {d}|inside {d}|in the folder {d}|below {d}]
    [find|list|show|search for|look for|locate] [|all |all the |every |the |any ][files|file|documents] [ending in|ending with|that end in|that end with|with the extension|with extension|of type|with the ending|whose name ends in|with the suffix] [.|]{e} [|in {d}|under {d}]
    [where are|which are|what are|are there any|do i have any|do we have any|have i got] [the |my |all the |]{e} files [|in {d}|under {d}]
    [i want|i need|i'd like|i would like] [to see |to find |a list of |][all |all the |the |]{e} files [|in {d}|under {d}]
    [{e} files|{e} files please|all the {e} files|list of {e} files] [|in {d}|under {d}|here]
    [all|every] [.|*.]{e} [files|file] [|in {d}|under {d}] [|please]
    """),
    _find("find_name", "-name {f}", "That is where {f} is.", "I found no {f} there.", """
    [find|locate|search for|look for|where is|where's|where can i find|where do i find|look up|track down|hunt for|where did i put|where have i put] [|the file |a file called |a file named |file |the file called |the file named |my file ]{f} [|in {d}|under {d}|inside {d}|somewhere in {d}|below {d}]
    [search|scan|look through|look in|search in] {d} for [|the file |a file called |a file named ]{f}
    in [which|what] [folder|directory] is [|the file ]{f}
    [is there a file called|can you find|help me find|i can't find|i lost|i cannot find|please find] {f} [somewhere|anywhere|anywhere under {d}]
    """),
    _find("find_big", "-size +{n}M", "Those are the files over {n} MB.", "There are no files over {n} MB there.", """
    [find|list|show|show me|search for|look for|which are the|what are the|are there|give me] [|all |the |any |all the ][files|file] [larger|bigger|greater|heavier|more] than {n} [mb|MB|megabytes|M|meg] [|in {d}|under {d}]
    [find|list|show|which|what|search for] [|all |big |large ]files [over|above|exceeding|beyond] {n} [mb|MB|megabytes|M|meg] [|in {d}|under {d}]
    [which|what] files [are|take] [larger than|bigger than|more than|over] {n} [mb|MB|megabytes] [|in {d}|under {d}]
    """),
    about_file("sort", "sort {p}", "That is {p}, sorted.", f"""
    [sort|sort the lines of|sort the file|sort the content of|sort the contents of|order the lines of|alphabetize|alphabetically sort|sort all lines in|put in order the lines of|order|sort lines in|show the sorted lines of|show the sorted content of] {{p}} [|alphabetically|by name|in alphabetical order|from a to z|for me|please]
    {SHOW} [|the file |the lines of |the content of ]{{p}} [sorted|in sorted order|sorted alphabetically|in alphabetical order|ordered alphabetically|in order]
    """),
    about_file("sort_r", "sort -r {p}", "That is {p}, sorted backwards.", f"""
    [sort|sort the lines of|sort the file|order|order the lines of] {{p}} [in reverse|in reverse order|backwards|descending|in descending order|reversed|from z to a|reverse alphabetically]
    [reverse sort|reverse-sort|sort in reverse] [|the file |the lines of ]{{p}}
    {SHOW} {{p}} [sorted in reverse|sorted backwards|in descending order|in reverse alphabetical order|sorted descending]
    """),
    about_file("sort_n", "sort -n {p}", "That is {p}, sorted by number.", f"""
    [sort|sort the lines of|sort the file|order|order the lines of|sort the numbers in|sort the values in] {{p}} [numerically|by number|as numbers|by value|in numerical order|by size of the number|in numeric order]
    [sort the numbers in|numeric sort of|numeric sort|numerically sort|order the numbers in|sort numbers of] [|the file ]{{p}}
    {SHOW} {{p}} [sorted numerically|sorted by number|in numerical order|sorted as numbers]
    """),
    about_file("unique", "sort -u {p}", "Those are the different lines of {p}.", f"""
    {SHOW} [|only |just |me ][the |all the |all |][unique|distinct|different|deduplicated] [lines|rows|entries|values] [of|in|from] [|the file |file ]{{p}}
    {SHOW} [|the file |the lines of ]{{p}} without [duplicates|duplicate lines|repeated lines|repeats|double lines|doubles]
    [what are|which are|list|get] the [unique|distinct|different] [lines|entries|values|rows] [in|of] {{p}}
    [unique lines of|distinct lines of|distinct lines in|dedupe and show|sort and dedupe|unique|sort unique|uniq|unique entries in] {{p}}
    """),
    about_file("reverse", "tac {p}", "That is {p} from the last line to the first.", f"""
    {SHOW} [|the file |the lines of ]{{p}} [backwards|in reverse|upside down|from bottom to top|from the end|last line first|from end to start|in reverse order of lines|from the last line to the first]
    [reverse the lines of|reverse the order of the lines in|flip the lines of|reverse the line order of|tac|print backwards the lines of|show in reverse the lines of] {{p}}
    """),
    Intent("column", """
    [show|show me|print|get|extract|display|list|give me|cut|pull out|cut out] [|the |only the |just the |me the ][{o} column|{o} field|column {n}|field {n}|column number {n}] [of|from|in] [|the file |file ]{p}
    what is in [column|field|column number] {n} of [|the file |file ]{p}
    [column {n} of {p}|{o} column of {p}|field {n} of {p}|values in column {n} of {p}]
    """, _column),
    _two_files("diff", "diff {a} {b}", """
    [compare|diff|do a diff of|run a diff on|make a diff of|show a diff of] [|the files |the two files |files ]{a} [and|with|to|against] {b}
    [what is|what's|show|show me|tell me|find|list|what are|are there|is there] [the difference|the differences|differences|a difference|any difference|different] between [|the files |files ]{a} and {b}
    [are|check if|check whether|tell me if|see if] [|the files |the two files |files ]{a} and {b} [the same|identical|equal|different|are the same|are identical|are equal|differ]
    [how do|do|in what do|where do] {a} and {b} differ
    [is|check if] {a} [the same as|identical to|equal to|is the same as|different from] {b}
    """),
    about_file("sha256", "sha256sum {p}", "That is the SHA-256 checksum of {p}.", """
    [what is|what's|show|compute|calculate|get|give me|print|tell me|generate|make] the [sha256|sha-256|SHA256|sha256sum|sha 256|sha256 hash|sha256 checksum|checksum|hash] of [|the file |file ]{p}
    [sha256sum|sha256 of|checksum of|hash of|checksum|sha256|hash|sha256sum of] [|the file ]{p}
    """),
    about_file("md5", "md5sum {p}", "That is the MD5 checksum of {p}.", """
    [what is|what's|show|compute|calculate|get|give me|print|tell me|generate] the [md5|MD5|md5sum|md5 hash|md5 checksum|md5 sum] of [|the file |file ]{p}
    [md5sum|md5 of|md5 hash of|md5|md5 checksum of|md5sum of] [|the file ]{p}
    """),
]  # fmt: skip
