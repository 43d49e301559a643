"""Instructions whose observance a program can verify (IFEval, Zhou et al. 2023, arXiv 2311.07911).

``INSTRUCTIONS`` has one check for each instruction id of the data set. The checks follow the
published behaviour. Two of them depend on a tokenizer there; here they follow simple rules that
``sentences`` and ``words_in_capitals`` state. Every check takes time in proportion to the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon.errors import MissingExtraError, ScoringError, require
from archon.spec.messages import shown, suggestion


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one instruction, as a row of the data set gives them."""

    instruction: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Return an argument that is a text, without white space at its ends."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self._error(name, "a text")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        """Return an argument that is a list of texts."""
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self._error(name, "a list of texts")
        return value

    def number(self, name: str) -> int:
        """Return an argument that is a whole number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._error(name, "a whole number")
        return int(value)

    def allows(self, count: int, number: str, relation: str = "relation") -> bool:
        """Return whether a count is "at least" or "less than" the number, as the relation says."""
        wanted, related = self.number(number), self.text(relation)
        if related == "at least":
            return count >= wanted
        if related == "less than":
            return count < wanted
        raise self._error(relation, '"at least" or "less than"')

    def _error(self, name: str, wanted: str) -> ScoringError:
        given = shown(self.values.get(name))
        return ScoringError(f"{self.instruction}: the kwarg {name!r} must be {wanted}, not {given}")


Check = Callable[[str, Arguments], bool]
"""A text and the instruction's arguments → whether the text follows the instruction."""


def follows(text: str, instruction: str, values: Mapping[str, Any]) -> bool:
    """Return whether a text follows an instruction; an empty text follows none.

    Raises
    ------
    ScoringError
        The instruction is unknown, an argument is missing or invalid, or the instruction is about
        the language and the package ``langdetect`` is not installed.
    """
    check = INSTRUCTIONS.get(instruction)
    if check is None:
        hint = suggestion(instruction, INSTRUCTIONS)
        raise ScoringError(f"unknown instruction {shown(instruction)}{hint}")
    return bool(text.strip()) and check(text, Arguments(instruction, values))


def loose_variants(text: str) -> list[str]:
    """Return the texts of which one must follow an instruction in the loose evaluation.

    They are the text without its first line, its last line or both, to ignore an introduction and
    a conclusion; and each of these without asterisks, to ignore the markup of fonts.
    """
    lines = text.split("\n")
    parts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = [text, *("\n".join(part).strip() for part in parts[1:])]
    return list(dict.fromkeys([*texts, *(variant.replace("*", "") for variant in texts)]))


# ----------------------------------------------------------------------------- words and sentences

_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]*_]*+(?=\s|\Z)")
_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|sr|jr|st|mt|rev|gen|col|sgt|capt|lt|vs|fig|vol|e\.g|i\.e|approx|u\.s|u\.k"
)


def sentences(text: str) -> list[str]:
    """Split a text into sentences.

    A sentence ends with ``.``, ``!`` or ``?`` and closing quotes or brackets, in front of white
    space. A single period does not end one after an abbreviation or an initial, or if a small
    letter follows.

    >>> sentences("Dr. A. Smith left at 5 p.m. today. Why? He was tired")
    ['Dr. A. Smith left at 5 p.m. today.', 'Why?', 'He was tired']
    """
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        if end.group() == ".":
            last = text[max(start, end.start() - 20) : end.start()].split()[-1:]
            word = last[0].lstrip("(\"'“‘*_[") if last else ""
            is_short = bool(_ABBREVIATIONS.fullmatch(word.lower())) or (
                len(word) == 1 and word.isupper()
            )
            if is_short or text[end.end() : end.end() + 10].lstrip()[:1].islower():
                continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    return [sentence for sentence in (*found, text[start:].strip()) if re.search(r"\w", sentence)]


_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|m|d|ll|re|ve))\b", re.IGNORECASE)
_TOKEN = re.compile(r"\w+(?:[-.'&/]\w+)*")


def words_in_capitals(text: str) -> list[str]:
    """Return the words without small letters.

    Words that are joined by a hyphen, a period, an apostrophe, ``&`` or ``/`` are one word, but a
    contraction such as ``'LL`` is a separate word.

    >>> words_in_capitals("The A-TEAM and I'M from NASA, B2B.")
    ['A-TEAM', 'I', 'M', 'NASA', 'B2B']
    """
    tokens = _TOKEN.findall(_CONTRACTION.sub(r" \1", text))
    return [token for token in tokens if token.isupper()]


_MAX_DETECTED = 10_000
"""Maximum characters from which the language is detected."""


def _is_in(text: str, language: str, instruction: str) -> bool:
    """Return whether a text is in a language; True if none can be detected, as published."""
    try:
        langdetect = require("langdetect", "evals")
    except MissingExtraError as error:
        raise ScoringError(f"{instruction}: {error}") from None
    langdetect.DetectorFactory.seed = 0  # the detector samples parts of the text
    try:
        return bool(langdetect.detect(text[:_MAX_DETECTED]) == language)
    except langdetect.LangDetectException:
        return True


