"""Patterns for the text around a number literal: signs, scales, units and expressions.

Patterns with ``BEFORE`` in their name match the text before the literal, and patterns with
``AFTER`` match the text after it. Every pattern matches at most a limited number of characters or
one additional literal.
"""

from __future__ import annotations

import re

from archon.answers.characters import OPAQUE
from archon.answers.numerals.notation import RUN
from archon.answers.numerals.number_words import NUMBER_WORD

WINDOW = 48
"""Maximum number of characters before a literal that the patterns can match."""
CURRENCY = "$€£¥₹₩₽₺₴₪₫₦฿¢"


def _words(text: str) -> str:
    return "|".join(text.split())


_MONTHS = _words(
    "January February March April May June July August September October November December "
    "Jan Feb Mar Apr Jun Jul Aug Sept Sep Oct Nov Dec"
)
_FUNCTIONS = _words("sqrt cbrt log ln sin cos tan exp abs floor ceil round max min gcd lcm mod")
_OPERATOR = r"[-+*/×÷]"
_UNSUPPORTED_SCALES = _words(
    "mila tusen duizend milyon miljoen miljoner miljon milionów miliony milion juta ribu triệu"
    " nghìn tysięcy tysiące tysiąc milyar miljard miljarder miliardów tỷ miliard"
)
"""Words for powers of ten that are not read; a number before such a word has no value."""
_NUMBER = rf"-?[{CURRENCY}]?[ ]?(?:{RUN})(?:[ ]?/[ ]?[0-9]++)?"

# ------------------------------------------------------------------------------------------- sign

_BEFORE_VALUE = _words(
    "is was be equals has have had gives makes becomes about approximately roughly of to at"
    " ist est es è é"
)
NEGATIVE_PAREN = re.compile(rf"-[ ]?[({{\[][ ]?[{CURRENCY}]?\Z")
"""A minus sign before an opening parenthesis, as in ``-(5)``."""
MINUS = re.compile(rf"-(?:[{CURRENCY}][ ]?)?\Z")
SPACED_MINUS = re.compile(
    rf"""(?:[=≈:{{(\[#$*|⇒>]|\b(?:{_BEFORE_VALUE}))
         [ ]{{0,2}}-[ ](?:[{CURRENCY}][ ]?)?\Z""",
    re.X | re.I,
)
"""A minus sign and a space before a number, if it cannot be a subtraction, as in ``= - 5``."""
LINE_DASH = re.compile(rf"(?:\A|\n)[ \t]*-[ ](?:[{CURRENCY}][ ]?)?\Z")
"""A dash at the beginning of a line, which may be a minus sign or a bullet."""
NEGATIVE_WORD = re.compile(
    rf"\bnegative[ ]\Z|(?:[=≈:({{\[#*$\"']|\b(?:{_BEFORE_VALUE})|\A)[ ]?minus[ ][{CURRENCY}]?\Z",
    re.I,
)
MINUS_WORD = re.compile(rf"\bminus[ ][{CURRENCY}]?\Z", re.I)
"""The word "minus", which may be a sign or a subtraction."""

# ---------------------------------------------------------------------------------------- names

NAME_BEFORE = re.compile(r"(?<!nswer)(?<=[A-Za-z]{2})-\Z")
"""Text before a number that is part of a name, as in ``COVID-19`` and ``top-5``."""
MONTH_BEFORE = re.compile(rf"\b(?:{_MONTHS})\.?[ ]\Z")
YEAR_AFTER = re.compile(r"(?:st|nd|rd|th)?,?[ ][0-9]{4}(?![0-9])")
DATE_BEFORE = re.compile(
    rf"\b(?:{_MONTHS})\.?[ ][0-9]{{1,2}}(?:st|nd|rd|th)?,?[ ]\Z"
    rf"|[0-9](?:st|nd|rd|th)?[ ](?:of[ ])?(?:{_MONTHS}),?[ ]\Z"
)
MONTH_AFTER = re.compile(rf"(?:st|nd|rd|th)?[ ](?:of[ ])?(?:{_MONTHS}),?[ ][0-9]{{4}}(?![0-9])")
COUNTED_BEFORE = re.compile(
    r"\b(?:day|week|month|year|step|room|chapter|page|line|question|problem|item|level|grade|group"
    rf"|case|part|age|aged|{_MONTHS})s?\.?[ ]#?\Z",
    re.I,
)
"""A word after which ``12 500`` is probably two numbers, such as "step"."""

# ---------------------------------------------------------------- parts of an expression

