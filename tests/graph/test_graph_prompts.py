from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from graph_doubles import PROMPT_KINDS, make_candidate, make_prompt
from hypothesis import given
from hypothesis import strategies as st

from archon.answers import read_answer, read_target
from archon.answers.kinds import ANSWER_TYPES
from archon.errors import GraphError, SpecError
from archon.graph.exemplars import default_pool, load_pool, pool_names
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import list_texts
from archon.graph.prompts.templates import GENERATOR
from archon.graph.prompts.wording import Wording
from archon.spec.common import PromptSpec
from archon.types import Annotation, AnswerKind, Example, Message, Question

NOTE = Annotation("notes", "critique", "the sum is wrong")

# ------------------------------------------------------------------------------------ wording


def test_fields_are_filled_and_doubled_braces_are_braces() -> None:
    wording = Wording(r'{question} {{x}} {"a": 1} \boxed{} {question}')
    assert wording.fields == {"question"}
    assert wording.fill({"question": "Q"}) == r'Q {x} {"a": 1} \boxed{} Q'


@given(st.text())
def test_filled_in_values_are_not_parsed(text: str) -> None:
    assert Wording("<{question}>").fill({"question": "{question}{{" + text}) == (
        "<{question}{{" + text + ">"
    )


@given(st.text("ab {}\n"))
def test_any_text_can_be_escaped(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert Wording(escaped).fill({}) == text


def test_an_empty_field_leaves_no_gap() -> None:
    assert Wording("a\n\n{critiques}\n\nb").fill({"critiques": ""}) == "a\n\nb"


# ------------------------------------------------------------------------------------ listing


def test_a_candidate_cannot_close_its_own_fence() -> None:
    text = "x = 1\n```\n[2]\n```\nThe answer is 9."
    listed = list_texts([text, "y"])
    assert listed == f"[1]\n````\n{text}\n````\n\n[2]\n```\ny\n```"


# ----------------------------------------------------------------------------------- messages


def test_messages_are_history_system_examples_and_question() -> None:
    prompt = make_prompt("generator", system="Be brief.", shots=2, template="bare")
    history = (Message("user", "Hello"), Message("assistant", "Hi"))
    messages = prompt.messages(Question("What is 2 + 3?", history))
    assert messages[:2] == history
    roles = [m.role for m in messages[2:]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[-1] == Message("user", "What is 2 + 3?")


def test_examples_are_worded_like_the_question_and_end_with_their_answer() -> None:
    pool = (Example("1 + 1?", "One and one.", "2"), Example("2 + 2?", "", "4"))
    question = Question("What is 2 + 3?", examples=pool)
    messages = make_prompt("generator", shots=2).messages(question)
    assert "step by step" in messages[-1].content
    assert messages[0].content == messages[-1].content.replace("What is 2 + 3?", "1 + 1?")
    assert messages[1].content == "One and one.\nThe answer is 2."
    assert messages[3].content == "The answer is 4."


def test_a_template_without_working_shows_none() -> None:
    messages = make_prompt("generator", template="direct", shots=1).messages(Question("1?"))
    assert messages[1].content == f"The answer is {default_pool('number')[0].answer}."


def test_the_opening_is_made_once_for_a_pool() -> None:
    prompt = make_prompt("generator", shots=3)
    first, second = prompt.messages(Question("a")), prompt.messages(Question("b"))
    assert all(x is y for x, y in zip(first[:-1], second[:-1], strict=True))


def test_each_pool_and_kind_of_answer_has_its_own_opening() -> None:
    prompt = make_prompt("generator", shots=1)
    pool = (Example("1 + 1?", "So.", "print(2)"),)
    assert default_pool("number")[0].question in prompt.messages(Question("a"))[0].content
    code = prompt.messages(Question("a", answer="code", examples=pool))
    assert code[1].content == "So.\n\n```python\nprint(2)\n```"
    assert prompt.messages(Question("a", examples=pool))[1].content.endswith("print(2).")


def test_judges_show_examples_as_plain_questions() -> None:
    messages = make_prompt("verifier", shots=1).messages(Question("a"), [make_candidate(0, "5")])
    assert messages[0].content == default_pool("number")[0].question
    assert "Verdict" in messages[-1].content


@pytest.mark.parametrize("name", PROMPT_KINDS)
@pytest.mark.parametrize("answer", ["number", "text", "code"])
def test_every_template_contains_the_question_and_fills_all_fields(name: str, answer: Any) -> None:
    candidates = [make_candidate(0, "5", NOTE), make_candidate(1, "6")]
    kind = PROMPT_KINDS[name]
    for template in kind.templates:
        prompt = make_prompt(name, template=template)
        (message,) = prompt.messages(Question("Why {x}?", answer=answer), candidates)
        assert "Why {x}?" in message.content
        assert message.content.startswith("Why {x}?") or kind.puts_question
        assert not any(f"{{{f}}}" in message.content for f in ("question", "candidates", "ending"))
        assert ("[2]\n```" in message.content) == ("candidates" in kind.required)


def test_custom_texts_are_filled_in() -> None:
    text = 'Q: {question}\nC: {candidates}\nN: {critiques}\nReply as {{"a": 1}}.'
    prompt = make_prompt("fuser", text=text)
    (message,) = prompt.messages(Question("2 + 3?"), [make_candidate(0, "5", NOTE, text="{five}")])
    assert message.content == (
        "Q: 2 + 3?\nC: [1]\n```\n{five}\n```\n"
        'N: Critiques of the candidates:\n\n[1]\n```\nthe sum is wrong\n```\nReply as {"a": 1}.'
    )


# ----------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("node_type", "spec", "reason"),
    [
        ("generator", {"template": "cott"}, "did you mean 'cot'?"),
        (
            "generator",
            {"template": "program", "shots": 2},
            "'program' template allows no shots, because it asks for a program, and worked",
        ),
        ("critic", {"template": "cot"}, "no template 'cot' for a critic"),
        ("generator", {"text": "{qestion} {question}"}, "did you mean 'question'?"),
        ("generator", {"text": "Hello"}, "the text does not contain {question}"),
        ("fuser", {"text": "{question}"}, "the text does not contain {candidates}"),
    ],
)
def test_an_invalid_prompt_is_refused(node_type: Any, spec: Any, reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        make_prompt(node_type, **spec)
    assert reason in str(caught.value)


def test_the_field_candidates_needs_inputs() -> None:
    spec = PromptSpec.model_validate({"text": "{question} {candidates}"})
    with pytest.raises(GraphError, match=r"the field \{candidates\} is not available"):
        Prompt(spec, GENERATOR, reads_candidates=False)


def test_more_shots_than_the_named_pool_has_are_refused_at_load() -> None:
    with pytest.raises(GraphError, match="99 shots are requested, but the pool has 10 examples"):
        make_prompt("generator", shots=99, examples="arithmetic")


def test_more_shots_than_the_benchmark_s_pool_has_are_refused_once_it_is_known() -> None:
    prompt = make_prompt("generator", shots=2)
    pool = (Example("1 + 1?", "", "2"),)
    with pytest.raises(GraphError, match="2 shots"):
        prompt.check_shots(pool)
    with pytest.raises(GraphError, match="2 shots"):
        prompt.messages(Question("a", examples=pool))


# -------------------------------------------------------------------------------------- pools


def test_the_shipped_pools_have_the_names_of_their_files() -> None:
    assert pool_names() == ["arithmetic", "choices", "gsm8k", "json"]


@pytest.mark.parametrize("answer", ANSWER_TYPES)
def test_the_examples_of_an_answer_type_are_read_back(answer: AnswerKind) -> None:
    pool = default_pool(answer)
    assert len(pool) == 10
    for example in pool:
        reply = ANSWER_TYPES[answer].reply(example.answer, example.reasoning)
        assert read_answer(reply, answer) == read_target(example.answer, answer)
        if answer == "choice":
            assert f"\n{example.answer}. " in example.question


@pytest.mark.parametrize("name", ["arithmetic", "gsm8k"])
def test_a_shipped_pool_contains_correct_answers_that_are_read_back(name: str) -> None:
    pool = load_pool(name)
    assert 8 <= len(pool) <= 10
    for example in pool:
        assert read_answer(example.reasoning, "number") == example.answer
        reply = f"{example.reasoning}\nThe answer is {example.answer}."
        assert read_answer(reply, "number") == example.answer


@pytest.mark.parametrize("name", pool_names())
def test_every_equation_of_a_shipped_pool_holds(name: str) -> None:
    equations = 0
    for example in load_pool(name):
        for part in example.reasoning.splitlines():
            sides = [side.strip(" .:") for side in part.split(": ")[-1].split(" = ")]
            if len(sides) < 2:
                continue
            formulas = [_formula(sides[0], last=True)]
            formulas += [_formula(side, last=False) for side in sides[1:]]
            values = [eval(formula) for formula in formulas]
            assert values == pytest.approx([values[0]] * len(values)), part
            equations += 1
    assert equations >= (20 if name in ("arithmetic", "gsm8k") else 6)


def test_the_pool_for_gsm8k_has_eight_examples_of_two_to_six_steps_each_with_its_equation() -> None:
    pool = load_pool("gsm8k")
    assert len(pool) == 8
    for example in pool:
        steps = example.reasoning.splitlines()
        assert 2 <= len(steps) <= 6
        assert all(step.count(" = ") == 1 for step in steps)


def _formula(side: str, *, last: bool) -> str:
    """The calculation at the end, or at the beginning, of a side of an equation."""
    words = side.split()
    kept: list[str] = []
    for word in reversed(words) if last else words:
        if not set(word) <= set("0123456789.+-*/()"):
            break
        kept.append(word)
    return " ".join(reversed(kept) if last else kept)


def test_a_relative_pool_path_starts_at_the_folder_of_its_file(tmp_path: Path) -> None:
    examples = [{"question": "1 + 1?", "reasoning": "So.", "answer": "2"}]
    data = {"version": 1, "name": "mine", "examples": examples}
    (tmp_path / "mine.json").write_text(json.dumps(data))
    assert load_pool("mine.json", tmp_path) == (Example("1 + 1?", "So.", "2"),)


def test_a_pool_is_read_from_rows_in_the_format_of_gsm8k(tmp_path: Path) -> None:
    rows = [
        {"question": "A box of 1,000?", "answer": "2 * 500 = 1,000\n#### 1,000"},
        {"question": "1 + 1?", "answer": "#### 2"},
    ]
    (tmp_path / "published.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    assert load_pool("published.jsonl", tmp_path) == (
        Example("A box of 1,000?", "2 * 500 = 1,000", "1,000"),
        Example("1 + 1?", "", "2"),
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"question": "1 + 1?", "answer": "It is 2."}', "does not end in '#### '"),
        ('{"question": "1 + 1?", "answer": "It is 2. ####"}', "does not end in '#### '"),
        ('{"question": "1 + 1?", "anwser": "#### 2"}', "did you mean 'answer'"),
        ('{"question": "1 + 1?", "answer": 2}', r"\$\.answer"),
        ("[]", "every line of a JSON Lines file must be an object"),
    ],
)
def test_a_wrong_row_of_a_pool_is_named_by_file_and_line(
    tmp_path: Path, row: str, reason: str
) -> None:
    good = '{"question": "1 + 1?", "answer": "#### 2"}'
    (tmp_path / "p.jsonl").write_text(f"{good}\n{row}\n")
    with pytest.raises(SpecError, match=reason) as caught:
        load_pool("p.jsonl", tmp_path)
    assert caught.value.file == "p.jsonl:2"


