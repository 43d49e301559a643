r"""The arithmetic of a text, checked without a model.

**What is a statement.** Two sides joined by ``=``, ``≈`` or a verb ("3 plus 4 is 7"), one of them
an expression; in a chain ``a = b = c`` each link is one. Definitions (``x = 5``), equations of
variables (``2x = 10``), assignments without result, ``==``, inequalities, ratios, times and dates
are none. Numbers may have thousands separators, currencies, percent signs and units; LaTeX,
Markdown and ``<<48/2=24>>`` annotations are read through.

**What is right.** All arithmetic is exact. A statement is right if both sides are equal in one of
these readings: units ignored; units converted (``$1 / 2 = 50 cents``); an added or subtracted
percentage taken of what it changes (``50 + 10% = 55``); the percent sign of a result as written
(``20 / 50 * 100 = 40%``). A percentage that multiplies is always a hundredth.

**What is rounded.** A literal with d decimals is right if the exact value rounds to it, halves up
or to even; where the value has no finite decimal expansion it may be cut off behind the point
(2 / 3 = 0.66); beside a remainder ("16 with 2 left") a quotient is rounded down. After ``≈`` or
"about" the value may round to the digits that are not zero, or be within one unit of the last of
them and 10 %. A rounded result that is used later stands for its exact value too.

**What is wrong** is everything else that is read with certainty. An ambiguous statement is reported
if it is right and omitted otherwise: a false alarm costs more than a missed error. Division by zero
is wrong. A result from which the text calculates on (``3 + 4 = 7 + 2 = 9``) counts by its first
number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.answers.equations.checker import EquationCheck, Statement, check_equations

__all__ = ["EquationCheck", "Statement", "check_equations"]


__getattr__ = lazy_exports(globals(), dict.fromkeys(__all__, "archon.answers.equations.checker"))
