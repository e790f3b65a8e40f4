"""How people really type: politeness, case, punctuation and slips, never inside a name."""

import re
from random import Random

BEFORE = (
    "please", "can you", "could you", "could you please", "can you please", "hey,", "hi,", "hello,", "ok,", "now", "so,",
    "i want you to", "i'd like you to", "i need you to", "would you", "pls", "plz", "kindly", "hey nano,", "nano,", "let's",
    "quick question:", "okay now", "next,", "go ahead and", "can u", "just", "would you mind to", "hey can you", "hi, please",
    "then", "also", "i would like you to", "help me", "do me a favor and", "alright,", "um,", "now please", "excuse me,", "first,",
    "hey, could you please", "hi! can you", "yo,", "be so kind and", "hey there, please", "i was wondering if you could", "would you please",
    "is it possible to", "would it be possible to", "can you maybe", "good morning, please", "ok nano,", "computer,", "wanna", "gotta", "i wanna",
    "maybe you can", "thanks, now", "great, now", "perfect, now", "any chance you could", "my task is to", "try to", "you should", "would you kindly",
    "dear nano, please", "sorry,", "actually,", "well,", "hmm,", "hello! please", "i have to", "we need to", "would love to", "now can you",
)  # fmt: skip
AFTER = (
    "please", "for me", "for me please", "pls", "thanks", "now", "thank you", "plz", "right now", "quickly", ", please", ", thanks",
    "real quick", "if you can", "if possible", "when you can", "then", "ok",
)  # fmt: skip
QUESTION_FIRST = {
    "what", "what's", "which", "who", "where", "how", "is", "are", "does", "do", "has", "was", "when", "whose", "did",
    "whats", "am", "in", "to", "under", "where's", "can", "may", "could", "on", "have", "i", "as", "it", "we", "math:",
}  # fmt: skip
ASIDES = ("i wonder", "tell me", "do you know", "i want to know", "can you tell me", "could you tell me", "hey,", "hi,", "so,",
          "ok,", "quick question:", "and", "by the way,", "please tell me", "hello,", "just curious,", "say,", "now", "um,", "hey nano,", "nano,", "excuse me,", "out of curiosity,", "i'd like to know,", "any idea", "remind me,", "hmm,", "well,", "please,", "ok so", "i was wondering,", "now tell me,", "sorry,", "good morning,", "do you happen to know", "could you check", "can you check", "can you see", "please check", "let me know", "hey there,")  # fmt: skip
PROPER = {
    "linux": ("Linux", "Linux", "LINUX"), "ram": ("RAM",), "cpu": ("CPU",), "cpus": ("CPUs", "CPUS"), "os": ("OS",), "ip": ("IP",),
    "gpu": ("GPU",), "id": ("ID",), "bash": ("Bash", "BASH"), "python": ("Python",), "internet": ("Internet",), "ubuntu": ("Ubuntu",),
    "debian": ("Debian",), "unix": ("Unix", "UNIX"), "nano": ("Nano",), "base64": ("Base64", "BASE64"), "ai": ("AI",),
    "md5": ("MD5",), "sha256": ("SHA256",), "csv": ("CSV",), "ascii": ("ASCII",), "france": ("France",), "germany": ("Germany",),
    "spain": ("Spain",), "peru": ("Peru",), "china": ("China",), "japan": ("Japan",), "india": ("India",), "brazil": ("Brazil",),
    "italy": ("Italy",), "french": ("French",), "german": ("German",), "spanish": ("Spanish",), "italian": ("Italian",),
    "japanese": ("Japanese",), "english": ("English",), "chinese": ("Chinese",), "russian": ("Russian",), "latin": ("Latin",),
    "monday": ("Monday",), "friday": ("Friday",), "sunday": ("Sunday",), "rome": ("Rome",), "berlin": ("Berlin",), "bitcoin": ("Bitcoin",),
    "java": ("Java",), "javascript": ("JavaScript",), "html": ("HTML",), "sql": ("SQL",), "rust": ("Rust",), "napoleon": ("Napoleon",),
    "einstein": ("Einstein",), "hamlet": ("Hamlet",), "shakespeare": ("Shakespeare",), "chatgpt": ("ChatGPT",), "llm": ("LLM",),
    "gcc": ("GCC",), "git": ("Git",), "docker": ("Docker",), "mona": ("Mona",), "lisa": ("Lisa",), "anna": ("Anna",), "bob": ("Bob",),
    "god": ("God",), "canada": ("Canada",), "egypt": ("Egypt",), "norway": ("Norway",), "kenya": ("Kenya",), "dna": ("DNA",),
}  # fmt: skip
_KNOWN = re.compile(r"(?<![{\w./-])(" + "|".join(PROPER) + r")(?![\w}/-]|\.\w)")
_WORD = re.compile(r"(?<![{\w./-])[a-z]{5,}(?![\w}./-])")


