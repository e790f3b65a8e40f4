"""Sums: the shell does them, the model only reads them."""

import ast
import operator
from collections.abc import Callable
from random import Random

from nano.names import Names
from nano.scenario import Intent, Scenario, Step, failed

WORDS = {
    "+": ("plus", "added to", "and", "+", "+", "+"),
    "-": ("minus", "less", "take away", "-", "-", "-"),
    "*": ("times", "multiplied by", "x", "*", "*", "*", "×"),
    "/": ("divided by", "over", "/", "/", "/", "÷"),
    "%": ("modulo", "mod", "%", "%"),
    "**": ("to the power of", "to the power of", "**", "^", "to the power", "raised to"),
}


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.Call):
        return _value(node.args[0]) ** 0.5
    raise ValueError(ast.dump(node))


def result(expression: str) -> str:
    """Computes what the shell or awk prints for an expression."""
    value = _value(ast.parse(expression, mode="eval").body)
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _decimal(names: Names) -> str:
    return f"{names.rng.randint(0, 99)}.{names.rng.randint(1, 99)}"


def _scenario(shown: str, expression: str) -> Scenario:
    exact = not any(part in expression for part in (".", " / ", "sqrt"))
    command = f"echo $(({expression}))" if exact else f"awk 'BEGIN {{print {expression}}}'"

    def said(told: str) -> str:
        return failed(told) or f"{expression} = {told}"

    return Scenario("arithmetic", {"x": shown}, (Step(command, said, result(expression)),))


def _spaced(rng: Random, *parts: str) -> str:
    symbols = all(not part.isalpha() and " " not in part for part in parts)
    return ("" if symbols and rng.random() < 0.35 else " ").join(parts)


def _two(names: Names, rng: Random) -> Scenario:
    sign = rng.choice(["+", "+", "-", "-", "*", "*", "*", "/", "/", "%", "**"])
    one, two = str(names.number()), str(names.number())
    if sign == "**":
        one, two = str(rng.randint(2, 20)), str(rng.randint(2, 9))
    if sign in "/%":
        two = str(names.number() + 1)
    if sign not in "**%" and rng.random() < 0.12:
        one = _decimal(names)
    if sign == "*" and rng.random() < 0.1:
        two = _decimal(names)
    word = rng.choice([word for word in WORDS[sign] if word != "and"])
    expression = f"{one} {sign} {two}"
    if rng.random() < 0.15 and sign in ("+", "-", "*"):
        numbers = rng.randint(0, 20), rng.randint(0, 20)
        expression = f"{numbers[0]} {sign} {numbers[1]}"
        one, two = (SMALL[number] if rng.random() < 0.8 else str(number) for number in numbers)
        word = {"+": "plus", "-": "minus", "*": "times"}[sign]
    return _scenario(_spaced(rng, one, word, two), expression)


def _three(names: Names, rng: Random) -> Scenario:
    one, two, three = (str(rng.randint(1, 10 ** rng.randint(1, 3))) for _ in range(3))
    first, second = rng.choice("+-*"), rng.choice("+-*")
    kind = rng.random()
    if kind < 0.35:
        parts = ["(", one, first, two, ")", second, three]
    elif kind < 0.6:
        parts = [one, first, "(", two, second, three, ")"]
    else:
        parts = [one, first, two, second, three]
    del names
    expression = " ".join(parts).replace("( ", "(").replace(" )", ")")
    shown = expression if rng.random() < 0.6 else expression.replace(" ", "")
    return _scenario(shown, expression)