# ------------------------------------------------------------------------------------------ checks


def _keywords(text: str, given: Arguments) -> bool:
    small = text.lower()
    return all(word.lower() in small for word in given.texts("keywords"))


def _keyword_frequency(text: str, given: Arguments) -> bool:
    return given.allows(text.lower().count(given.text("keyword").lower()), "frequency")


def _no_forbidden_words(text: str, given: Arguments) -> bool:
    words = given.texts("forbidden_words")
    return not any(re.search(rf"\b{re.escape(w)}\b", text, re.IGNORECASE) for w in words)


def _letter_frequency(text: str, given: Arguments) -> bool:
    count = text.lower().count(given.text("letter").lower())
    return given.allows(count, "let_frequency", "let_relation")


def _language(text: str, given: Arguments) -> bool:
    return _is_in(text, given.text("language"), given.instruction)


def _number_of_sentences(text: str, given: Arguments) -> bool:
    return given.allows(len(sentences(text)), "num_sentences")


def _number_of_words(text: str, given: Arguments) -> bool:
    return given.allows(len(re.findall(r"\w+", text)), "num_words")


def _number_of_paragraphs(text: str, given: Arguments) -> bool:
    """Paragraphs are separated by ``***``; only the first and the last may be empty."""
    return _parts(text.split("***")) == given.number("num_paragraphs")


def _parts(parts: Sequence[str]) -> int | None:
    """Return the number of parts that are not empty; None if one between others is empty."""
    filled = [bool(part.strip()) for part in parts]
    return sum(filled) if all(filled[1:-1]) else None


def _first_word_of_paragraph(text: str, given: Arguments) -> bool:
    """Paragraphs are separated by blank lines."""
    paragraphs = text.split("\n\n")
    count, number = sum(bool(p.strip()) for p in paragraphs), given.number("nth_paragraph")
    if count != given.number("num_paragraphs") or not 1 <= number <= count:
        return False
    words = paragraphs[number - 1].split()
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0] if words else ""
    return first.lower() == given.text("first_word").lower()


def _postscript(text: str, given: Arguments) -> bool:
    marker, small = given.text("postscript_marker"), text.lower()
    patterns = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    return bool(re.search(patterns.get(marker, re.escape(marker.lower())), small))


def _placeholders(text: str, given: Arguments) -> bool:
    """Placeholders are in square brackets, which do not span lines."""
    count = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            count += 1
            start = line.find("[", end)
    return count >= given.number("num_placeholders")


_BULLET = re.compile(r"\*[^*]|-")


def _bullets(text: str, given: Arguments) -> bool:
    lines = (line.lstrip() for line in text.split("\n"))
    return sum(bool(_BULLET.match(line)) for line in lines) == given.number("num_bullets")


def _one_of_three_replies(text: str, given: Arguments) -> bool:
    return any(f"My answer is {reply}." in text for reply in ("yes", "no", "maybe"))


_HIGHLIGHTS = (re.compile(r"\*([^\n*]*)\*"), re.compile(r"\*\*([^\n*]*)\*\*"))


def _highlights(text: str, given: Arguments) -> bool:
    found = sum(bool(inner.strip()) for mark in _HIGHLIGHTS for inner in mark.findall(text))
    return found >= given.number("num_highlights")


def _sections(text: str, given: Arguments) -> bool:
    heading = re.escape(given.text("section_spliter"))
    return len(re.findall(rf"{heading}\s?\d+", text)) >= given.number("num_sections")


_FENCE = re.compile(r"\A```(?:json|Json|JSON)?")


def _is_json(text: str, given: Arguments) -> bool:
    try:
        json.loads(_FENCE.sub("", text.strip()).removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, given: Arguments) -> bool:
    """The title is in double angular brackets, on one line."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start:end].strip("<> \t"):
            return True
    return False


def _two_responses(text: str, given: Arguments) -> bool:
    """Two different responses are separated by six asterisks."""
    parts = text.split("******")
    filled = [part.strip() for part in parts if part.strip()]
    return _parts(parts) == 2 and filled[0] != filled[1]


def _repeats_prompt(text: str, given: Arguments) -> bool:
    return text.strip().lower().startswith(given.text("prompt_to_repeat").lower())


def _end(text: str, given: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(given.text("end_phrase").lower())


def _quotation(text: str, given: Arguments) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def _capital_words(text: str, given: Arguments) -> bool:
    count = len(words_in_capitals(text))
    return given.allows(count, "capital_frequency", "capital_relation")


def _all_capitals(text: str, given: Arguments) -> bool:
    return text.isupper() and _is_in(text, "en", given.instruction)


def _all_small(text: str, given: Arguments) -> bool:
    return text.islower() and _is_in(text, "en", given.instruction)


INSTRUCTIONS: Mapping[str, Check] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _number_of_sentences,
    "length_constraints:number_paragraphs": _number_of_paragraphs,
    "length_constraints:number_words": _number_of_words,
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _one_of_three_replies,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _all_capitals,
    "change_case:english_lowercase": _all_small,
    "punctuation:no_comma": lambda text, given: "," not in text,
}
"""Instruction id → its check."""
