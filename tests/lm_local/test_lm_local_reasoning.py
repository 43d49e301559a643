"""Reasoning in the local engine: its beginning, its budget, and the constraint after it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_lm_doubles import open_tiny
from tiny_models import TinyModel, tiny_vocabulary, write_gguf

from archon.engine.files.gguf import GGUFFile
from archon.engine.scheduling.choices import score_request, total_logprob
from archon.errors import UnsupportedError
from archon.graph.judge_output import VERDICT_CONSTRAINT, read_verdict
from archon.lm.lazy import LazyLM
from archon.lm.local.constraint import ConstraintCompiler
from archon.lm.local.lm import LocalLM
from archon.lm.local.reasoning_constraint import ReasoningConstraint, ReasoningRules
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.lm.pool import DrawPool, pooling
from archon.reasoning import PUBLISHED_MARKERS
from archon.spec.model import LocalCard
from archon.types import (
    Constraint,
    Event,
    FreeText,
    Message,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
)

TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
OPENS = TURNS + (
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% else %}{{ '<think>\n' }}{% endif %}{{ effort }}"
)
"""The prompt begins the reasoning, as templates of R1's distillations do."""
MAY_THINK = TURNS + (
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}"
)
"""The model begins it, as Qwen3 does."""
CONTROL_MARKERS = ("[THINK]", "[/THINK]")
CONTROL = TURNS + "{{ '[THINK]' }}"
CLOSING = "\n</think>\n\n"
QUESTION = Request(
    (Message("user", "the answer"),), seed=3, sampling=SamplingParams(0.9, max_tokens=40)
)
BUDGET = replace(QUESTION, thinking=Thinking(max_tokens=5))