PART_BEFORE = re.compile(
    rf"""(?:
        [{OPAQUE}][ ]?-?                                   # \sin 3
      | [±≠≤≥][ ]?[-{CURRENCY}]? | (?<!<)<=?[ ]?[-{CURRENCY}]?
      | (?:[\w)\]}}][ ]|[:{{\#$][ ]?)>=?[ ]?[-{CURRENCY}]? | (?<![<\w/])[a-z]>=?-?
      | \b(?:more|less|greater|fewer)[ ]than[ ][{CURRENCY}]?
      | (?<![A-Za-z'])[b-z][ ]?{_OPERATOR}[ ]? | (?<![A-Za-z'])a(?:{_OPERATOR}|[ ]?\+[ ])  # x + 1
      | [0-9)%\]}}][ ]?[+*×÷x][ ]?[(]?[{CURRENCY}]?
      | [A-Za-z]{{2}}(?<![ ]is)(?<!was)(?<![ ]be)[ ][+×÷][ ][(]?[{CURRENCY}]?
      | \b(?:plus|times|multiplied[ ]by|divided[ ]by|twice|double)[ ][{CURRENCY}]?
      | \b(?:half|thirds?|quarters?|fourths?)[ ]of[ ][{CURRENCY}]?
      | [0-9][ ](?:remainder|rem\.?|[Rr]|choose|[CP]|modulo|:)[ ] | [0-9]\.\( | °[ ]?
      | \^[{{(]?-?[0-9A-Za-z]{{1,6}}[)}}]?[ ]?{_OPERATOR}[ ]?               # x^2 + 1
      | (?<![A-Za-z])(?:{_FUNCTIONS}|[fghP])\(-?             # sqrt(16)
      | (?<![A-Za-z])(?:log|ln|sin|cos|tan|sqrt|mod)[ ]
      | [A-Za-z0-9)\]}}]/                                  # x/2
      | [0-9]\)\( | [0-9]又 | 分之 | 분(?:의|之)[ ]?
      | \|- | (?<!-)--
    )\Z""",
    re.X,
)
PART_AFTER = re.compile(
    rf"""
        [ ,']?[{OPAQUE}±] | \u202f[0-9] | [ ]?\^ | _{{1,2}}(?=[0-9]) | _(?=[A-Za-z{{(])
      | \*\*[0-9] | [ ]\*\*[ ][0-9]
      | [\u0300-\u036f\u2080-\u2089πθαβγλφω]
      | \((?![ ]?(?:[A-Za-z]{{2}}|[=≈~])|s\))               # 3(x + 1)
      | \.(?:\([0-9]|[{OPAQUE}])                             # 0.(3)
      | /[ ]?\( | /[ ]?(?!(?:h|s|m|L|l|g|hr|km|kg|lb|oz|ft|mi|yr|wk)\b)[A-Za-z]{{1,2}}\b
      | [ ]?/[ ]?[0-9] | \*[A-Za-z(]
      | [ ]?[≤≥≠] | [ ]?<=?[ ]?[A-Za-z0-9][ ]?(?:[<\s}}$.)]|\Z)
      | `[0-9] | !(?=[}}$]) | \)\((?:-?[0-9] | [a-z](?![A-Za-z]))
      | [ ](?:pi|sqrt|cbrt|root|[xyz]{{1,3}}|ab)(?![\w']) | [ ]e[ ]?\^
      | [ ]\(-?[0-9]{{0,5}}[a-z](?![A-Za-z])[ ]?[-+*/^]
      | [ ]over[ ][A-Za-z](?![A-Za-z])
      | [千百十천백조又] | [ ]?(?:分之|분[의之])
      | [ ]?(?i:{_UNSUPPORTED_SCALES})(?!\w)
      | [ ]?[-+*×÷][ ]?(?:[b-z](?![\w'])(?!\.[A-Za-z]) | [0-9.]{{0,40}}[a-z](?![A-Za-z])[ ]?[-+^)]
                         | {OPAQUE} | \([a-z](?![a-z]))
      | [ ]?!(?=[ ]?[-+*/×÷=)])
      | [ ](?:squared|cubed|factorial|choose|mod|modulo|raised|to[ ]the[ ]power)\b | [ ]\(mod\b
      | ,?[ ](?:with[ ])?(?:an?[ ])?(?:remainder|rem)\b | [ ][RrCP][ ]?[0-9]
      | [ ]?x[ ]?[0-9]
      | [ -](?:halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twentieth|hundredth
               |thousandth|millionth)s)\b
      | °[ ]?[0-9] | '[ ][0-9] | [ ]:[ ]?[0-9]
      | °?(?:[ ]?degrees?)?(?:[ ]?[CF]\b)?[ ]below[ ]zero\b
      | [ ](?:mil|mille|Billion(?:en)|billones)\b
      | (?:[ ][A-Za-z]{{1,20}})?[ ]and[ ](?:an?|one|two|three)[ -](?:half|quarter|third|fourth
            |fifth|sixth|eighth|tenth)s?\b
    """,
    re.X,
)
ONE_PART_AFTER = re.compile(r"[ -](?:half|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)\b")
"""Applied only after the number 1: ``1 third`` is a fraction, but ``24 third graders`` are 24."""
CUT_OFF_AFTER = re.compile(r"\.{3}|…")
"""Dots after a decimal number that indicate omitted digits, as in ``0.333...``."""
AND_A_PART = re.compile(r"[ ]and[ ](?:(?:a|one)[ -](half|quarter)|three[ -](quarters))\b")
PARTS = {"half": "0.5", "quarter": "0.25", "quarters": "0.75"}

