"""Requests that search, sort, compare and sum up files, and change nothing."""

from random import Random

from nano.names import EXTENSIONS, TEXT_WORDS, Names
from nano.reading import SHOW, Files, about_file, lines
from nano.scenario import Intent, Scenario, Step, failed, quoted, says

# What people call the files of an ending.
SPOKEN = {
    "py": "python", "js": "[javascript|java script|js]", "md": "markdown", "sh": "[shell|bash]", "rs": "rust", "txt": "text",
    "html": "html", "css": "css", "json": "json", "java": "java", "sql": "sql", "c": "c", "cpp": "c++", "go": "go", "yaml": "yaml",
    "tex": "latex", "log": "log", "csv": "csv", "ts": "typescript", "pdf": "pdf", "png": "png", "jpg": "jpg", "xml": "xml",
}  # fmt: skip


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
        if ending in SPOKEN and rng.random() < 0.4:
            del slots["e"]
            slots["z"] = SPOKEN[ending]
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


INTENTS = [
    _grep("grep", "", "Those are the lines of {p} with {w}.", """
    [find|search for|search|look for|grep|grep for|locate|scan for|seek] [|the word |the text |the string |all |every |lines with |all lines with |occurrences of |the term |mentions of ]{w} [in|inside|within] [|the file |file ]{p}
    [search|scan|look through|look in|look inside|go through|grep|grep through|check] [|the file |file ]{p} [for|and find] [|the word |the text |the string |lines with |occurrences of |mentions of ]{w}
    [which|what] lines [of|in] [|the file |file ]{p} [contain|have|mention|include|match|say] [|the word |the text |the string ]{w}
    [show|show me|print|list|display|give me|get|find] [|all |all the |the |only the |every ][lines|rows|line|entries] [in|of|from] [|the file |file ]{p} [containing|with|that contain|that have|which contain|mentioning|that mention|having|matching|where it says|that include] [|the word |the text |the string ]{w}
    [where|on which line|on what line|in which line] [does|is] {w} [appear|occur|show up|mentioned|found|stand] in [|the file |file ]{p}
    [does|is] [|the file ]{p} [contain|containing|mention|have|include] [|the word |the text |the string ]{w}
    is [|the word |the text |there any ]{w} [in|inside|mentioned in|anywhere in] [|the file |file ]{p}
    [is|are] [there |][the word|the text|the string|the name|any|a line with|lines with|something like|any mention of] {w} [|somewhere|anywhere] [in|inside] [|the file |file |my ]{p}
    [search|look|scan|grep|check|hunt] [|the file |file |in |inside |through |in the file ]{p} for [|the word |the text |the string |lines with |any |mentions of |the term ]{w}
    [which|what|show me which|tell me which|show the|print the|give me the|find the|list the] lines [of|in|from] [|the file |file |my ]{p} [that |][mention|mentions|contain|have|include|talk about|have the word] {w}
    [search|look|searching|looking|i am looking|i'm looking|find me|search me] for [|the word |the text |the string |the name ]{w} [in|inside|within] [|the file |file |my ]{p}
    [grep|find|get|pull out|extract|filter|match|show] [|all |me |the |lines with |the lines with |every line with |lines containing |all lines containing |all lines that contain |lines that say |anything about ]{w} [in|from|inside|out of|of] [|the file |file |my ]{p}
    [grep {w} {p}|grep for {w} {p}|grep '{w}' {p}|filter {p} for {w}|filter {p} by {w}]
    [where|in which lines|at which place] [in |does ][|the file |file ]{p} [is|mention|say|does it say] {w} [|mentioned|found]
    [does|do we find|can you find|can we find|did i mention|did i write|have i mentioned] {w} [appear |occur |show up |exist |]in [|the file |file |my ]{p}
    """),
    _grep("grep_i", "-i ", "Those are the lines of {p} with {w}.", """
    [find|search for|look for|grep|grep for|locate] [|the word |the text |all |lines with ]{w} in [|the file |file ]{p} [ignoring case|case insensitive|case-insensitively|case insensitively|regardless of case|no matter the case|ignore case|upper or lower case|in any case|in upper or lower case|without case]
    [ignoring case|case insensitive|case-insensitive|regardless of case|ignore case and|ignoring upper and lower case] [find|search for|search|look for|grep|grep for] [|, ]{w} in [|the file |file ]{p}
    [search|scan|grep] [|the file |file ]{p} [ignoring case|case insensitively|case-insensitively] for [|the word ]{w}
    [find|search|grep|look for] {w} in [|the file |file |my ]{p}[|,] [case does not matter|case doesn't matter|don't care about case|upper or lower case|ignoring the case|not case sensitive|any case]
    [grep -i {w} {p}|case insensitive search for {w} in {p}|case-insensitive grep for {w} in {p}|search {p} for {w} ignoring case|search {p} for {w} in upper or lower case]
    """),
    _grep("grep_c", "-c ", "{} lines of {p} have {w}.", """
    how many lines [of|in] [|the file |file ]{p} [contain|have|mention|include|match] [|the word |the text |the string ]{w}
    how [often|many times] [does|is] [|the word |the text ]{w} [appear|occur|found|mentioned|show up] in [|the file |file ]{p}
    [count|count how often|count the times|count how many lines have|count occurrences of|count the occurrences of|count the lines with|count lines with|count lines containing|number of lines with|number of lines containing|count mentions of] [|the word |the text ]{w} in [|the file |file ]{p}
    [count|tell me|find out] how [often|many times] {w} [appears|occurs|is mentioned|is found|shows up|comes up] in [|the file |file |my ]{p}
    [number of|count of|how many|count] [occurrences|mentions|lines|matches] [of|with|for|containing] {w} in [|the file |file |my ]{p}
    how [often|many times] [do i|did i|does it|do we] [mention|say|write|have|use] {w} in [|the file |file |my ]{p}
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
    [recursive|recursively|a recursive] [grep|search|look] for [|the word |the text |the string ]{w} [in|under|inside|through] [|the folder |folder |the directory |my ]{d}
    [look|search|go|grep|dig|scan] [through|in|inside|under|across] [|all files in |all files of |every file in |the files in |the files of ][the |][folder |directory |][|called ]{d} for [|the word |the text |the string |any mention of ]{w}
    [look through|search|search through|go through|grep|scan] the {d} [folder|directory] for [|the word |the text |the string ]{w}
    [find|search for|look for|grep] [|the word |the text |the string |all mentions of |any mention of ]{w} [anywhere|everywhere|in any file|in all files|in every file] [in|under|inside|below] [|the folder |folder |the directory ]{d}
    [which|what] [files|file|of the files|documents] [in|under|inside|of] [|the folder |folder |the directory ]{d} [contain|contains|mention|mentions|has|have|includes|include] [|the word |the text |the string ]{w}
    [where|in which file|in which files|in what file] [is|does|do i have|did i write|do i mention] [|the word |the text |the string ]{w} [|mentioned|used|appear|occur]
    [search|look|grep] [everywhere|in all files|through all my files|through all files here|in every file here|recursively here] for [|the word |the text ]{w}
    """),
    _find("find_ext", "-name '*.{e}'", "Those are the .{e} files.", "There are no .{e} files there.", """
    [find|list|show|show me|search for|look for|locate|get|give me|display] [|all |all the |every |the |any ][.|]{e} files [|in {d}|under {d}|inside {d}|in the folder {d}|below {d}]
    [find|list|show|search for|look for|locate] [|all |all the |every |the |any ][files|file|documents] [ending in|ending with|that end in|that end with|with the extension|with extension|of type|with the ending|whose name ends in|with the suffix] [.|]{e} [|in {d}|under {d}]
    [where are|which are|what are|are there any|do i have any|do we have any|have i got] [the |my |all the |]{e} files [|in {d}|under {d}]
    [i want|i need|i'd like|i would like] [to see |to find |a list of |][all |all the |the |]{e} files [|in {d}|under {d}]
    [{e} files|{e} files please|all the {e} files|list of {e} files] [|in {d}|under {d}|here]
    [all|every] [.|*.]{e} [files|file] [|in {d}|under {d}] [|please]
    [every|all|all the|any|each] [.|]{e} [file|files] [in here|here|below here|under this folder|in this folder|in this folder and below|in here and in the subfolders|and in subfolders|in all subfolders|anywhere here|] [|in {d}|under {d}|inside {d}|within {d}]
    [find|list|show|give me|search for|look for|locate|get me] [|me |all |all the |every |the |any |my ][files|file|the files|all files] [that end|ending|that are ending|which end|whose name ends|whose names end|with names ending] [in|with|on] [.|]{e} [|in {d}|under {d}|inside {d}|inside the folder {d}]
    [where|where exactly] [are|do i have|did i put|can i find|do i keep] [|all |all my |my |the ][.|]{e} files [|in {d}|under {d}]
    [find|list|show|search for|get] [|all |all the |every |the |my ][*.|.]{e} [|in {d}|under {d}|inside {d}|in this folder and below|in here and below|recursively]
    [are there|do i have|have i got|got|do we have|is there] [any |some |][.|]{e} [file|files] [here|around|somewhere|anywhere|lying around|] [|in {d}|under {d}|inside {d}]
    [find|list|show|search for|locate] [|all |all my |every ]{z} [files|scripts|documents] [|in {d}|under {d}|under this folder|here|in this folder|and their location]
    [where are|are there|do i have|any|show me|find|what are] [|all |my |the |any ]{z} files [|in {d}|under {d}|here]
    """),
    _find("find_name", "-name {f}", "That is where {f} is.", "I found no {f} there.", """
    [find|locate|search for|look for|where is|where's|where can i find|where do i find|look up|track down|hunt for|where did i put|where have i put] [|the file |a file called |a file named |file |the file called |the file named |my file ]{f} [|in {d}|under {d}|inside {d}|somewhere in {d}|below {d}]
    [search|scan|look through|look in|search in] {d} for [|the file |a file called |a file named ]{f}
    in [which|what] [folder|directory] is [|the file ]{f}
    [is there a file called|can you find|help me find|i can't find|i lost|i cannot find|please find] {f} [somewhere|anywhere|anywhere under {d}]
    [where|where on earth|where the hell] [did i put|have i put|did i save|did i leave|is|could be|might be|do i have|did i store] [|the file |the file called |a file called |my file |my |that file ]{f} [|somewhere|, it is in here somewhere|, its in here somewhere|? it must be here somewhere|again]
    [i lost|i can't find|i cannot find|i misplaced|i am looking for|i'm looking for|i am missing|can't find|i need to find|i want to find] [|the file |my file |my |a file called |the file called ]{f}[|,] [can you find it|can you search it|can you search for it|please search it|please find it|where is it|help me find it|look for it|please look for it|search for it]
    [find|locate|search|search for|look for|track down|get the path of|get the location of|give me the path of|show me the location of] [|the file |the file called |a file called |a file with the name |my file |my ]{f} [|for me|somewhere here|anywhere here|in all subfolders|below here|in this folder and below|recursively] [|in {d}|under {d}|below {d}]
    [in which|which|what] [folder|directory|subfolder|place] [is|has|contains|holds|did i put|do i keep] [|the file ]{f} [|in]
    [find . -name {f}|find file {f}|find files named {f}|find files called {f}|find everything named {f}|path of {f}|location of {f}|whereabouts of {f}|path to {f}]
    """),
    about_file("sort", "sort {p}", "That is {p}, sorted.", f"""
    [sort|sort the lines of|sort the file|sort the content of|sort the contents of|order the lines of|alphabetize|alphabetically sort|sort all lines in|put in order the lines of|order|sort lines in|show the sorted lines of|show the sorted content of] {{p}} [|alphabetically|by name|in alphabetical order|from a to z|for me|please]
    {SHOW} [|the file |the lines of |the content of ]{{p}} [sorted|in sorted order|sorted alphabetically|in alphabetical order|ordered alphabetically|in order]
    [sort|order|alphabetize|arrange|put] [|the lines of |the lines in |the content of |the names in |the words in |the entries of |the file |file |my ]{{p}} [alphabetically|in alphabetical order|by alphabet|from a to z|in abc order|a to z|by name|in order|into alphabetical order]
    [show|print|list|give me|display|i want to see|output] [|me |the lines of |the contents of |the file ]{{p}} [sorted|in sorted order|alphabetically|in alphabetical order|sorted alphabetically|sorted by name|a to z|in a to z order|ordered from a to z|but sorted]
    [sorted|alphabetical] [version|list|lines|view|contents|content|output] of [|the file ]{{p}}
    """),
    about_file("sort_r", "sort -r {p}", "That is {p}, sorted backwards.", f"""
    [sort|sort the lines of|sort the file|order|order the lines of] {{p}} [in reverse|in reverse order|backwards|descending|in descending order|reversed|from z to a|reverse alphabetically]
    [reverse sort|reverse-sort|sort in reverse] [|the file |the lines of ]{{p}}
    {SHOW} {{p}} [sorted in reverse|sorted backwards|in descending order|in reverse alphabetical order|sorted descending]
    [show|print|list|give me|display|sort|order|arrange] [|me |the lines of |the file ]{{p}} [in z to a order|from z to a|z to a|in reverse alphabetical order|reverse sorted|sorted in reverse|sorted backwards|sorted descending|descending|in descending order|in reverse order, sorted|by name, but reversed]
    [sort -r {{p}}|reverse alphabetical order of {{p}}|reverse sorted {{p}}|{{p}} sorted from z to a|{{p}} sorted in reverse|{{p}} in reverse alphabetical order]
    """),
    about_file("sort_n", "sort -n {p}", "That is {p}, sorted by number.", f"""
    [sort|sort the lines of|sort the file|order|order the lines of|sort the numbers in|sort the values in] {{p}} [numerically|by number|as numbers|by value|in numerical order|by size of the number|in numeric order]
    [sort the numbers in|numeric sort of|numeric sort|numerically sort|order the numbers in|sort numbers of] [|the file ]{{p}}
    {SHOW} {{p}} [sorted numerically|sorted by number|in numerical order|sorted as numbers]
    [show|print|list|give me|display|sort|order|arrange|put] [|me |the lines of |the numbers in |the values in |the file ]{{p}} [sorted from smallest to largest number|from smallest to largest|from the smallest to the largest|from low to high|from lowest to highest|sorted by number|sorted by value|by numeric value|in ascending numeric order|smallest number first|lowest number first|numerically sorted|ordered by number|in number order]
    [sort -n {{p}}|numerical sort of {{p}}|numerically sorted {{p}}|the numbers in {{p}} sorted|the numbers of {{p}} in order|{{p}} sorted numerically|{{p}} in numeric order]
    """),
    about_file("unique", "sort -u {p}", "Those are the different lines of {p}.", f"""
    {SHOW} [|only |just |me ][the |all the |all |][unique|distinct|different|deduplicated] [lines|rows|entries|values] [of|in|from] [|the file |file ]{{p}}
    {SHOW} [|the file |the lines of ]{{p}} without [duplicates|duplicate lines|repeated lines|repeats|double lines|doubles]
    [what are|which are|list|get] the [unique|distinct|different] [lines|entries|values|rows] [in|of] {{p}}
    [unique lines of|distinct lines of|distinct lines in|dedupe and show|sort and dedupe|unique|sort unique|uniq|unique entries in] {{p}}
    [show|print|list|give me|display|get] [|me |the lines of |the content of |only ][|the file ]{{p}} [without the duplicate lines|without duplicates|without double entries|without the repeated lines|minus the duplicates|with no duplicates|with duplicates removed|but each line only once|each line once|deduplicated]
    [unique|distinct|different|non-duplicate|deduplicated] [lines|entries|rows|values] [in|of|from] [|the file |file |my ]{{p}}
    [which|what] [unique|different|distinct] [lines|entries|values|rows] [are in|does it have in|are there in|exist in] [|the file ]{{p}}
    [sort -u {{p}}|every line of {{p}} only once|each line of {{p}} just once|list every line of {{p}} once|drop the duplicates when showing {{p}}|filter the duplicates out of {{p}} and show it|hide duplicates in {{p}}]
    """),
    about_file("reverse", "tac {p}", "That is {p} from the last line to the first.", f"""
    {SHOW} [|the file |the lines of ]{{p}} [backwards|in reverse|upside down|from bottom to top|from the end|last line first|from end to start|in reverse order of lines|from the last line to the first]
    [reverse the lines of|reverse the order of the lines in|flip the lines of|reverse the line order of|tac|print backwards the lines of|show in reverse the lines of] {{p}}
    [print|show|list|cat|display|read|output] [|me |the lines of |the file ]{{p}} [backwards, last line first|backwards|last line first|in reverse line order|from the last line to the first|from the bottom up|bottom to top|from bottom to top|reversed|in reverse, last line first|starting with the last line|from the end to the beginning|upside down]
    [reverse|flip|turn around] the [order of the lines|line order|lines|order of lines] [of|in] [|the file ]{{p}}
    [tac {{p}}|{{p}} backwards|{{p}} in reverse|{{p}} from the last line up|{{p}} last line first]
    """),
    _two_files("diff", "diff {a} {b}", """
    [compare|diff|do a diff of|run a diff on|make a diff of|show a diff of] [|the files |the two files |files ]{a} [and|with|to|against] {b}
    [what is|what's|show|show me|tell me|find|list|what are|are there|is there] [the difference|the differences|differences|a difference|any difference|different] between [|the files |files ]{a} and {b}
    [are|check if|check whether|tell me if|see if] [|the files |the two files |files ]{a} and {b} [the same|identical|equal|different|are the same|are identical|are equal|differ]
    [how do|do|in what do|where do] {a} and {b} differ
    [is|check if] {a} [the same as|identical to|equal to|is the same as|different from] {b}
    [what|which lines|what lines|what exactly] [changed|is different|differs|has changed|are different|is the change] between [|the files ]{a} and {b}
    [are|check if|check whether|tell me if|tell me whether|do|see if|i want to know if] [|the files |the contents of |files ]{a} and {b} [the same|identical|equal|different|have the same content|have the same contents|match|equal to each other|alike|are the same|are identical|differ|contain the same]
    [compare|diff|check|contrast] [|the files |the file |file |the contents of ]{a} [and|with|to|against|vs] [|the file |file ]{b} [|for me|please|line by line|and show the differences]
    [difference|differences|diff|changes] [between|of|from] [|the files ]{a} [and|to|vs] {b}
    [how|where|in what way|in which lines] [does|is] {a} [differ|different] from {b}
    [show|tell|give] me [what changed|what is different|the differences|the changes|the diff|how they differ|where they differ] [between|from|in] {a} [and|to] {b}
    [does|is] {a} [match|equal|equal to|the same file as|same as] {b}
    """),
    about_file("sha256", "sha256sum {p}", "That is the SHA-256 checksum of {p}.", """
    [what is|what's|show|compute|calculate|get|give me|print|tell me|generate|make] the [sha256|sha-256|SHA256|sha256sum|sha 256|sha256 hash|sha256 checksum|checksum|hash] of [|the file |file ]{p}
    [sha256sum|sha256 of|checksum of|hash of|checksum|sha256|hash|sha256sum of] [|the file ]{p}
    [sha256|sha-256|sha256 checksum|sha256 sum|sha 256 hash|checksum|hash] [for|of|from] [|the file |file |my ]{p}
    [give me|compute|calculate|i need|what is|show|get|make|create|generate] [the|a] [sha256|sha256 checksum|checksum|hash|sha256 sum|sha-256 hash] [for|of|from] [|the file |file |my ]{p}
    [run sha256sum on|hash|hash the file|fingerprint of|sha256sum for] {p}
    """),
    about_file("md5", "md5sum {p}", "That is the MD5 checksum of {p}.", """
    [what is|what's|show|compute|calculate|get|give me|print|tell me|generate] the [md5|MD5|md5sum|md5 hash|md5 checksum|md5 sum] of [|the file |file ]{p}
    [md5sum|md5 of|md5 hash of|md5|md5 checksum of|md5sum of] [|the file ]{p}
    [md5|md5 sum|md5 checksum|md5 hash|md5sum] [for|of|from] [|the file |file |my ]{p}
    [give me|compute|calculate|i need|what is|show|get|make|create|generate] [the|a|an] [md5|md5 checksum|md5 sum|md5 hash|md5sum] [for|of|from] [|the file |file |my ]{p}
    [run md5sum on|md5sum for|md5] {p}
    """),
]  # fmt: skip
