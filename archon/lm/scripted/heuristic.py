"""The scripted model's default script, which reads the prompt and replies as a small model does.

It computes the arithmetic in the prompt. A given share of its samples is correct; the other samples
are slightly wrong. If the prompt asks for a program, a verdict, a ranking, a critique or tests, the
reply has the expected format. The script recognizes the task only by the format that the prompt
shows (``solution()`` in backticks, ``Verdict:``, ``[1] > [2]``, "strengths" and "weaknesses"), so
the wording of prompts may change. It recognizes the types of answers that end neither in a number
nor in a program by the instruction that ends the prompt (``archon.answers.kinds``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from zlib import crc32

from archon.answers.kinds import ANSWER_TYPES
from archon.lm.cache_keys import sample_hash
from archon.types import LATER_PARAMETERS, SAMPLER_PARAMETERS, AnswerKind, Message, Request

_OPENERS = (
    "Let me work it out.",
    "Step by step:",
    "Going from left to right:",
    "First, I write down what is given.",
    "This can be done directly.",
    "I take it in parts.",
    "Let me be careful with the order.",
    "We calculate:",
)

# Numbers with operators between them, from the first digit. A pattern that starts with a plain
# class is fast to search, and bounds on all repeats keep the search linear.
_DIGITS = r"\d{0,11}(?:\.\d{1,12})?"
_OPERATOR = r"[ )]{0,8}[-+*/\u00d7\u00f7][ ]?(?:[-(] ?){0,8}"
_EXPRESSION = re.compile(rf"\d(?<![\w.]\d){_DIGITS}(?:{_OPERATOR}\d{_DIGITS}){{1,40}}\){{0,8}}")
_NUMBERS = re.compile(r"(?<![\w.])\d{1,12}(?![\w])")
_SYMBOL = re.compile(rf"\d{_DIGITS}|[-+*/()]")
_CLAIM = re.compile(r"answer is\D{0,8}?(-?\d{1,15}(?:/\d{1,15})?)")
_OPTION = re.compile(r"^([A-Z])[.)] (.{1,200})$", re.MULTILINE)
_ENDINGS: tuple[AnswerKind, ...] = ("choice", "math", "json")
_LATER_SAMPLERS = {n: p for n, p in SAMPLER_PARAMETERS.items() if n in LATER_PARAMETERS}


class HeuristicScript:
    """Script whose samples are correct with probability ``accuracy``.

    Sample k depends only on the messages, the seed, the sampler parameters and k.
    """

    def __init__(self, accuracy: float) -> None:
        self.accuracy = accuracy

    def __call__(self, request: Request, sample: int) -> str:
        """Return the reply for sample number ``sample``."""
        prompt = "\n".join(message.content for message in request.messages)
        message, sampling = request.messages[-1], request.sampling
        key = (
            f"{crc32(prompt.encode('utf-8', 'replace'))}/{sampling.top_k or 0:d}"
            f"/{sampling.temperature or 0:f}/{sampling.top_p or 0:f}/{sampling.min_p or 0:f}"
        )
        for name, parameter in _LATER_SAMPLERS.items():
            if parameter.has_effect(value := getattr(sampling, name)):
                key += f"/{name}={parameter.to_json(value)}"
        number = sample_hash(key, request.seed, sample, bits=64)
        is_right = (number & 0xFFFF) < self.accuracy * 0x10000
        number >>= 16
        if "Verdict:" in prompt:
            return _verdict(message, is_right)
        if "] > [" in prompt:
            return _ranking(_num_candidates(prompt), number)
        if "trengths" in prompt and "eaknesses" in prompt:
            return _critique(_num_candidates(prompt), number)
        if "Tests:" in prompt:
            return _results(message, is_right, _num_candidates(prompt))
        if "Write tests" in prompt:
            return _tests(message, is_right)
        if "`solution()`" in message.content:
            return _program(message, is_right, number)
        return _solution(message, is_right, number)


class HeuristicReward:
    """Reward function with values in [0, 1].

    With probability ``accuracy``, the reward is above 0.5 for a correct answer and below 0.5 for a
    wrong answer. Otherwise, this is reversed.
    """

    def __init__(self, accuracy: float) -> None:
        self.accuracy = accuracy

    def __call__(self, messages: Sequence[Message], text: str) -> float:
        """Return the reward of ``text`` as a reply to the messages."""
        _, value = _task(messages[-1].content if messages else "")
        claims = _CLAIM.findall(text)
        is_right = bool(claims) and claims[-1] == str(value)
        number = sample_hash(f"{crc32(text.encode('utf-8', 'replace'))}", 0, 0, bits=64)
        is_high = is_right == ((number & 0xFFFF) < self.accuracy * 0x10000)
        distance = 0.25 + (number >> 16 & 0xFF) / 1024
        return 0.5 + distance if is_high else 0.5 - distance


def _solution(message: Message, is_right: bool, number: int) -> str:
    expression, value = _task(message.content)
    if not is_right:
        value += _miss(number)
    opener = _OPENERS[(number >> 3) & 7]
    return f"{opener} {expression} = {value}\n{_ending(message, str(value), number)}"


def _ending(message: Message, value: str, number: int) -> str:
    """Return the sentence or block that states a value, as the prompt asks for it.

    For a choice, this is the letter of the option that is the value or, if there is none, of any.
    """
    asked = (ANSWER_TYPES[kind] for kind in _ENDINGS)
    declared = next((d for d in asked if d.ending in message.content), ANSWER_TYPES["number"])
    if declared.has_options:
        options = _OPTION.findall(message.content)
        letters = [letter for letter, text in options if text.strip() == value]
        letters = letters or [letter for letter, _ in options] or ["A"]
        value = letters[number % len(letters)]
    return declared.reply(value)


def _program(message: Message, is_right: bool, number: int) -> str:
    expression, _ = _task(message.content)
    expression = expression.replace("\u00d7", "*").replace("\u00f7", "/")
    result = "result" if is_right else f"result + {_miss(number)}"
    return f"```python\ndef solution():\n    result = {expression}\n    return {result}\n```"


def _miss(number: int) -> int:
    return (-3, -2, -1, 1, 2, 3, 10, -10)[number & 7]


def _verdict(message: Message, is_right: bool) -> str:
    expression, value = _task(message.content)
    claims = _CLAIM.findall(message.content)
    passes = (claims[-1] == str(value)) == is_right if claims else is_right
    comparison = "agrees" if passes else "does not agree"
    verdict = "correct" if passes else "incorrect"
    return f"Checking {expression}: the result {comparison}.\nVerdict: {verdict}"


def _tests(message: Message, is_right: bool) -> str:
    expression, value = _task(message.content)
    if "`assert`" in message.content:
        return f"assert solution() == {value if is_right else value + 1}\n"
    return f"1. It works out {expression}.\n2. It states a single number.\n"


def _results(message: Message, is_right: bool, num_tests: int) -> str:
    expression, value = _task(message.content)
    claims = _CLAIM.findall(message.content)
    result = "pass" if (bool(claims) and claims[-1] == str(value)) == is_right else "fail"
    results = ", ".join(f"[{k}] {result}" for k in range(1, num_tests + 1))
    return f"Checking {expression} against each.\nTests: {results}"


def _ranking(num_candidates: int, number: int) -> str:
    order = list(range(1, num_candidates + 1))
    for i in range(num_candidates - 1, 0, -1):
        number, j = divmod(number * 0x9E3779B97F4A7C15 % 2**64, i + 1)
        order[i], order[j] = order[j], order[i]
    return "The clearest comes first.\nRanking: " + " > ".join(f"[{k}]" for k in order)


def _critique(num_candidates: int, number: int) -> str:
    remarks = (
        "Good: each step is written out. Bad: the last sum is not checked.",
        "Good: short and clear. Bad: one step is left out.",
        "Good: the order of operations is kept. Bad: no units.",
    )
    return "\n".join(
        f"[{k}] {remarks[(number + k) % len(remarks)]}" for k in range(1, num_candidates + 1)
    )


def _num_candidates(prompt: str) -> int:
    """Return the number of candidates in a prompt, marked ``[1]``, ``[2]``, …; at least 1."""
    count = 1
    while f"[{count + 1}]" in prompt:
        count += 1
    return count


# ---------------------------------------------------------------------------------- arithmetic

Value = int | Fraction


def _task(text: str) -> tuple[str, Value]:
    """Return the arithmetic expression in a prompt's question, and its value.

    This is the last expression in the prompt, because worked examples precede the question. If
    candidates follow the question, it is the first expression. If the prompt contains no
    expression, it is the sum of the last six numbers.
    """
    found = list(_EXPRESSION.finditer(text))
    if found:
        expression = _extended(found[0] if "[1]" in text or "Verdict:" in text else found[-1])
    else:
        expression = " + ".join(_NUMBERS.findall(text)[-6:]) or "0"
    return expression, _value(expression)


def _extended(match: re.Match[str]) -> str:
    """Return the matched expression, with the signs and parentheses before its first digit."""
    text, start = match.string, match.start()
    while start and text[start - 1] in "-(":
        start -= 1
    expression = text[start : match.end()]
    while expression.endswith(")") and expression.count(")") > expression.count("("):
        expression = expression[:-1]
    return expression


@lru_cache(maxsize=1024)
def _value(expression: str) -> Value:
    """Return the value of an expression, or 0 if it is undefined, as after a division by zero."""
    symbols = _SYMBOL.findall(expression.replace("\u00d7", "*").replace("\u00f7", "/"))
    try:
        return _sum(symbols[::-1])
    except (IndexError, ZeroDivisionError):
        return 0


def _sum(symbols: list[str]) -> Value:
    """Remove the next sum from the end of ``symbols``, and return its value.

    ``symbols`` is in reverse order. ``_product`` and ``_factor`` work in the same way.
    """
    value = _product(symbols)
    while symbols and symbols[-1] in "+-":
        sign = 1 if symbols.pop() == "+" else -1
        value += sign * _product(symbols)
    return value


def _product(symbols: list[str]) -> Value:
    value = _factor(symbols)
    while symbols and symbols[-1] in "*/":
        if symbols.pop() == "*":
            value *= _factor(symbols)
        else:
            quotient = Fraction(value) / _factor(symbols)
            value = quotient.numerator if quotient.denominator == 1 else quotient
    return value


def _factor(symbols: list[str]) -> Value:
    symbol = symbols.pop()
    if symbol == "-":
        return -_factor(symbols)
    if symbol == "(":
        value = _sum(symbols)
        if symbols and symbols[-1] == ")":
            symbols.pop()
        return value
    return Fraction(symbol) if "." in symbol else int(symbol)
