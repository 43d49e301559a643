"""Find the end of the model's turn, after which base models often write another question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_ENDS = 20
# Every alternative begins with a character of one small set, so that the search is fast.
_MARK = re.compile(
    r"""[\n<\[](?:
        (?P<control>(?<=<)(?:\|(?:im_start|im_end|start_header_id|eot_id|endoftext|end_of_text|end
                          |user|endofturn)\|>|(?:start|end)_of_turn>|/?s>|[|\uff5c]User[|\uff5c]>)
          | (?<=\[)/?INST\])
      | (?<=\n)(?!\n)[ \t>]{0,4}(?:\#{1,6}[ ]?)?\*{0,2}(?:
          (?P<role>(?:Human|User)[ ]?[0-9]{0,3}\*{0,2}[ ]?:
           | (?:(?<=\#)|(?<=\#[ ]))(?:Human|User|Instruction|Input)\b)
        | (?P<final>\#{4}[ ][-$]{0,2}[0-9][0-9,.]{0,30}[ \t]*+\n[ \t]*+\n\s{0,20}
           (?![#0-9]|(?:Wait|However|Actually|But|No|Hold|Correct|Let|Oops|Sorry|Hmm|Alternatively
                |On[ ]second)\b)
           (?=[A-Z][a-z][^\n]{0,400}\n+[#]{4}[ ][-$]{0,2}[0-9]))
        | (?:(?:Next|New|Another|Follow-?up|Bonus|Similar|Practice|Sample|Word)[ ])?
          (?:Frage|Pregunta|Pergunta|Domanda|Vraag|Aufgabe|Вопрос|问题|問題|質問|题目|질문|문제|Question|Problem|Exercise|Query|Puzzle|Instruction|Input|Task|Example|Q)
          [ ]?(?P<number>(?:No\.?|\#)?[ ]?[0-9]{1,4}|[A-Z])?\*{0,2}[ ]?(?:[:.)]|\*{2}|(?=\n))
        )
    )""",
    re.X | re.I,
)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """A position at which the model's turn may end."""

    position: int
    is_certain: bool
    """True for a marker that can only begin or end a turn, and for a heading such as ``Question:``
    after a blank line. A heading with a number is uncertain, because it may be part of an answer.
    """


def ends(text: str) -> Iterator[TurnEnd]:
    """Yield the positions at which the model's turn may end, earliest first.

    If the text begins with such a marker, none are yielded, because the model first repeats
    questions and only the last answer is the model's own.
    """
    for count, mark in enumerate(_MARK.finditer(f"\n{text}")):
        position = mark.end() - 1 if mark["final"] else mark.start() - 1
        if count == _MAX_ENDS or not text[: max(0, position)].strip():
            return
        is_marker = mark["control"] is not None or mark["role"] is not None
        is_certain = is_marker or (mark["number"] is None and text[:position].endswith("\n"))
        yield TurnEnd(position, is_certain)


def own_turn(text: str) -> str:
    """Return the text up to the first position where the model's turn may end.

    >>> own_turn("Paris\\n\\nQuestion: And of Italy?\\nAnswer: Rome")
    'Paris\\n'
    """
    end = next(ends(text), None)
    return text if end is None else text[: end.position]