def _named(names: Names, rng: Random) -> Scenario:
    one, two = str(names.number()), str(names.number() + 1)
    shown, expression = rng.choice([
        (f"the sum of {one} and {two}", f"{one} + {two}"), (f"the product of {one} and {two}", f"{one} * {two}"),
        (f"the difference between {one} and {two}", f"{one} - {two}"), (f"the difference of {one} and {two}", f"{one} - {two}"),
        (f"the quotient of {one} and {two}", f"{one} / {two}"), (f"the remainder of {one} divided by {two}", f"{one} % {two}"),
        (f"{one} squared", f"{one} ** 2"), (f"the square of {one}", f"{one} ** 2"), (f"{one} cubed", f"{one} ** 3"),
        (f"half of {one}", f"{one} / 2"), (f"twice {one}", f"{one} * 2"), (f"double {one}", f"{one} * 2"),
        (f"a third of {one}", f"{one} / 3"), (f"{one} and {two} added", f"{one} + {two}"),
        (f"{one}% of {two}", f"{two} * {one} / 100"), (f"{one} percent of {two}", f"{two} * {one} / 100"), (f"{one} % of {two}", f"{two} * {one} / 100"),
        (f"{one}% of {two}", f"{two} * {one} / 100"), (f"the square root of {one}", f"sqrt({one})"), (f"square root of {one}", f"sqrt({one})"),
        (f"sqrt({one})", f"sqrt({one})"), (f"sqrt {one}", f"sqrt({one})"), (f"the average of {one} and {two}", f"({one} + {two}) / 2"),
        (f"the mean of {one} and {two}", f"({one} + {two}) / 2"), (f"a quarter of {one}", f"{one} / 4"), (f"a tenth of {one}", f"{one} / 10"),
        (f"{one} and {two} together", f"{one} + {two}"), (f"{one} and {two} multiplied", f"{one} * {two}"),
        (f"the remainder when {one} is divided by {two}", f"{one} % {two}"), (f"remainder of {one} divided by {two}", f"{one} % {two}"),
        (f"remainder when {one} is divided by {two}", f"{one} % {two}"), (f"the remainder of {one} and {two}", f"{one} % {two}"),
        (f"what remains when {one} is divided by {two}", f"{one} % {two}"), (f"{two} to the {rng.choice(['power of 3', 'third power'])}", f"{two} ** 3"),
        (f"the total of {one} and {two}", f"{one} + {two}"), (f"{one} less {two}", f"{one} - {two}"), (f"{one} take away {two}", f"{one} - {two}"),
    ])  # fmt: skip
    return _scenario(shown, expression)


def _verbs(names: Names, rng: Random) -> Scenario:
    one, two = str(names.number()), str(names.number() + 1)
    shown, expression = rng.choice([
        (f"add {one} and {two}", f"{one} + {two}"), (f"add {one} to {two}", f"{two} + {one}"), (f"sum {one} and {two}", f"{one} + {two}"),
        (f"multiply {one} by {two}", f"{one} * {two}"), (f"multiply {one} and {two}", f"{one} * {two}"), (f"multiply {one} with {two}", f"{one} * {two}"),
        (f"divide {one} by {two}", f"{one} / {two}"), (f"subtract {one} from {two}", f"{two} - {one}"), (f"add up {one} and {two}", f"{one} + {two}"),
        (f"square {one}", f"{one} ** 2"), (f"take {one} from {two}", f"{two} - {one}"), (f"double {one}", f"{one} * 2"),
        (f"raise {one} to the power of {rng.randint(2, 9)}", ""), (f"i have {one} apples and get {two} more, how many do i have", f"{one} + {two}"),
        (f"split {one} by {two}", f"{one} / {two}"),
    ])  # fmt: skip
    expression = expression or f"{one} ** {shown.split()[-1]}"
    return _scenario(shown, expression)


UNITS = (
    ("seconds", "minute", 60), ("seconds", "hour", 3600), ("minutes", "hour", 60), ("hours", "day", 24), ("days", "week", 7),
    ("months", "year", 12), ("minutes", "day", 1440), ("seconds", "day", 86400), ("hours", "week", 168), ("days", "year", 365),
)  # fmt: skip


def _many(names: Names, rng: Random) -> Scenario:
    """A sum or product of three to six numbers."""
    numbers = [str(rng.randint(0, 10 ** rng.randint(1, 3))) for _ in range(rng.choice([3, 3, 4, 4, 5, 6]))]
    sign = rng.choice("+++*")
    listed = ", ".join(numbers[:-1]) + rng.choice([" and ", ", ", ", and "]) + numbers[-1]
    name, verbs = {
        "+": ("sum", ("add up", "sum up", "add", "total", "add together", "sum")),
        "*": ("product", ("multiply", "multiply together")),
    }[sign]
    shown = rng.choice([
        f"the {name} of {listed}", f"{rng.choice(verbs)} {listed}", f"{rng.choice(verbs)} the numbers {listed}",
        rng.choice([" {} ", "{}"]).format(sign).join(numbers), f"{listed} {'added up' if sign == '+' else 'multiplied'}",
    ])  # fmt: skip
    del names
    return _scenario(shown, f" {sign} ".join(numbers))


