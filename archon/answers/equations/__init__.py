r"""Checking of the arithmetic in a text, without a model.

**Statements.** A statement has two sides joined by ``=``, ``≈`` or a verb ("3 plus 4 is 7"), and
at least one side is an expression. In a chain ``a = b = c`` each link is a statement. These are
not statements: definitions (``x = 5``), equations with variables (``2x = 10``), assignments without
a result, ``==``, inequalities, ratios, times and dates. Numbers may have thousands separators,
currencies, percent signs and units. LaTeX, Markdown and ``<<48/2=24>>`` annotations are read, too.

**Right.** All arithmetic is exact. A statement is right if both sides are equal in one of these
readings: units ignored; units converted (``$1 / 2 = 50 cents``); an added or subtracted percentage
applied to the other operand (``50 + 10% = 55``); the number of a result before its percent sign
(``20 / 50 * 100 = 40%``). A percentage that multiplies is always a hundredth.

**Rounded.** A literal with d decimals is right if the exact value rounds to it, with halves up or
to even. A value without a finite decimal expansion may be truncated after the decimal point
(2 / 3 = 0.66). With a remainder ("16 with 2 left"), a quotient is rounded down. After ``≈`` or
"about", the value may round to the nonzero digits, or differ by less than one unit of the last of
them and at most 10 %. A rounded result that is used later may stand for its exact value.

**Wrong** is everything else that is read with certainty. An ambiguous statement is reported if it
is right and omitted otherwise, because a false alarm costs more than a missed error. Division by
zero is wrong. If a text continues to calculate from a result (``3 + 4 = 7 + 2 = 9``), the first
number is the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.answers.equations.checker import EquationCheck, Statement, check_equations

__all__ = ["EquationCheck", "Statement", "check_equations"]


__getattr__ = lazy_exports(globals(), dict.fromkeys(__all__, "archon.answers.equations.checker"))
