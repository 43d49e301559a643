"""``ifeval``: each instruction, strict and loose accuracies, rows that it cannot read."""

from __future__ import annotations

import json
import sys
import time
from types import ModuleType
from typing import Any

import pytest

from archon.errors import ScoringError
from archon.evals.scorers import Attempt, plain_scorer
from archon.evals.scorers.instructions import INSTRUCTIONS, follows, loose_variants, sentences

LEAST, LESS = {"relation": "at least"}, {"relation": "less than"}
ONE_PARAGRAPH_OF_TWO = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}

CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("keywords:existence", {"keywords": ["Moon", "sea"]}, "The MOON lifts the sea.", True),
    ("keywords:existence", {"keywords": ["moon", "sea"]}, "The moon lifts.", False),
    ("keywords:frequency", {"keyword": "owl", "frequency": 2, **LEAST}, "Owl and owls.", True),
    ("keywords:frequency", {"keyword": "owl", "frequency": 2, **LESS}, "Owl and owls.", False),
    ("keywords:frequency", {"keyword": "owl", "frequency": 2.0, **LESS}, "One owl.", True),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "A party starts.", True),
    ("keywords:forbidden_words", {"forbidden_words": ["x", "art"]}, "ART!", False),
    ("keywords:letter_frequency",
     {"letter": "T", "let_frequency": 3, "let_relation": "at least"}, "Tom tilts", True),
    ("keywords:letter_frequency",
     {"letter": "t", "let_frequency": 3, "let_relation": "less than"}, "Tom tilts", False),
    ("keywords:letter_frequency",
     {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "# #", True),
    ("length_constraints:number_sentences", {"num_sentences": 3, **LEAST},
     "Dr. Bo ran. Why? Ice!", True),
    ("length_constraints:number_sentences", {"num_sentences": 3, **LESS}, "A b. C d", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na *** b\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n\nb", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a *** *** b", False),
    ("length_constraints:number_words", {"num_words": 4, **LEAST}, "It's a well", True),
    ("length_constraints:number_words", {"num_words": 4, **LESS}, "a b c d", False),
    ("length_constraints:nth_paragraph_first_word", ONE_PARAGRAPH_OF_TWO, "a\n\n'Then, b", True),
    ("length_constraints:nth_paragraph_first_word", ONE_PARAGRAPH_OF_TWO, "a\n\nthe b", False),
    ("length_constraints:nth_paragraph_first_word", ONE_PARAGRAPH_OF_TWO, "a\n\nThen\n\nb", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b c]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[[a] and [b\nc]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "a\np. s. b", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a\nP.S. b", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a P.P.S b", True),
    ("detectable_content:postscript", {"postscript_marker": "PS:"}, "a ps: b", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "* a\n  - b\n*c", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "**a**\n* b", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b\n* c", False),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", True),
    ("detectable_format:constrained_response", {}, "My answer is perhaps.", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* ** **", False),
    ("detectable_format:multiple_sections",
     {"section_spliter": "PART", "num_sections": 2}, "PART 1\na\nPART 2\nb", True),
    ("detectable_format:multiple_sections",
     {"section_spliter": "PART", "num_sections": 2}, "PART 1\na\nPART b", False),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', True),
    ("detectable_format:json_format", {}, "{'a': 1}", False),
    ("detectable_format:title", {}, "a\n <<On owls>> b", True),
    ("detectable_format:title", {}, "<<On\nowls>> << >>", False),
    ("combination:two_responses", {}, "a\n******\nb", True),
    ("combination:two_responses", {}, "a\n******\na", False),
    ("combination:two_responses", {}, "a ****** b ****** c", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, " say it. Yes", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "It: say it.", False),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'Yes. that is all."\n', True),
    ("startend:end_checker", {"end_phrase": "That is all."}, "That is all. Bye", False),
    ("startend:quotation", {}, '"a b"\n', True),
    ("startend:quotation", {}, '"', False),
    ("change_case:capital_word_frequency",
     {"capital_frequency": 3, "capital_relation": "at least"}, "NASA built an A-ONE, I say", True),
    ("change_case:capital_word_frequency",
     {"capital_frequency": 2, "capital_relation": "less than"}, "NASA AND ESA", False),
    ("change_case:english_capital", {}, "THIS IS ENGLISH", True),
    ("change_case:english_capital", {}, "This is English", False),
    ("change_case:english_lowercase", {}, "this is english", True),
    ("change_case:english_lowercase", {}, "hier steht deutsch", False),
    ("language:response_language", {"language": "de"}, "hier steht deutsch", True),
    ("language:response_language", {"language": "de"}, "this is english", False),
    ("language:response_language", {"language": "de"}, "123", True),
    ("punctuation:no_comma", {}, "a; b", True),
    ("punctuation:no_comma", {}, "a, b", False),
]  # fmt: skip