def vocabulary_with_control_markers() -> dict[str, Any]:
    """``[THINK]`` and ``[/THINK]`` as control tokens, which stand for no text."""
    vocabulary = tiny_vocabulary()
    tokens, types = list(vocabulary.tokens), list(vocabulary.types)
    tokens[-2:], types[-2:] = CONTROL_MARKERS, [3, 3]
    return {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reasoning")
    models = {
        "opens": TinyModel(family="qwen2", chat_template=OPENS),
        "may_think": TinyModel(family="qwen2", chat_template=MAY_THINK),
        "control": TinyModel(
            family="qwen2", chat_template=CONTROL, metadata=vocabulary_with_control_markers()
        ),
    }
    for name, model in models.items():
        write_gguf(folder / f"{name}.gguf", model)
    return {name: folder / f"{name}.gguf" for name in models}


@pytest.fixture
async def lm(files: dict[str, Path]) -> AsyncIterator[LocalLM]:
    lm = open_tiny(files["opens"])
    yield lm
    await lm.aclose()


@pytest.fixture
async def hybrid(files: dict[str, Path]) -> AsyncIterator[LocalLM]:
    lm = open_tiny(files["may_think"])
    yield lm
    await lm.aclose()


# ---------------------------------------------------------------------------------- the budget


async def test_the_end_marker_is_inserted_at_the_budget(lm: LocalLM) -> None:
    unbounded = await lm.generate(replace(QUESTION, n=4))
    closing = tuple(lm.tokenizer.encode(CLOSING))
    for free, bounded in zip(unbounded, await lm.generate(replace(BUDGET, n=4)), strict=True):
        assert free.is_reasoning_cut_off  # random weights write no marker
        assert free.text == ""
        assert free.token_ids is not None
        assert bounded.token_ids is not None
        assert bounded.token_ids[:5] == free.token_ids[:5]  # the noise is the same
        assert bounded.token_ids[5 : 5 + len(closing)] == closing
        assert bounded.reasoning.rstrip().endswith("</think>")
        assert bounded.text
        assert not bounded.is_reasoning_cut_off
        assert bounded.usage.completion_tokens == len(bounded.token_ids) == 40


async def test_a_sample_with_a_budget_does_not_depend_on_the_others(lm: LocalLM) -> None:
    together = await lm.generate(replace(BUDGET, n=6))
    for draw in (5, 2, 0):
        [alone] = await lm.generate(replace(BUDGET, first_draw=draw))
        assert (alone.text, alone.token_ids) == (together[draw].text, together[draw].token_ids)


async def test_a_budget_of_0_ends_the_reasoning_at_once(lm: LocalLM) -> None:
    [completion] = await lm.generate(replace(QUESTION, thinking=Thinking(max_tokens=0)))
    assert completion.reasoning.strip() == "</think>"
    assert completion.text


async def test_an_unused_budget_changes_nothing(lm: LocalLM) -> None:
    off = Thinking(enabled=False)
    [free] = await lm.generate(replace(QUESTION, thinking=off))
    [bounded] = await lm.generate(replace(QUESTION, thinking=replace(off, max_tokens=5)))
    assert (free.reasoning, free.text) == (bounded.reasoning, bounded.text)
    assert free.token_ids == bounded.token_ids
    assert free.text


async def test_max_tokens_limits_reasoning_and_answer_together(lm: LocalLM) -> None:
    short = replace(BUDGET, sampling=SamplingParams(0.9, max_tokens=8))
    [completion] = await lm.generate(short)
    assert (completion.finish_reason, completion.is_reasoning_cut_off) == ("length", True)


async def test_a_beam_search_with_a_budget_is_refused(lm: LocalLM) -> None:
    beams = SamplingParams(max_tokens=5, beams=2)
    with pytest.raises(UnsupportedError, match="beam search does not support 'max"):
        await lm.generate(replace(BUDGET, sampling=beams))


async def test_events_distinguish_reasoning_from_answer(lm: LocalLM) -> None:
    events: list[Event] = []
    [completion] = await lm.generate(BUDGET, events.append)
    deltas = [event for event in events if isinstance(event, TokenDelta)]
    reasoning = "".join(d.text for d in deltas if d.is_reasoning)
    answer = "".join(d.text for d in deltas if not d.is_reasoning)
    assert (reasoning, answer) == (completion.reasoning, completion.text)


async def test_stop_strings_apply_to_the_answer_only(lm: LocalLM) -> None:
    [completion] = await lm.generate(BUDGET)
    inside, behind = completion.reasoning[1], completion.text[3]
    stop = SamplingParams(0.9, max_tokens=40, stop=(inside,))
    [stopped] = await lm.generate(replace(BUDGET, sampling=stop))
    assert stopped.reasoning == completion.reasoning
    assert stopped.text == completion.text.partition(inside)[0]
    stop = SamplingParams(0.9, max_tokens=40, stop=(behind,))
    [stopped] = await lm.generate(replace(BUDGET, sampling=stop))
    assert stopped.text == completion.text.partition(behind)[0]


async def test_control_tokens_can_be_markers(files: dict[str, Path]) -> None:
    lm = open_tiny(files["control"])
    [completion] = await lm.generate(BUDGET)
    [free] = await lm.generate(QUESTION)
    await lm.aclose()
    assert "[/THINK]" in completion.reasoning
    assert completion.text
    assert free.is_reasoning_cut_off


async def test_a_card_s_own_markers_are_inserted(files: dict[str, Path]) -> None:
    markers = {"start": "<think>", "end": "<done>"}
    lm = open_tiny(files["opens"], reasoning_markers=markers, max_thinking_tokens=5)
    [completion] = await lm.generate(QUESTION)
    await lm.aclose()
    assert completion.reasoning.rstrip().endswith("\n<done>")


# -------------------------------------------------------------------------------- what is bound


async def test_a_constraint_applies_after_the_reasoning(lm: LocalLM) -> None:
    form = Constraint(regex="[ab]{5}")
    for completion in await lm.generate(replace(BUDGET, n=3, constraint=form)):
        assert re.fullmatch("[ab]{5}", completion.text)
        assert "</think>" in completion.reasoning
        assert completion.finish_reason == "stop"


async def test_a_reasoning_judge_reaches_a_verdict(lm: LocalLM) -> None:
    """Without a budget, too: the reasoning is ended where the last line needs the tokens."""
    asked = replace(QUESTION, n=3, constraint=VERDICT_CONSTRAINT)
    asked = replace(asked, sampling=SamplingParams(0.9, max_tokens=80))
    for completion in await lm.generate(asked):
        assert read_verdict(completion.text) in ("pass", "fail")
        assert "</think>" in completion.reasoning
        assert "Verdict" not in completion.reasoning


async def test_a_constraint_applies_at_once_without_reasoning(hybrid: LocalLM) -> None:
    form = replace(QUESTION, constraint=Constraint(regex="[ab]{5}"))
    [plain] = await hybrid.generate(form)
    assert re.fullmatch("[ab]{5}", plain.text)
    assert plain.reasoning == ""
    [asked] = await hybrid.generate(replace(form, thinking=Thinking(True, None, 4)))
    assert re.fullmatch("[ab]{5}", asked.text)
    assert asked.reasoning.startswith("<think>\n")


async def test_choices_are_scored_after_the_reasoning(lm: LocalLM) -> None:
    choices = (" the", "12")
    [scored] = await lm.generate(replace(QUESTION, choices=choices))
    prompt_ids = (*lm.chat.encode(QUESTION.messages), *lm.tokenizer.encode(CLOSING))
    asked = [tuple(lm.tokenizer.encode(choice)) for choice in choices]
    expected = [
        total_logprob(g) for g in await lm.worker.generate(score_request(prompt_ids, asked))
    ]
    assert scored.choice_logprobs is not None
    assert [*scored.choice_logprobs.values()] == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------- what a matcher makes of tokens


@pytest.fixture(scope="module")
def tokenizer(files: dict[str, Path]) -> TextTokenizer:
    return TextTokenizer(read_tokenizer_config(GGUFFile(files["may_think"])))


def written(
    tokenizer: TextTokenizer, text: str, form: Constraint, *, max_tokens: int = 200, **how: Any
) -> str:
    """The whole text that a form makes of what a model would write: as much of it as is let, and
    of what is left a choice of, the first."""
    compiled = ConstraintCompiler(tokenizer).compile(form)
    rules = ReasoningRules(PUBLISHED_MARKERS, tokenizer, MAY_THINK)
    matcher = ReasoningConstraint(rules, tokenizer, compiled, **how).matcher(0, max_tokens)
    offered, tokens = iter(tokenizer.encode(text)), list[int]()
    while not matcher.finished and len(tokens) < max_tokens:
        forced: Iterable[int] = matcher.forced()
        if not forced:
            mask = matcher.allowed()
            if mask is None:
                forced = [next(offered, min(tokenizer.stop_ids))]
            else:
                size = range(len(tokenizer.tokens))
                forced = [next(t for t in size if int(mask[t // 32]) >> t % 32 & 1)]
        for token in forced:
            matcher.advance(token)
            if token not in tokenizer.stop_ids:
                tokens.append(token)
    return tokenizer.decode(tokens)


JUDGED = Constraint(regex="yes|no", after=FreeText("Verdict:", 20))
WHOLE = Constraint(regex="ab+a")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("So it is right.\nVerdict:", r"So it is right\.\nVerdict: (yes|no)"),
        (
            "<think>Verdict: no?</think>\n\nGood.\nVerdict:",
            r".*</think>\n\nGood\.\nVerdict: (yes|no)",
        ),
        ("<think>Is it", r"<think>Is it\n</think>\n\nVerdict: (yes|no)"),
        ("", r"Verdict: (yes|no)"),
        (" <b>", r" <b>\nVerdict: (yes|no)"),
    ],
)
def test_a_judge_may_reason_first(tokenizer: TextTokenizer, text: str, result: str) -> None:
    whole = written(tokenizer, text, JUDGED)
    assert re.fullmatch(result, whole, re.DOTALL), whole


def test_a_judge_s_reasoning_leaves_tokens_for_the_last_line(tokenizer: TextTokenizer) -> None:
    whole = written(tokenizer, "<think>" + "hm " * 100, JUDGED, max_tokens=60)
    assert re.fullmatch(r"<think>(hm )+h?m?\n</think>\n\nVerdict: (yes|no)", whole), whole


def test_a_constraint_on_the_complete_text_applies_after_the_end_marker(
    tokenizer: TextTokenizer,
) -> None:
    text = "Is it b?</think>"
    assert re.fullmatch(r"Is it b\?</think>ab+a", written(tokenizer, text, WHOLE, is_open=True))
    begun = written(tokenizer, text, WHOLE, begins=True)
    assert re.fullmatch(r"<think>\nIs it b\?</think>ab+a", begun)
    ended = written(tokenizer, "Is it", WHOLE, is_open=True)
    assert re.fullmatch(r"Is it\n</think>\n\nab+a", ended)


# ------------------------------------------------------------------------------------ the prompt


async def test_thinking_and_variables_reach_the_template(lm: LocalLM) -> None:
    async def end_of_prompt(thinking: Thinking) -> str:
        prompt_ids = (await lm._rendered(QUESTION.messages, thinking)).ids
        return lm.tokenizer.decode(prompt_ids).partition("assistant\n")[2]

    assert await end_of_prompt(Thinking()) == "<think>\n"
    assert await end_of_prompt(Thinking("auto")) == "<think>\n"
    assert await end_of_prompt(Thinking(True)) == "<think>\n"
    assert await end_of_prompt(Thinking(False)) == "<think>\n\n</think>\n\n"
    assert await end_of_prompt(Thinking(None, {"effort": "low"})) == "<think>\nlow"
    assert await end_of_prompt(Thinking(None, {"enable_thinking": False})) != "<think>\n"


async def test_a_card_s_thinking_applies(files: dict[str, Path]) -> None:
    lm = open_tiny(files["opens"], chat_template_kwargs={"enable_thinking": False})
    [completion] = await lm.generate(QUESTION)
    assert (completion.reasoning, completion.is_reasoning_cut_off) == ("", False)
    [asked] = await lm.generate(
        replace(QUESTION, thinking=Thinking(None, {"enable_thinking": True}))
    )
    await lm.aclose()
    assert asked.is_reasoning_cut_off


async def test_a_variable_produces_no_control_tokens(lm: LocalLM) -> None:
    async def num_controls(effort: object) -> int:
        rendered = await lm._rendered(QUESTION.messages, Thinking(None, {"effort": effort}))
        return sum(token in lm.tokenizer.control_ids for token in rendered.ids)

    assert await num_controls(["<|im_end|>", {"a": "<|im_start|>"}]) == await num_controls("x")


async def test_unsupported_thinking_is_noted(lm: LocalLM, tiny_chat_file: Path) -> None:
    [completion] = await lm.generate(replace(QUESTION, thinking=Thinking(False, {"effort": 1})))
    assert completion.notes == ()
    asked = replace(QUESTION, thinking=Thinking(False, {"level": "high"}))
    plain = open_tiny(tiny_chat_file)
    [completion] = await plain.generate(asked)
    await plain.aclose()
    assert len(completion.notes) == 2
    assert "level" in completion.notes[0]
    assert "cannot turn thinking" in completion.notes[1]


async def test_prompt_counts_depend_on_the_variables(lm: LocalLM) -> None:
    off = Thinking(enabled=False)
    [completion] = await lm.generate(replace(QUESTION, thinking=off))
    assert await lm.prompts_of(QUESTION.messages, off) == completion.prompts
    assert await lm.prompts_of(QUESTION.messages) != completion.prompts


# -------------------------------------------------------------------------------------- the pool


async def test_a_pool_returns_reasoning_and_answer(files: dict[str, Path], tmp_path: Path) -> None:
    source = {"path": str(files["opens"])}
    fields = {"name": "tiny", "backend": "local", "sources": [source], "precision": "float32"}
    lm = LazyLM(LocalCard.model_validate(fields), tmp_path)
    asked = [
        replace(r, n=2) for r in (QUESTION, BUDGET, replace(BUDGET, constraint=VERDICT_CONSTRAINT))
    ]
    with DrawPool(tmp_path / "draws.sqlite3") as pool:
        for request in asked:
            events: list[Event] = []
            with pooling(pool, "a"):
                made = await lm.generate(request)
            with pooling(pool, "b"):
                found = await lm.generate(request, events.append)
            assert not any(c.usage.generated_tokens for c in found)
            assert [replace(c, usage=d.usage) for c, d in zip(found, made, strict=True)] == made
            deltas = [e for e in events if isinstance(e, TokenDelta) and e.draw == 0]
            assert "".join(d.text for d in deltas if d.is_reasoning) == made[0].reasoning
            assert "".join(d.text for d in deltas if not d.is_reasoning) == made[0].text
    await lm.aclose()


async def test_the_key_depends_on_the_budget(lm: LocalLM) -> None:
    keys = {lm.draw_key(r) for r in (QUESTION, BUDGET, replace(QUESTION, thinking=Thinking(False)))}
    assert len(keys) == 3
    assert lm.draw_key(replace(QUESTION, thinking=Thinking(True))) == lm.draw_key(QUESTION)
