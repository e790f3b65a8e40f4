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
    "**": ("to the power of", "**", "^", "to the power"),
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


ASK = """
    [what is|what's|whats|calculate|compute|evaluate|solve|work out|how much is|what does|find|figure out|tell me|what do you get for|can you calculate|please compute|can you compute|give me|i need|what would be|do the math:|math:|calc|what are|the result of|how many is|could you work out|result of] {x}
    [{x}|{x}|{x} =|{x} = ?|{x} equals|{x} is what|{x} makes|{x}, how much is that|{x}, what is that|{x} equals what|what {x} is|do you know what {x} is|i wonder what {x} is|the answer to {x}|use the shell to calculate {x}]
    """
INTENTS = [
    Intent("arithmetic", ASK, _two, weight=5.0),
    Intent("arithmetic3", ASK, _three, weight=1.6),
    Intent("arithmetic_named", ASK, _named, weight=2.4),
    Intent("arithmetic_verbs", "[|||can you |could you |please |i want you to |let's ]{x}", _verbs, weight=1.4),
]  # fmt: skip
