"""Chains of thought with known results, from templates, numbers and spellings; and mutations.

A step is a line with one result. ``right_chain`` writes a chain whose steps are all right;
``mutated_chain`` changes one result and says where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random


@dataclass(frozen=True)
class Step:
    """A line that states ``result`` at ``{}``, with ``places`` decimals."""

    line: str
    result: Fraction
    places: int = 0
    grouped: bool = False

    def text(self, result: Fraction | None = None) -> str:
        value = self.result if result is None else result
        scaled = round(value * 10**self.places)
        digits = str(abs(scaled)).rjust(self.places + 1, "0")
        cut = len(digits) - self.places
        whole = f"{int(digits[:cut]):,}" if self.grouped else digits[:cut]
        decimals = f".{digits[cut:]}" if self.places else ""
        return self.line.replace("{}", f"{'-' if scaled < 0 else ''}{whole}{decimals}")


THINGS = ["apples", "pencils", "eggs", "stickers", "pages", "marbles", "cookies", "square feet"]
NAMES = ["Nora", "Sam", "She", "The farmer", "Together they"]

Maker = Callable[[Random], Step]


def _operands(random: Random) -> tuple[int, int, str, Fraction]:
    """Return two numbers, an operator and the exact result, which is an integer."""
    operator = random.choice("+-*/")
    a, b = random.randint(2, 400), random.randint(2, 99)
    if operator == "/":
        a = b * random.randint(2, 60)
    values = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b)}
    return a, b, operator, Fraction(values[operator])


SIGNS = {
    "plain": {"+": " + ", "-": " - ", "*": " * ", "/": " / "},
    "tight": {"+": "+", "-": "-", "*": "*", "/": "/"},
    "printed": {"+": " + ", "-": " − ", "*": " × ", "/": " ÷ "},
    "letter": {"+": " + ", "-": " – ", "*": " x ", "/": " / "},
    "dot": {"+": " + ", "-": " - ", "*": " · ", "/": " / "},
    "latex": {"+": " + ", "-": " - ", "*": r" \times ", "/": r" \div "},
    "words": {"+": " plus ", "-": " minus ", "*": " times ", "/": " divided by "},
}


def _bare(random: Random) -> Step:
    a, b, operator, result = _operands(random)
    signs = SIGNS[random.choice(["plain", "tight", "printed", "letter", "dot"])]
    frame = random.choice(
        ["{e} = {}", "{e}={}", "So {e} = {}.", "- {e} = {}", "* {e} = {}", "{e} = **{}**",
         "**{e} = {}**", "`{e} = {}`", "Step 3: {e} = {}", "2. {e} = {}", "Total: {e} = {}",
         "Therefore, the total is {e} = {}.", "x = {e} = {}", "{e}\n= {}", "We get {e} = {}, then"]
    )  # fmt: skip
    return Step(frame.replace("{e}", f"{a}{signs[operator]}{b}"), result)


def _latex(random: Random) -> Step:
    a, b, operator, result = _operands(random)
    expression = f"{a}{SIGNS['latex'][operator]}{b}"
    if operator == "/" and random.random() < 0.7:
        expression = rf"\frac{{{a}}}{{{b}}}"
    frame = random.choice(
        [r"\[ {e} = {} \]", r"\({e} = {}\)", "${e} = {}$", "$$\n{e} = {}\n$$", "So ${e}$ = ${}$.",
         r"\[ \text{Total} = {e} = {} \]", r"\[ {e} = {} \text{ apples} \]",
         r"The total is \( {e} = {} \).", r"\begin{aligned} T &= {e} \\ &= {} \end{aligned}",
         r"\[ \left( {e} \right) = \boxed{{}} \]", r"\[ {e} \text{ apples} = {} \]"]
    )  # fmt: skip
    return Step(frame.replace("{e}", expression), result)


def _spoken(random: Random) -> Step:
    a, b, operator, result = _operands(random)
    expression = f"{a}{SIGNS['words'][operator]}{b}"
    verb = random.choice(["is", "equals", "gives", "makes", "is equal to", "="])
    frame = random.choice(["{e} {v} {}.", "So {e} {v} {}.", "We know that {e} {v} {}, so far."])
    return Step(frame.replace("{e}", expression).replace("{v}", verb), result)


def _things(random: Random) -> Step:
    a, b, operator, result = _operands(random)
    thing = random.choice(THINGS)
    sign = SIGNS[random.choice(["plain", "printed", "letter"])][operator]
    if operator in "+-":
        expression = f"{a} {thing}{sign}{b} {thing}"
    elif operator == "*":
        expression = random.choice(
            [f"{a} boxes{sign}{b} {thing}/box", f"{a} boxes{sign}{b} {thing} per box",
             f"{a} {thing} a day{sign}{b} days", f"{a} (boxes){sign}{b}", f"{a}kg{sign}{b}"]
        )  # fmt: skip
    else:
        expression = random.choice([f"{a} {thing}{sign}{b}", f"{a} {thing}{sign}{b} children"])
    frame = random.choice([f"{{e}} = {{}} {thing}", f"{random.choice(NAMES)} has {{e}} = {{}}."])
    return Step(frame.replace("{e}", expression), result)


def _money(random: Random) -> Step:
    sign = random.choice(["$", "$", r"\$", "€", "£", "₹"])
    cents, hours = random.randint(100, 99999), random.randint(2, 40)
    price = f"{cents // 100}.{cents % 100:02}"
    kind = random.choice(["sum", "wage", "words", "grouped"])
    if kind == "sum":
        other = random.randint(1, 500)
        line = f"They pay {sign}{price} + {sign}{other} = {sign}{{}} in all."
        return Step(line, Fraction(cents, 100) + other, 2)
    if kind == "wage":
        wage = random.choice(["{s}{p}/hour × {h} hours", "{h} hours * {s}{p} per hour",
                              "{s}{p} an hour x {h} hours"])  # fmt: skip
        line = wage.replace("{s}", sign).replace("{p}", price).replace("{h}", str(hours))
        return Step(f"{line} = {sign}{{}}", Fraction(cents, 100) * hours, 2)
    if kind == "words":
        return Step(f"{cents} dollars * {hours} = {{}} dollars", Fraction(cents * hours))
    line = f"{sign}{cents:,} + {sign}1,250 = {sign}{{}}"
    return Step(line, Fraction(cents + 1250), grouped=True)


def _percent(random: Random) -> Step:
    share, whole = random.choice([5, 10, 15, 20, 25, 40, 75, 120]), 20 * random.randint(1, 90)
    part = Fraction(share * whole, 100)
    line, result = random.choice(
        [
            (f"{share}% of {whole} = {{}}", part),
            (f"{share}% of ${whole} is ${{}}.", part),
            (rf"\[ {share}\% \times {whole} = {{}} \]", part),
            (f"{share} percent of the {whole} pupils is {{}}.", part),
            (f"{share}/100 * {whole} = {{}} pupils", part),
            (f"${whole} + {share}% = ${{}}", whole + part),
            (f"{share} / 100 = 0.{share:02} = {{}}%" if share < 100 else "6 / 5 = {}%",
             Fraction(share)),
            (f"100% - {share}% = {{}}%", Fraction(100 - share)),
        ]
    )  # fmt: skip
    return Step(line, result)


def _parts(random: Random) -> Step:
    under = random.choice([2, 3, 4, 5])
    over, whole = random.randint(1, under - 1), 60 * random.randint(1, 20)
    part = Fraction(over * whole, under)
    line, result = random.choice(
        [
            (f"{over}/{under} of {whole} = {{}}", part),
            (f"{over}/{under} * {whole} = {{}}", part),
            (rf"$\frac{{{over}}}{{{under}}} \times {whole} = {{}}$", part),
            (f"Half of {whole} is {{}}.", Fraction(whole, 2)),
            (f"So twice {whole} is {{}}.", Fraction(2 * whole)),
            (f"A third of {whole} is {{}}.", Fraction(whole, 3)),
            (f"The sum of {whole} and {under} is {{}}.", Fraction(whole + under)),
            (f"2 1/2 * {whole} = {{}}", Fraction(5 * whole, 2)),
            (f"{whole}(.5) = {{}}", Fraction(whole, 2)),
        ]
    )
    return Step(line, result)


def _longer(random: Random) -> Step:
    a, b, c, d = (random.randint(2, 60) for _ in range(4))
    line, result = random.choice(
        [
            (f"{a} * ({b} + {c}) = {{}}", a * (b + c)),
            (f"{a} * ({b} + {c}) = {a} * {b + c} = {{}}", a * (b + c)),
            (f"{a} + {b} * {c} - {d} = {{}}", a + b * c - d),
            (f"({a} + {b}) * ({c} - {d}) = {{}}", (a + b) * (c - d)),
            (f"{a}({b} + {c}) = {{}}", a * (b + c)),
            (f"{a} - (-{b}) = {a} + {b} = {{}}", a + b),
            (f"-{a} + {b} = {{}}", b - a),
            (f"-{a} * -{b} = {{}}", a * b),
            (f"{a}^2 + {b}**2 = {{}}", a * a + b * b),
            (rf"\[ {a}^{{2}} - {b} = {{}} \]", a * a - b),
            (f"{a} + {b} + {c} + {d} = {{}}", a + b + c + d),
            (f"{a} boxes * {b} = {a * b} and {a * b} + {c} = {{}}", a * b + c),
        ]
    )
    return Step(line, Fraction(result))


def _rounded(random: Random) -> Step:
    a, b, places = (
        random.randint(10, 900),
        random.choice([3, 6, 7, 9, 11, 13]),
        random.randint(1, 3),
    )
    relation = random.choice(["=", "≈", r"\approx"])
    return Step(f"{a} / {b} {relation} {{}}", Fraction(a, b), places)


def _annotated(random: Random) -> Step:
    a, b, operator, result = _operands(random)
    line = f"{random.choice(NAMES)} has {a}{SIGNS['plain'][operator]}{b}"
    return Step(f"{line} = <<{a}{operator}{b}={{}}>>{{}} left.", result)


MAKERS: Sequence[Maker] = (
    _bare, _latex, _spoken, _things, _money, _percent, _parts, _longer, _rounded, _annotated,
)  # fmt: skip
IDLE = [
    "Let's think step by step.",
    "First we count what there is in 3 of the rooms:",
    "She had 12 friends in 2019, and x = 5.",
    "Now 2x + 3 = 17 would follow, but pages 3-5 are missing.",
    "They meet at 3:30, 2 at a time, in the ratio 2:3.",
    "",
]


def chain(random: Random) -> list[Step | str]:
    """Return two to six steps with other lines between them."""
    lines: list[Step | str] = []
    for _ in range(random.randint(2, 6)):
        if random.random() < 0.3:
            lines.append(random.choice(IDLE))
        lines.append(random.choice(MAKERS)(random))
    return lines


def written(lines: Sequence[Step | str]) -> str:
    return "\n".join(line if isinstance(line, str) else line.text() for line in lines)


def mutated(random: Random, lines: list[Step | str]) -> tuple[str, int, int]:
    """Return the chain with one changed result, and the start and end of its step."""
    chosen = random.choice([i for i, line in enumerate(lines) if isinstance(line, Step)])
    step = lines[chosen]
    assert isinstance(step, Step)
    before = "".join(
        f"{line if isinstance(line, str) else line.text()}\n" for line in lines[:chosen]
    )
    wrong = step.text(_other(random, step))
    text = before + wrong + "\n" + written(lines[chosen + 1 :])
    return text, len(before), len(before) + len(wrong)


def _other(random: Random, step: Step) -> Fraction:
    """Return a wrong result as models write it: a slip of digits, a lost sign or a lost zero."""
    unit = Fraction(1, 10**step.places)
    result = Fraction(round(step.result / unit)) * unit
    slips = [result + 10 * unit, result - 10 * unit, result + 2 * unit, result * 10, result + 100]
    if not step.places:
        slips += [result + 1, result - 1]
    if result.denominator == 1 and result % 10 == 0 and result:
        slips.append(result / 10)
    if result < 0:
        slips.append(-result)
    return random.choice([slip for slip in slips if slip != result])