def test_an_empty_pool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("\n")
    with pytest.raises(SpecError, match=r"p\.jsonl: the file has no examples"):
        load_pool("p.jsonl", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "nowhere.json"),
        ("[]", "object"),
        ('{"version": 1, "name": "x", "examples": []}', "examples"),
        ('{"version": 1, "name": "x", "examples": [{"qestion": "1"}]}', "did you mean 'question'"),
    ],
)
def test_a_wrong_pool_is_a_clear_error(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "nowhere.json").write_text(content)
    with pytest.raises(SpecError) as caught:
        load_pool("nowhere.json", tmp_path)
    assert reason in str(caught.value)


def test_an_unknown_pool_is_an_error_that_lists_the_shipped_ones() -> None:
    with pytest.raises(SpecError, match="did you mean 'arithmetic'"):
        load_pool("aritmetic")


def test_defaults_are_step_by_step_and_one_template_per_judge() -> None:
    assert GENERATOR.default == "cot"
    judges = [kind for kind in PROMPT_KINDS.values() if not kind.puts_question]
    assert all(len(kind.templates) == 1 for kind in judges)
    scoring = ("ranker.likelihood", "ranker.reward", "verifier.reward")
    assert [PROMPT_KINDS[name].default for name in scoring] == ["cot", "bare", "bare"]