def _units(names: Names, rng: Random) -> Scenario:
    del names
    small, big, factor = rng.choice(UNITS)
    count = rng.randint(1, 200)
    shown = f"{count} {big}{'s' if count != 1 else ''}"
    verb = "is" if count == 1 else "are"
    asked = rng.choice([
        f"how many {small} are in {shown}", f"how many {small} {verb} {shown}", f"how many {small} in {shown}",
        f"how many {small} does {shown} have", f"{shown} in {small}", f"convert {shown} to {small}", f"what is {shown} in {small}",
        f"how many {small} are there in {shown}",
    ])  # fmt: skip
    return _scenario(asked, f"{count} * {factor}")


THINGS = [
    "apples",
    "chairs",
    "books",
    "tickets",
    "eggs",
    "boxes",
    "cats",
    "shirts",
    "pens",
    "plates",
    "cookies",
    "bottles",
    "seats",
    "cars",
    "stamps",
]


def _story(names: Names, rng: Random) -> Scenario:
    """A sum in a sentence of everyday life."""
    one, two = str(rng.randint(2, 300)), str(rng.randint(2, 200))
    thing, money = rng.choice(THINGS), rng.choice(["euro", "euros", "dollars", "bucks", "cents", "pounds"])
    i, have = rng.choice(
        [("i", "have"), ("we", "have"), ("anna", "has"), ("bob", "has"), ("my friend", "has")]
    )
    del names
    times = [
        f"{i} bought {one} {thing} at {two} {money} each, what {rng.choice(['do i pay in total', 'is the total', 'does it cost', 'do they cost'])}",
        f"{one} {thing} cost {two} {money} each, how much is that", f"{one} {thing} for {two} {money} each, what is the total",
        f"what do {one} {thing} cost if one costs {two} {money}", f"{one} boxes with {two} {thing} each, how many {thing} is that",
        f"how much are {one} {thing} at {two} {money} each", f"{i} {have} {one} boxes of {two} {thing}, how many {thing} in total",
        f"if one of the {thing} costs {two} {money}, how much are {one}",
    ]  # fmt: skip
    plus = [
        f"{i} {have} {one} {thing} and {rng.choice(['get', 'buy', 'find', 'receive'])} {two} more, how many {rng.choice(['are there', 'is that', 'in total'])}",
        f"there are {one} {thing} and {two} more come, how many is that", f"{one} {thing} and {two} {thing}, how many {thing} together",
    ]  # fmt: skip
    minus = [
        f"{i} {have} {one} {thing} and {rng.choice(['eat', 'lose', 'sell', 'give away', 'break'])} {two}, how many are left",
        f"of {one} {thing} {two} are gone, how many remain", f"there were {one} {thing} and {two} were sold, how many are left",
    ]  # fmt: skip
    split = [
        f"{one} {thing} are shared by {two} people, how many does each get", f"split {one} {thing} among {two} people, how many each",
        f"{one} {money} divided among {two} friends, how much does each get",
    ]  # fmt: skip
    texts, sign = rng.choice([(times, "*"), (times, "*"), (plus, "+"), (minus, "-"), (split, "/")])
    # A price stands before its number of things in one of them.
    shown = rng.choice(texts)
    first, second = (two, one) if shown.startswith("if one") else (one, two)
    return _scenario(shown, f"{first} {sign} {second}")


ASK = """
    [what is|what's|whats|calculate|compute|evaluate|solve|work out|how much is|what does|find|figure out|tell me|what do you get for|can you calculate|please compute|can you compute|give me|i need|what would be|do the math:|math:|calc|what are|the result of|how many is|could you work out|result of] {x}
    [{x}|{x}|{x} =|{x} = ?|{x} equals|{x} is what|{x} makes|{x}, how much is that|{x}, what is that|{x} equals what|what {x} is|do you know what {x} is|i wonder what {x} is|the answer to {x}|use the shell to calculate {x}]
    """
INTENTS = [
    Intent("arithmetic", ASK, _two, weight=5.0),
    Intent("arithmetic3", ASK, _three, weight=1.6),
    Intent("arithmetic_named", ASK, _named, weight=2.4),
    Intent("arithmetic_verbs", "[|||can you |could you |please |i want you to |let's ]{x} [||||for me|please]", _verbs, weight=1.4),
    Intent("arithmetic_many", "[|||can you |could you |please |i want you to |let's |what is |what's |calculate ]{x} [||||for me|please]", _many, weight=1.2),
    Intent("arithmetic_units", "[||||tell me |can you tell me |do you know |i wonder ]{x}", _units),
    Intent("arithmetic_story", "[||||tell me: |question: |math question: ]{x}", _story, weight=1.2),
]  # fmt: skip
