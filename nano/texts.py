"""Requests about a text or numbers that stand in them; they change nothing."""

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


def _range(names: Names, rng: Random) -> Scenario:
    del names
    first = rng.randint(0, 90)
    last = first + rng.randint(1, 20)
    step = Step(f"seq {first} {last}", says(f"Those are the numbers from {first} to {last}."))
    return Scenario("range", {"a": str(first), "b": str(last)}, (step,))


INTENTS = [
    text_intent("echo", "echo {t}", "It printed: {}", """
    [print|echo|say|output|write out|display|print out|repeat] [|the text |the words |the message |the string |the phrase ]{t} [|to the screen|on the screen|to the terminal|in the terminal|to stdout]
    [use echo to print|let the shell print|make the shell say|have bash print|make bash say|let bash say] {t}
    [print|echo|say|output|write|display|type|show|repeat] [|the text |the words |the word |the message |the string |the phrase |the sentence |this: |this text: |: ]{t} [on the screen|on screen|to the screen|to the terminal|in the terminal|to stdout|to standard output|with echo|using echo|on the console|to the console]
    [echo|echo the text|echo the words|echo the word|say|print the word|print the words|print the text|print the message|print out|repeat after me:|repeat the words|output the text|output the line] {t}
    [make|let|have] [the shell|bash|the terminal|the computer] [print|say|echo|output|write|display] {t}
    """, gives=str, weight=1.8),
    text_intent("upper", "echo {t} | tr a-z A-Z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [upper case|uppercase|capital letters|capitals|all caps|caps|big letters|upper-case|upper case letters]
    [uppercase|upcase|capitalize all of|capitalise all letters of|make uppercase|upper case of|shout|all caps] [|the text |the words |the string ]{t}
    {t} in [upper case|uppercase|capital letters|all caps|capitals]
    [uppercase|upper case|capitalize|capitalise|upcase|shout|all-caps] [the word|the words|the text|the string|the phrase|the sentence|the letters of|all letters in|the letters in|] {t}
    [how does|what is|how do you write|what does] {t} [look in upper case|in upper case|in all caps|in capital letters|look in capitals]
    [make|turn|put|write|convert|set|transform|change|print|say] [|the word |the words |the text |the string |the phrase ]{t} [all caps|in all caps|in capitals|into all caps|to upper case|to uppercase|in upper case|upper case|uppercase|into capital letters|in big letters]
    """, gives=str.upper),
    text_intent("lower", "echo {t} | tr A-Z a-z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [lower case|lowercase|small letters|lower-case|lower case letters]
    [lowercase|downcase|make lowercase|lower case of] [|the text |the words |the string ]{t}
    {t} in [lower case|lowercase|small letters]
    [lowercase|lower case|downcase|uncapitalize] [the word|the words|the text|the string|the phrase|the sentence|the letters of|all letters in|] {t}
    [make|turn|put|write|convert|set|transform|change|print|say] [|the word |the words |the text |the string |the phrase ]{t} [in lower case|to lower case|to lowercase|lower case|lowercase|into small letters|in small letters|in lowercase]
    """, gives=str.lower),
    text_intent("rev", "echo {t} | rev", "{}", """
    [reverse|mirror|flip|turn around|spell backwards] [|the text |the word |the words |the string |the letters of |the characters of |the phrase ]{t}
    [write|spell|print|say|show] {t} [backwards|in reverse|reversed|from back to front|from right to left]
    [what is|what's] {t} [backwards|reversed|spelled backwards|in reverse]
    [spell|write|print|say|show|read|type] [the word|the text|the words|the string|] {t} [backwards|in reverse|reversed|back to front|from back to front|the other way round|from the end]
    [reverse|flip|mirror|turn around] [the word|the text|the string|the letters of|the letters in|the characters of] {t}
    [what is|what's|whats|how do you spell|how does one write] {t} [backwards|spelled backwards|in reverse|reversed|written backwards]
    {t} [backwards|reversed|spelled backwards|in reverse]
    """, gives=lambda text: text[::-1]),
]  # fmt: skip
