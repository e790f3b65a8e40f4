"""Requests about a text or numbers that stand in them; they change nothing."""

from base64 import b64encode
from collections.abc import Callable
from random import Random

from nano.names import Names
from nano.scenario import Intent, Scenario, Step, literal, says


def text_intent(kind: str, command: str, answer: str, phrases: str, *, gives: Callable[[str], str],
                weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent that works on a text `{t}` itself and gives what `gives` makes of it."""

    def make(names: Names, rng: Random) -> Scenario:
        text = names.text()
        shown = rng.choice([text, f'"{text}"', f"'{text}'"])
        step = Step(command.replace("{t}", literal(text)), says(answer), gives(text))
        return Scenario(kind, {"t": shown}, (step,))

    return Intent(kind, phrases, make, weight=weight)


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _numbers(names: Names, rng: Random) -> Scenario:
    del names
    last = str(rng.choice([3, 5, 10, 20, 50, 100, rng.randint(2, 40)]))
    return Scenario(
        "seq", {"n": last}, (Step(f"seq {last}", says(f"Those are the numbers from 1 to {last}.")),)
    )


def _range(names: Names, rng: Random) -> Scenario:
    del names
    first = rng.randint(0, 90)
    last = first + rng.randint(1, 20)
    step = Step(f"seq {first} {last}", says(f"Those are the numbers from {first} to {last}."))
    return Scenario("range", {"a": str(first), "b": str(last)}, (step,))


def _random(names: Names, rng: Random) -> Scenario:
    most = str(rng.choice([6, 10, 20, 100, 1000, rng.randint(2, 500)]))
    del names
    step = Step(f"echo $((RANDOM % {most} + 1))", says("The number is {}."), str(rng.randint(1, int(most))))
    return Scenario("random", {"n": most}, (step,))


def _sleep(names: Names, rng: Random) -> Scenario:
    del names
    n = str(rng.randint(1, 60))
    return Scenario("sleep", {"n": n}, (Step(f"sleep {n}", says("", f"I waited {n} s."), "[no output]"),))


INTENTS = [
    text_intent("echo", "echo {t}", "It printed: {}", """
    [print|echo|say|output|write out|display|print out|repeat] [|the text |the words |the message |the string |the phrase ]{t} [|to the screen|on the screen|to the terminal|in the terminal|to stdout]
    [use echo to print|let the shell print|make the shell say|have bash print|make bash say|let bash say] {t}
    """, gives=str, weight=1.8),
    text_intent("upper", "echo {t} | tr a-z A-Z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [upper case|uppercase|capital letters|capitals|all caps|caps|big letters|upper-case|upper case letters]
    [uppercase|upcase|capitalize all of|capitalise all letters of|make uppercase|upper case of|shout|all caps] [|the text |the words |the string ]{t}
    {t} in [upper case|uppercase|capital letters|all caps|capitals]
    """, gives=str.upper),
    text_intent("lower", "echo {t} | tr A-Z a-z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [lower case|lowercase|small letters|lower-case|lower case letters]
    [lowercase|downcase|make lowercase|lower case of] [|the text |the words |the string ]{t}
    {t} in [lower case|lowercase|small letters]
    """, gives=str.lower),
    text_intent("rev", "echo {t} | rev", "{}", """
    [reverse|mirror|flip|turn around|spell backwards] [|the text |the word |the words |the string |the letters of |the characters of |the phrase ]{t}
    [write|spell|print|say|show] {t} [backwards|in reverse|reversed|from back to front|from right to left]
    [what is|what's] {t} [backwards|reversed|spelled backwards|in reverse]
    """, gives=lambda text: text[::-1]),
    text_intent("length", "echo -n {t} | wc -c", "It has {} characters.", """
    how [long is|many characters does|many letters does|many characters has|many letters has|many characters are in|many letters are in] [the text|the word|the string|the words|the phrase|the sentence] {t} [|have]
    [length of|count the characters of|count the letters of|count the letters in|count the characters in|what is the length of|number of characters in|number of letters in] [the text|the word|the string|the words|the phrase|the sentence] {t}
    """, gives=lambda text: str(len(text))),
    text_intent("base64", "echo -n {t} | base64", "That is the text in Base64.", """
    [encode|convert|turn|put|translate] [|the text |the words |the string ]{t} [in|to|into|as|with] [base64|base 64|Base64]
    [base64|base64 encode|base64-encode|base64 of|what is the base64 of] [|the text |the string ]{t}
    {t} in base64
    """, gives=_encoded),
    Intent("seq", """
    [count|count up|count from 1|print the numbers from 1|show the numbers from 1|list the numbers from 1|numbers from 1|count from one|print numbers 1|give me the numbers from 1|write the numbers 1] to {n}
    [print the first|list the first|show the first|give me the first] {n} [numbers|whole numbers|integers|natural numbers]
    """, _numbers),
    Intent("range", """
    [count|print the numbers|show the numbers|list the numbers|numbers|print numbers|count up|list all numbers|print all numbers|give me the numbers|write the numbers] from {a} to {b}
    [numbers|all numbers|the numbers|print the numbers|list the numbers] between {a} and {b}
    """, _range),
    Intent("random", """
    [give me|pick|generate|draw|choose|show|print|make|i need|roll|tell me] [a|one|some] [random number|random integer|random whole number|number at random] [between 1 and|from 1 to|up to|from one to|in the range 1 to|between one and] {n}
    [random number|random integer] [between 1 and|from 1 to|up to] {n}
    roll a die with {n} sides
    """, _random),
    Intent("sleep", """
    [sleep|wait|pause|do nothing|rest|hold on|take a break] [for |][{n} seconds|{n} s|{n} sec|{n} secs]
    """, _sleep),
]  # fmt: skip