@pytest.fixture
def languages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake of ``langdetect`` that knows two words."""
    fake = ModuleType("langdetect")

    class UnknownLanguageError(Exception):
        pass

    def detect(text: str) -> str:
        if not any(character.isalpha() for character in text):
            raise UnknownLanguageError
        return "de" if "deutsch" in text else "en"

    fake.detect, fake.LangDetectException = detect, UnknownLanguageError  # type: ignore[attr-defined]
    fake.DetectorFactory = type("DetectorFactory", (), {"seed": None})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langdetect", fake)


@pytest.mark.usefixtures("languages")
@pytest.mark.parametrize(("instruction", "values", "text", "expected"), CASES)
def test_an_instruction_is_verified(
    instruction: str, values: dict[str, Any], text: str, expected: bool
) -> None:
    unused = {"num_words": None, "keywords": None}  # as in the rows of the hub
    assert follows(text, instruction, unused | values) is expected
    assert not follows(" \n", instruction, unused | values)


def test_every_instruction_has_cases() -> None:
    assert {instruction for instruction, *_ in CASES} == set(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 25


@pytest.mark.parametrize(
    ("text", "count"),
    [("One. Two! Three?", 3), ('He said "no." Then he left.', 2), ("It costs 3.50 dollars.", 1),
     ("A. B. Clark spoke, e.g. about owls.", 1), ("Really?! Yes...", 2), ("no period", 1),
     ("... !", 0), ("It ended at 5 p.m. They left.", 2)],
)  # fmt: skip
def test_sentences_are_counted_by_the_documented_rule(text: str, count: int) -> None:
    assert len(sentences(text)) == count


def test_the_loose_evaluation_ignores_first_and_last_lines_and_asterisks() -> None:
    assert loose_variants("Sure:\n*a* b\nBye") == [
        "Sure:\n*a* b\nBye", "*a* b\nBye", "Sure:\n*a* b", "*a* b",
        "Sure:\na b\nBye", "a b\nBye", "Sure:\na b", "a b"]  # fmt: skip


def row(*instructions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    names, values = zip(*instructions, strict=True)
    return {"instruction_id_list": list(names), "kwargs": list(values)}


NO_COMMA = ("punctuation:no_comma", {"num_words": None})
QUOTED = ("startend:quotation", {})


def attempt(text: str, row: dict[str, Any]) -> Attempt:
    return Attempt(text, "punctuation:no_comma", row=row)


async def test_the_score_is_strict_and_the_other_accuracies_are_metrics() -> None:
    scorer = plain_scorer("ifeval")
    score = await scorer.score(attempt('Sure, here:\n"a b"', row(NO_COMMA, QUOTED)))
    assert (score.value, score.answer) == (0, 'Sure, here:\n"a b"')
    assert score.metrics == {
        "prompt_loose": 1, "instruction_strict": 0, "instruction_loose": 1}  # fmt: skip
    assert score.metric_weights == {"instruction_strict": 2, "instruction_loose": 2}
    assert score.explanation == (
        "follows 0 of 2 instructions; not punctuation:no_comma, startend:quotation"
    )
    right = await scorer.score(attempt('"a b"', row(NO_COMMA, QUOTED)))
    assert (right.value, right.explanation) == (1, "follows 2 of 2 instructions")


async def test_a_row_of_a_csv_file_has_its_lists_as_json() -> None:
    cells = {name: json.dumps(value) for name, value in row(NO_COMMA).items()}
    assert (await plain_scorer("ifeval").score(attempt("a b", cells))).value == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [({}, "needs a list in the column 'instruction_id_list'; its other columns are none"),
     ({**row(NO_COMMA), "kwargs": [{}, {}]}, "has 1 members, but 'kwargs' has 2"),
     ({**row(NO_COMMA), "kwargs": ["x"]}, "must be an object"),
     (row(("punctuation:no_coma", {})), "unknown instruction 'punctuation:no_coma'; did you mean"),
     (row(("keywords:existence", {"keywords": None})), "'keywords' must be a list of texts"),
     (row(("length_constraints:number_words", {"num_words": 4})), "'relation' must be a text"),
     (row(("length_constraints:number_words", {"num_words": 4, "relation": "over"})),
      '"at least" or "less than"')],
)  # fmt: skip
async def test_a_row_that_cannot_be_checked_is_an_error(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ScoringError) as error:
        await plain_scorer("ifeval").score(attempt("a", given))
    assert reason in str(error.value)


async def test_without_langdetect_only_items_about_a_language_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    scorer = plain_scorer("ifeval")
    assert (await scorer.score(attempt("a", row(NO_COMMA)))).value == 1
    about = row(("language:response_language", {"language": "de"}))
    with pytest.raises(ScoringError, match="langdetect"):
        await scorer.score(attempt("a", about))


@pytest.mark.usefixtures("languages")
@pytest.mark.parametrize("part", ["[", "*", "<<", ".", "P.", "\n", " ", "a's ", "PART ", "'"])
def test_hostile_texts_take_linear_time(part: str) -> None:
    text = part * (300_000 // len(part)) + "x"
    started = time.process_time()
    for instruction in INSTRUCTIONS:
        values = next(values for name, values, *_ in CASES if name == instruction)
        follows(text, instruction, values)
    assert time.process_time() - started < 3
