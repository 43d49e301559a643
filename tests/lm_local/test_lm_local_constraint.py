"""Constraints in one model's tokens: the vocabulary, output formats, forced and allowed tokens."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tiny_models import CONTROL_TOKENS, USER_TOKENS, TinyModel, write_gguf

from archon.engine.files.gguf import GGUFFile
from archon.engine.sampling.constraint import Matcher
from archon.errors import EngineError, UnsupportedError
from archon.lm.local.constraint import ConstraintCompiler
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.types import Constraint, FreeText

VERDICT = FreeText("Verdict:", room=20)
NOTHING: Iterator[int] = iter(())


@pytest.fixture(scope="module", params=["qwen2", "smollm"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: Any) -> TextTokenizer:
    path: Path = tmp_path_factory.mktemp("tiny") / "model.gguf"
    write_gguf(path, TinyModel(pre=request.param))
    return TextTokenizer(read_tokenizer_config(GGUFFile(path)))


@pytest.fixture(scope="module")
def compiler(tokenizer: TextTokenizer) -> ConstraintCompiler:
    return ConstraintCompiler(tokenizer)


def allowed_by(matcher: Matcher, tokenizer: TextTokenizer) -> list[int]:
    mask = matcher.allowed()
    assert mask is not None
    assert len(mask) == -(-len(tokenizer.tokens) // 32)
    return [t for t in range(len(tokenizer.tokens)) if int(mask[t // 32]) >> t % 32 & 1]


def follow(matcher: Matcher) -> list[int]:
    """The tokens that are forced now."""
    tokens: list[int] = []
    while forced := list(matcher.forced()):
        for token in forced:
            matcher.advance(token)
        tokens += forced
    return tokens


def write(
    matcher: Matcher, tokenizer: TextTokenizer, free: Iterator[int] = NOTHING, seed: int = 0
) -> str:
    """A random text that a form allows; ``free`` are the tokens drawn where everything is."""
    rng, tokens = random.Random(seed), follow(matcher)
    while not matcher.finished and len(tokens) < 1000:
        mask = matcher.allowed()
        token = next(free) if mask is None else rng.choice(allowed_by(matcher, tokenizer))
        matcher.advance(token)
        tokens += [] if token in tokenizer.stop_ids else [token]
        tokens += follow(matcher)
    return tokenizer.decode(tokens)


def test_the_vocabulary_agrees_with_the_tokenizer(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    vocabulary = compiler._vocabulary
    assert vocabulary.vocab_size == len(tokenizer.tokens)
    assert set(vocabulary.eos_tokens) == set(tokenizer.stop_ids)
    for token in range(len(tokenizer.tokens)):
        expected = b"" if token in tokenizer.no_text_ids else tokenizer.token_bytes(token)
        # llguidance marks special tokens by a byte that no UTF-8 text holds, and shows it as none
        assert vocabulary.decode_bytes([token]) == (b"" if expected == b"\xff" else expected)
    for text in ("the answer is 12\n\nand é", " (x) ≥ 数学"):
        assert vocabulary.tokenize_str(text) == tokenizer.encode(text)


def test_a_pattern_of_anything_allows_all_text_tokens(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    form = compiler.compile(Constraint(regex="(?s:.){0,50}"))
    allowed = set(allowed_by(form.matcher(0, 100), tokenizer))
    whole = {
        token
        for token in range(len(tokenizer.tokens))
        if token not in tokenizer.no_text_ids and _is_utf8(tokenizer.token_bytes(token))
    }
    assert whole <= allowed
    assert allowed & tokenizer.no_text_ids <= tokenizer.stop_ids
    for name in (*CONTROL_TOKENS, *USER_TOKENS):
        token = tokenizer.special_ids[name]
        assert (token in allowed) is (token in tokenizer.stop_ids)


def _is_utf8(text: bytes) -> bool:
    try:
        return bool(text.decode())
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize(
    "pattern",
    ["yes|no|never", r"-?\d{2,3}(\.\d+)?", "^a+$", r"[^\n]{1,9}\.", "naïve|数学", r"a/b\"c"],
)
def test_texts_match_the_pattern(
    pattern: str, compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    form = compiler.compile(Constraint(regex=pattern))
    for seed in range(5):
        text = write(form.matcher(0, 400), tokenizer, seed=seed)
        assert re.fullmatch(pattern, text) or len(text) > 200  # a+ may go on and on


def test_json_has_the_format_of_json_dumps(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "value": {"type": "integer", "minimum": 0, "maximum": 99},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["value", "tags"],
        "additionalProperties": False,
    }
    for after, label in ((None, ""), (FreeText("Answer:", 50), "Answer: ")):
        form = compiler.compile(Constraint(json_schema=schema, after=after))
        for seed in range(5):
            text = write(form.matcher(0, 50), tokenizer, seed=seed).removeprefix(label)
            assert json.dumps(json.loads(text)) == text
            assert 0 <= json.loads(text)["value"] <= 99


def test_forced_text_is_tokenized_like_the_tokenizer_does(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    matcher = compiler.compile(Constraint(regex=r"the answer is [12]\.")).matcher(0, 50)
    forced = follow(matcher)
    assert tokenizer.decode(forced).startswith("the answer is")
    assert forced == tokenizer.encode("the answer is 1.")[: len(forced)]
    whole = compiler.compile(Constraint(json_schema={"const": {"a": [1, 2]}})).matcher(0, 50)
    assert tokenizer.decode(follow(whole)) == '{"a": [1, 2]}'
    assert whole.finished


def test_the_end_is_allowed_when_the_constraint_is_satisfied_and_forced_when_nothing_can_follow(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    matcher = compiler.compile(Constraint(regex="no(ne)?")).matcher(0, 50)
    for token in tokenizer.encode("no"):
        assert not tokenizer.stop_ids & set(allowed_by(matcher, tokenizer))
        matcher.advance(token)
    assert tokenizer.stop_ids <= set(allowed_by(matcher, tokenizer))
    assert not matcher.finished
    for token in tokenizer.encode("ne"):
        matcher.advance(token)
    assert matcher.finished


def test_an_order_names_each_item_once(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    items = ("[1]", "[2]", "[10]")
    form = compiler.compile(Constraint(order_of=items))
    found = {write(form.matcher(0, 50), tokenizer, seed=seed) for seed in range(80)}
    assert found == {" > ".join(order) for order in permutations(items)}


def test_an_order_may_have_64_items(compiler: ConstraintCompiler, tokenizer: TextTokenizer) -> None:
    items = tuple(f"[{i}]" for i in range(1, 65))
    text = write(compiler.compile(Constraint(order_of=items)).matcher(0, 400), tokenizer)
    assert sorted(text.split(" > ")) == sorted(items)


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        (Constraint(regex="("), "regular expression '\\('.*unclosed group"),
        (Constraint(regex="(?=a)b"), "look-around"),
        (Constraint(regex=r"(a)\1"), "backreferences"),
        (Constraint(json_schema={"not": {"type": "string"}}), "JSON schema .*not"),
        (Constraint(json_schema={"type": "nonsense"}), "nonsense"),
        (Constraint(json_schema={"enum": []}), "[Uu]nsatisfiable"),
        (Constraint(json_schema={"const": object()}), "not JSON"),
        (Constraint(order_of=("a", "a")), "different"),
        (Constraint(order_of=()), "1 to 64"),
        (Constraint(order_of=tuple(map(str, range(65)))), "1 to 64"),
        (Constraint(regex="(", after=VERDICT), "regular expression"),
    ],
)
def test_an_unsatisfiable_constraint_is_refused_and_quoted(
    constraint: Constraint, reason: str, compiler: ConstraintCompiler
) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        compiler.compile(constraint)


def test_equal_constraints_are_compiled_once_and_have_equal_keys(
    compiler: ConstraintCompiler,
) -> None:
    def form(text: str, **fields: Any) -> Any:
        return compiler.compile(Constraint(regex=text, **fields))

    assert form("a|b") is form("a|b")
    keys = [form("a|b"), form("a|c"), form("a|b", after=VERDICT)]
    assert len({f.key for f in keys}) == 3


def test_samples_follow_separate_copies(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    form = compiler.compile(Constraint(regex="[ab]{5}"))
    first, second = form.matcher(0, 50), form.matcher(1, 50)
    first.advance(tokenizer.encode("a")[0])
    first.advance(tokenizer.encode("b")[0])
    assert len(write(second, tokenizer)) == 5
    assert len(write(first, tokenizer)) == 3


def test_a_token_that_violates_the_constraint_is_an_error(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    matcher = compiler.compile(Constraint(regex="[ab]{5}")).matcher(0, 50)
    with pytest.raises(EngineError, match="constraint"):
        matcher.advance(tokenizer.encode("c")[0])


# ----------------------------------------------------------------------------------- free text


def verdict(compiler: ConstraintCompiler, max_tokens: int = 100) -> Matcher:
    constraint = Constraint(regex="correct|incorrect", after=VERDICT)
    return compiler.compile(constraint).matcher(0, max_tokens)


@pytest.mark.parametrize("free", ["2 + 3 = 5.", "2 + 3 = 5.\n", "Verdict: I think\nit is", ""])
def test_the_label_begins_a_line_after_free_text(
    free: str, compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    tokens = iter([*tokenizer.encode(free), min(tokenizer.stop_ids)])
    text = write(verdict(compiler), tokenizer, tokens)
    line = "" if not free or free.endswith("\n") else "\n"
    if free.startswith("Verdict:"):  # which the model began itself
        assert re.fullmatch("Verdict: (in)?correct", text)
    else:
        assert re.fullmatch(re.escape(free + line) + "Verdict: (in)?correct", text)


def test_a_label_that_the_model_writes_itself_is_not_repeated(
    compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    tokens = iter(tokenizer.encode("It is 5, and no Verdict: yet.\nVerdict:"))
    text = write(verdict(compiler), tokenizer, tokens)
    assert re.fullmatch(r"It is 5, and no Verdict: yet\.\nVerdict: (in)?correct", text)


@pytest.mark.parametrize("max_tokens", [20, 21, 25, 60])
def test_free_text_ends_in_time_for_the_constrained_line(
    max_tokens: int, compiler: ConstraintCompiler, tokenizer: TextTokenizer
) -> None:
    letter = tokenizer.encode("x")[0]
    for seed in range(5):
        matcher = verdict(compiler, max_tokens)
        text = write(matcher, tokenizer, iter([letter] * 100), seed)
        assert matcher.finished
        assert re.fullmatch(r"(x+\n)?Verdict: (in)?correct", text)
        assert text.count("x") == max_tokens - VERDICT.room
        assert len(text.encode()) <= max_tokens