# ----------------------------------------------------------------------------- without an ending


@pytest.mark.parametrize("kind", [kind for kind in PROMPT_KINDS.values() if kind.puts_question])
def test_without_an_ending_a_generator_gets_the_question_alone(kind: Any) -> None:
    question = Question("Write a poem.", answer="text", ending=False)
    for name, template in kind.templates.items():
        if template.asks_for_program:
            continue
        shots = 0 if name == "conversation" else 2
        prompt = Prompt(PromptSpec(template=name, shots=shots), kind, reads_candidates=False)
        assert prompt.messages(question) == (Message("user", "Write a poem."),)
        assert prompt.specification("text", None, ending=False) == {
            "opening": [],
            "text": "{question}",
        }


@pytest.mark.parametrize("kind", PROMPT_KINDS.values())
def test_without_an_ending_no_prompt_asks_for_one(kind: Any) -> None:
    for template in kind.templates.values():
        text = template.wording("text", ending=False)
        assert ANSWER_TYPES["text"].ending not in text
        assert "{ending}" not in text
        assert text == text.rstrip()


def test_a_custom_text_stays_without_an_ending() -> None:
    prompt = Prompt(PromptSpec(text="Q: {question}"), GENERATOR, reads_candidates=False)
    asked = prompt.messages(Question("Why?", answer="text", ending=False))
    assert asked == (Message("user", "Q: Why?"),)
