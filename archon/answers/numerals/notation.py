r"""Read decimal numbers in several notations with digits and separators.

A *run* is a sequence of digits and separators. If it matches exactly one of these notations, it is
read as a number; otherwise it has no value.

==========================  =====================================================
``1234567.89``, ``.5``      plain
``1,234,567.89``            groups of three with commas; ``1,234`` is 1234
``12,34,567.89``            Indian groups: three digits last, two before
``1 234 567,89``            groups of three with spaces, ``.`` or ``,`` as the point
``1'234'567.89``            the same with apostrophes
``1_234_567.89``            the same with underscores, as in programs
``1.234.567,89``            groups of three with dots; ``1.234`` is a decimal
``3,50``, ``0,5``           a decimal comma: two decimals or more than three, or after a zero
``2,5``                     one decimal: only with a unit, because ``2,5`` may be a list
==========================  =====================================================
"""

from __future__ import annotations

import re

RUN = r"""(?:[1-9][0-9]{0,2}(?:[ \u202f][0-9]{3})++(?![0-9])|\.?[0-9]++)
          (?:(?:[.,'_:]|[.,]{2})[0-9]++)*+"""
"""Pattern (for ``re.X``) that matches the longest run at a position."""

_NOTATIONS = re.compile(
    r"""
      (?P<plain>[0-9]++(?:\.[0-9]++)? | \.[0-9]++)
    | (?P<grouped>
        [1-9][0-9]{0,2}(?: (?:,[0-9]{3})++ | (?:'[0-9]{3})++ | (?:_[0-9]{3})++
                         | (?:[ \u202f][0-9]{3})++ )(?:\.[0-9]++)?
      | [1-9][0-9]?(?:,[0-9]{2}(?=,))++,[0-9]{3}(?:\.[0-9]++)?
      )
    | (?P<european>
        [1-9][0-9]{0,2}(?: (?:\.[0-9]{3})++,[0-9]++ | (?:\.[0-9]{3}){2,}+
                         | (?:['\u202f ][0-9]{3})++,[0-9]++ )
      | [0-9]++,(?:[0-9]{2}|[0-9]{4,}+) | 0,[0-9]++ | [0-9]{4,}+,[0-9]{3}
      )
    | (?P<doubtful>[0-9]++,[0-9])
    | (?P<hours>[0-9]{1,2}):00
    """,
    re.X,
)
_ZEROS = re.compile(r"00++")
_SEPARATORS = {ord(char): None for char in ",'_ \u202f"}
_EUROPEAN = {ord(char): None for char in ".' \u202f"} | {ord(","): "."}


def decimal_of(run: str, *, has_unit: bool = False) -> str | None:
    """Return a run as a decimal number of digits and a point; None if it has no value.

    The time ``3:00`` is read as 3; other times and ratios have no value.

    Parameters
    ----------
    has_unit
        Whether a unit, a currency or a percent sign is next to the run.

    >>> decimal_of("12,34,567"), decimal_of("1.234,5"), decimal_of("1,23,4")
    ('1234567', '1234.5', None)
    """
    notation = _NOTATIONS.fullmatch(run)
    if notation is None or _ZEROS.fullmatch(run):
        return None
    if notation["hours"] is not None:
        return notation["hours"]
    if notation["european"] is not None or (notation["doubtful"] is not None and has_unit):
        return run.translate(_EUROPEAN)
    return None if notation["doubtful"] is not None else run.translate(_SEPARATORS)