# What the request is about, said before it; the request then speaks of "it".
TOPICS = (
    "there is a file {p}, ", "there's a file called {p}. ", "i have a file called {p}. ", "i have a file {p}, ", "{p}: ", "about {p}: ", "regarding {p}, ",
    "look at {p}: ", "i made {p} yesterday. ", "you know the file {p}. ", "for the file {p}, ", "for {p}: ", "see {p}? ", "here is {p}. ",
    "i just got {p}. ", "the file {p}: ", "file {p}. ", "my colleague gave me {p}. ", "i found {p} here. ", "in this folder is {p}. ",
)  # fmt: skip
THAT = ("it", "it", "it", "that file", "the file", "this file")
# Reasons and asides that change nothing about what is wanted, many with words that could mislead.
REASONS = (
    ", i need it for work", ", i need to check something", " because i forgot", " before i go", ", i can't remember", ", my boss asks", " so i can check it",
    " so that i know", ", it is important", ", i am in a hurry", ", i want to be sure", " for my report", ", just to be sure", ", i am curious", " if you don't mind",
    ", i have no idea", ", i lost track", " as i can't see it", ", my teacher wants to know", ", that would help", ", i'm new to linux", ", someone asked me",
)  # fmt: skip
STARTS = (
    "i'm new here, ", "quick one: ", "i am in a hurry, ", "i forgot, ", "one question, ", "i need this for work: ", "my boss wants to know, ", "just a check, ",
    "for my homework: ", "sorry to bother you, ", "i can't remember, ", "i have a question: ", "small request: ", "task: ", "next task: ", "todo: ", "another one: ",
    "first thing today: ", "to start with, ", "dear computer, ", "if you can, ", "when you have a moment, ", "as a first step, ", "the thing is, ",
)  # fmt: skip
READ_STARTS = (
    "before i delete it, ", "without changing anything, ", "don't delete anything, just ", "do not change anything, only ", "i might remove it later, but first ",
    "i want to move it later, now ", "before we move on, ", "don't write anything, ", "nothing should be removed, ", "i will delete it tomorrow, today ",
    "i am not going to delete it, ", "before i rename it, ", "before copying it, ", "careful, don't overwrite it: ", "i am cleaning up, so ",
)  # fmt: skip
READ_REASONS = (
    " before i delete it", ", don't change it", ", i may remove it later", ", but don't delete it", " and leave it as it is", ", without moving it", " before i overwrite it",
    ", i want to clean up", ", nothing else", " and don't touch it", " so i can decide what to delete", ", i think somebody moved it", ", it was renamed yesterday",
)  # fmt: skip


def surround(phrase: str, rng: Random, *, reads: bool) -> str:
    """Says what it is about first, or adds why; slots are still unfilled."""
    chance = rng.random()
    about_file = phrase.count("{p}") == 1
    open_end = phrase.endswith(("{t}", "{c}", "{z}"))
    if chance < 0.05 and about_file and not phrase.startswith("{p}"):
        without = re.sub(
            r"(the file |the script |my file |my script |file |my |the )?\{p\}", rng.choice(THAT), phrase
        )
        return rng.choice(TOPICS) + without
    if chance < 0.08:
        return rng.choice(READ_STARTS if reads and about_file and rng.random() < 0.5 else STARTS) + phrase
    if chance < 0.11 and not open_end:
        return phrase + rng.choice(READ_REASONS if reads and about_file and rng.random() < 0.5 else REASONS)
    return phrase


def dress(phrase: str, rng: Random) -> str:
    """Adds what people put around a request; slots are still unfilled."""
    question = phrase.split(" ", 1)[0].lower() in QUESTION_FIRST
    open_end = phrase.endswith(("{t}", "{c}"))
    if rng.random() < 0.25 and not phrase.startswith(("{", "please", "can", "could")):
        phrase = f"{rng.choice(ASIDES if question else BEFORE)} {phrase}"
    if rng.random() < 0.14 and not open_end:
        phrase = f"{phrase} {rng.choice(AFTER)}".replace(" ,", ",")
    if rng.random() < 0.03:
        phrase = _slip(phrase, rng)
    if rng.random() < 0.12:
        phrase = phrase.replace("'", "")
    phrase = _case(phrase, rng)
    if not open_end:
        phrase += _end(question, rng)
    return phrase


def _slip(phrase: str, rng: Random) -> str:
    words = list(_WORD.finditer(phrase))
    if len(phrase.split()) < 4 or not words:
        return phrase
    found = rng.choice(words)
    word, at = found.group(), rng.randint(1, len(found.group()) - 2)
    wrong = rng.choice([
        word[:at] + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at] + word[at:],
    ])  # fmt: skip
    return phrase[: found.start()] + wrong + phrase[found.end() :]


def _case(phrase: str, rng: Random) -> str:
    if rng.random() < 0.5:
        phrase = _KNOWN.sub(lambda found: rng.choice(PROPER[found[0]]), phrase)
    kind = rng.random()
    if kind < 0.42 and not phrase.startswith("{"):
        phrase = phrase[0].upper() + phrase[1:]
    if rng.random() < 0.3:
        phrase = re.sub(r"\bi\b", "I", phrase)
    return phrase


def _end(question: bool, rng: Random) -> str:
    kind = rng.random()
    if question:
        return "?" if kind < 0.55 else "" if kind < 0.93 else rng.choice(["??", " ?", "."])
    return "" if kind < 0.66 else "." if kind < 0.86 else rng.choice(["!", "?", " .", "...", "!!"])
