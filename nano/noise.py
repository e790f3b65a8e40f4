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
    "debian": ("Debian",), "unix": ("Unix", "UNIX"), "path": ("PATH",), "nano": ("Nano",), "base64": ("Base64", "BASE64"), "ai": ("AI",),
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


def dress(phrase: str, rng: Random) -> str:
    """Adds what people put around a request; slots are still unfilled."""
    question = phrase.split(" ", 1)[0].lower() in QUESTION_FIRST
    open_end = phrase.endswith(("{t}", "{c}"))
    if rng.random() < 0.3 and not phrase.startswith(("{", "please", "can", "could")):
        phrase = f"{rng.choice(ASIDES if question else BEFORE)} {phrase}"
    if rng.random() < 0.14 and not open_end:
        phrase = f"{phrase} {rng.choice(AFTER)}".replace(" ,", ",")
    if rng.random() < 0.01:
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
