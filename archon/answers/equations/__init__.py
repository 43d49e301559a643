r"""Check the arithmetic in a text, without a model.

**Statements.** A statement has two sides joined by ``=``, ``≈`` or a verb ("3 plus 4 is 7"), and at
least one side is an expression. In a chain ``a = b = c``, each link is a statement. The following
are not statements: definitions (``x = 5``), equations with variables (``2x = 10``), assignments
without a result, ``==``, inequalities, ratios, times and dates. Numbers may have thousands
separators, currencies, percent signs and units. LaTeX, Markdown and annotations like
``<<48/2=24>>`` are read.

**Right.** All arithmetic is exact. A statement is right if both sides are equal under one of these
interpretations: units are ignored; units are converted (``$1 / 2 = 50 cents``); an added or
subtracted percentage refers to the other operand (``50 + 10% = 55``); the percent sign of the
result is only a label (``20 / 50 * 100 = 40%``). A factor such as ``20%`` always means 0.2.

**Rounded.** A result with d decimals is accepted if the exact value rounds to it, with ties rounded
up or to even. A value without a finite decimal expansion may be truncated after the decimal point
(2 / 3 = 0.66). If the text names a remainder ("16 with 2 left"), the quotient is rounded down.
After ``≈`` or "about", the value may round to the nonzero digits of the result, or differ from it
by less than one unit of the last of these digits and by at most 10%. If a rounded result is used
later, its exact value may be used instead.

**Wrong.** Any other statement is wrong if it can be parsed with certainty. An ambiguous statement
is reported only if it is right, because a false alarm does more harm than a missed error. Division
by zero is wrong. If a text continues to calculate from a result (``3 + 4 = 7 + 2 = 9``), the first
number after the equals sign is the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.answers.equations.checker import EquationCheck, Statement, check_equations

__all__ = ["EquationCheck", "Statement", "check_equations"]


__getattr__ = lazy_exports(globals(), dict.fromkeys(__all__, "archon.answers.equations.checker"))