_TIME = _words("days? hours? hrs? minutes? mins? seconds? secs? weeks? months? years? h m s")
_LENGTH = _words("feet foot ft inches inch in yards? yd miles? mi met(?:er|re)s? m cm km mm")
_WEIGHT = _words("pounds? lbs? ounces? oz kilograms? kg grams? g tons?")
_VOLUME = _words("gallons? quarts? pints? cups? lit(?:er|re)s? ml L")
_MONEY = _words("dollars? cents? euros? rupees? paise pence")
COMPOUND = re.compile(
    "|".join(
        rf"[ -]?(?:{units})\b\.?(?:,?[ ](?:and[ ])?(?:{RUN})(?:/[0-9]++)?[ -]?(?:{units})\b){{1,4}}"
        for units in (_TIME, _LENGTH, _WEIGHT, _VOLUME, _MONEY)
    )
    + rf"|[ ]and[ ](?:{RUN})[ ]cents\b",
    re.X,
)
"""The second part of a quantity that consists of two numbers, as in ``2 hours 30 minutes``."""
TUPLE_BEFORE = re.compile(r"[(\[{][ ]?-?\Z")
TUPLE_AFTER = re.compile(
    rf"(?:[ ]?[,;][ ]?-?(?:[0-9][0-9./]{{0,40}}|[a-z]|{OPAQUE})){{1,10}}[ ]?[)\]}}]"
)
OF_OR_TO = re.compile(
    rf"""%?[ ](?:to|over|root|through|thru|up[ ]to|vs\.?|versus|by|(?:out[ ])?of)[ ]{_NUMBER}
           (?![ -](?:decimal|d\.?p|significant|sig\b|s\.?f))
       | (?:%|[ ](?:feet|foot|ft|inches|in|m|cm|mm|meters|metres))?[ ]by[ ]{_NUMBER}
       | (?:(?:[ ]?[~〜]|[ ]?、|(?:—|\.{{3}}|…|\|)(?![ ])){_NUMBER}){{1,10}}""",
    re.X,
)
"""The part after the first number in ``3 to 5``, ``3 out of 5``, ``20% of 50``, ``3 by 5`` or
``3~5``."""
VARIABLE_BEFORE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][ ]?=[ ]?-?\Z")
AND_VARIABLE = re.compile(
    rf"(?:,|[ ](?:and|or))[ ](?:and[ ]|or[ ])?[A-Za-z][ ]?=[ ]?{_NUMBER}", re.X
)
"""The part after the first number in two equations, as in ``x = 2 and y = 3``."""
LIST_BEFORE = re.compile(
    rf"""(?P<first>[0-9](?:[0-9.,/]*[0-9])?)%?\$?
         (?P<separator>[,;][ ] | [ \u202f](?=[{CURRENCY}]?\Z)
           | (?:[ ][A-Za-z]{{2,20}}){{0,2}}[ ](?:and|or|&)[ ])
         [{CURRENCY}]?-?\Z""",
    re.X,
)
"""Another number directly before this one, as in ``2, 3`` and ``2 apples and 3 pears``."""
EQUALS_AFTER = re.compile(r"[ ]?=")
YEAR = re.compile(r"(?:19|20)[0-9]{2}")
BETWEEN = re.compile(rf"\bbetween[ ][{CURRENCY}]?\Z", re.I)
AND_NUMBER = re.compile(rf"%?[ ]and[ ]{_NUMBER}", re.X)
OR_NUMBER = re.compile(
    rf"(?:%|[ ][A-Za-z]{{1,20}})?,?[ ]or[ ][{CURRENCY}]?(?P<over>-?(?:{RUN}))"
    rf"(?:/(?P<under>[0-9]{{1,20}}))?(?P<percent>[ ]?%)?+(?![ ]?=)",
    re.X,
)
RANGE = re.compile(
    rf"-[{CURRENCY}]?(?P<other>{RUN})(?:(?P<unit>%|[ ][A-Za-z]{{2}})|[*_$)\"'. ]*(?:\n|\Z))", re.X
)
"""The part after the first number in a range without spaces, as in ``3-5 days`` or ``3-5``."""
SPACED_RANGE = re.compile(
    rf"[ ]-[ ][{CURRENCY}]?(?P<other>{RUN})(?P<unit>%|[ ][A-Za-z]{{2}})", re.X
)
"""The part after the first number in a range with spaces, as in ``3 - 5 days``."""
LINE_BEFORE = re.compile(rf"(?:\A|[\n:=])[\s*_(\"'{CURRENCY}]{{0,8}}\Z")

