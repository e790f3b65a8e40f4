"""How people really type: politeness, case, punctuation and slips, never inside a name."""

import re
from random import Random

BEFORE = (
    "please", "can you", "could you", "could you please", "can you please", "hey,", "hi,", "hello,", "ok,", "now", "so,",
    "i want you to", "i'd like you to", "i need you to", "would you", "pls", "plz", "kindly", "hey nano,", "nano,", "let's",
    "quick question:", "okay now", "next,", "go ahead and", "can u", "just", "would you mind to", "hey can you", "hi, please",
    "then", "also", "i would like you to", "help me", "do me a favor and", "alright,", "um,", "now please", "excuse me,", "first,",
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
          "ok,", "quick question:", "and", "by the way,", "please tell me", "hello,", "just curious,", "say,", "now", "um,")  # fmt: skip
_WORD = re.compile(r"(?<![{\w./-])[a-z]{5,}(?![\w}./-])")


def dress(phrase: str, rng: Random) -> str:
    """Adds what people put around a request; slots are still unfilled."""
    question = phrase.split(" ", 1)[0].lower() in QUESTION_FIRST
    open_end = phrase.endswith(("{t}", "{c}"))
    if rng.random() < 0.22 and not phrase.startswith(("{", "please", "can", "could")):
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
    if not words:
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
    kind = rng.random()
    if kind < 0.42 and not phrase.startswith("{"):
        phrase = phrase[0].upper() + phrase[1:]
    elif kind < 0.428:
        phrase = re.sub(r"\{\w\}|[^{]+", lambda m: m[0] if m[0][0] == "{" else m[0].upper(), phrase)
    if rng.random() < 0.3:
        phrase = re.sub(r"\bi\b", "I", phrase)
    return phrase


def _end(question: bool, rng: Random) -> str:
    kind = rng.random()
    if question:
        return "?" if kind < 0.55 else "" if kind < 0.93 else rng.choice(["??", " ?", "."])
    return "" if kind < 0.66 else "." if kind < 0.86 else rng.choice(["!", "?", " .", "...", "!!"])