# --------------------------------------------------------------------------- scales and units

_MILLION = """million millions mn mln Mio Millionen millón millones milioni milhão milhões миллион
    миллиона миллионов млн"""
_BILLION = """billion billions bn Mrd Milliarde Milliarden milliard milliards bilhões miliardi
    миллиардов млрд"""
SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), 2),
    **dict.fromkeys(("thousand", "thousands", "tausend", "тысяч", "тысячи", "тыс", "k"), 3),
    **dict.fromkeys(("万", "萬", "만"), 4),
    **dict.fromkeys(("lakh", "lakhs", "lac", "lacs", "लाख"), 5),
    **dict.fromkeys(_MILLION.split(), 6),
    **dict.fromkeys(("crore", "crores", "करोड़"), 7),
    **dict.fromkeys(("亿", "億", "억"), 8),
    **dict.fromkeys(_BILLION.split(), 9),
    **dict.fromkeys(("trillion", "trillions", "tn"), 12),
}
"""Word that multiplies the number before it → its power of ten."""
MONEY_SCALES = {"K": 3, "M": 6, "m": 6, "B": 9, "b": 9, "T": 12}
"""Letter that multiplies the number before it if the number is an amount of money → power of
ten."""
SCALE = re.compile(
    rf"[ \u202f-]?(?:(?P<word>{'|'.join(sorted(SCALES, key=len, reverse=True))})"
    rf"(?:(?<=[万萬만亿億억])|(?![\w^]))"
    rf"|(?P<money>[{''.join(MONEY_SCALES)}])(?![\w^]))",
    re.I,
)
MORE_AFTER_SCALE = re.compile(
    rf"(?:,?[ ](?:and[ ])?)?(?:{RUN})|,?[ ](?:and[ ])?(?:{NUMBER_WORD})\b", re.X | re.I
)
"""Further digits or words of the same number after a scale, as in ``5 million 200 thousand``."""
MONEY_BEFORE = re.compile(rf"[{CURRENCY}][ ]?-?\Z")
EURO_BEFORE = re.compile(r"(?:€|\bEUR)[ ]?-?\Z")
EURO_AFTER = re.compile(r"[ ]?(?:€|EUR\b|[Ee]uros?\b)")

_UNIT_NAMES = """m g s h l L W V N J C F kg km cm mm nm mg ml mL dl cl lb lbs oz ft in yd mi hr hrs
    min mins sec secs ms mph kph am pm AM PM kmh kWh kW MW Hz kHz MHz GHz GB MB KB TB kB px pt pts
    cc gal qt tsp tbsp cal kcal rpm ppm bps pcs yr yrs wk wks mo mos deg rad mol atm psi Pa kPa kJ
    kN mA kV eV USD EUR GBP INR CHF JPY CAD AUD ct cts"""
_UNITS = frozenset(_UNIT_NAMES.split())
"""Abbreviations of units that may follow a number without a space."""
_NO_UNITS = {*_FUNCTIONS.split("|"), "pi", "abc"}
_UNIT_AFTER = re.compile(
    rf"[ ]?(?:[%‰°{CURRENCY[1:]}]"
    rf"|(?:{'|'.join(sorted(_UNITS - {'in', 'am'}))}|Euros?|euros?|Uhr)\b)"
)
_VOWEL = re.compile(r"[aeiou]", re.I)


def is_money(before: str, text: str, end: int) -> bool:
    """Return whether a currency precedes a number. (The dollar signs in ``$5$`` are LaTeX.)"""
    money = MONEY_BEFORE.search(before[-4:])
    return money is not None and not ("$" in money.group() and text.startswith("$", end))


def has_unit(before: str, text: str, end: int) -> bool:
    """Return whether a currency precedes a number, or a percent sign or known unit follows it."""
    return is_money(before, text, end) or _UNIT_AFTER.match(text, end) is not None


def may_be_unit(word: str) -> bool:
    """Return whether letters directly after a number may be its unit, as in ``5kg`` (not ``5x``).

    >>> may_be_unit("kg"), may_be_unit("apples"), may_be_unit("x"), may_be_unit("sqrt")
    (True, True, False, False)
    """
    is_word = len(word) > 2 and word.lower() not in _NO_UNITS and _VOWEL.search(word) is not None
    return word in _UNITS or is_word
