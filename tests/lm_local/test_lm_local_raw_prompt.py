"""Raw prompts: their token ids, the log-probabilities of their tokens, and their continuations."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from archon.engine.perplexity import perplexity
from archon.errors import ContextLengthError, UnsupportedError
from archon.lm.base import NO_THINKING
from archon.lm.local.lm import LocalLM, load
from archon.spec.model import LocalCard
from archon.types import Completion, Message, RawPrompt, Request, SamplingParams

CONTEXT = 96
END = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama model whose tokenizer puts ``<s>`` before each text."""
    path = tmp_path_factory.mktemp("raw") / "llama"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": END} | {letter: i + 2 for i, letter in enumerate(letters)}
    pieces = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    pieces.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer(tokenizer_object=pieces, bos_token="<s>", eos_token="</s>").save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT,
        bos_token_id=0, eos_token_id=END, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def lm(folder: Path) -> Iterator[LocalLM]:
    card = {"name": "m", "backend": "local", "sources": [{"path": str(folder)}]}
    opened = load(LocalCard.model_validate({**card, "precision": "float32"}), folder)
    yield opened
    asyncio.run(opened.aclose())


def reference(folder: Path, ids: list[int]) -> torch.Tensor:
    """Return transformers' log-probabilities of each token after the tokens before it."""
    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logprobs_TV: torch.Tensor = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return logprobs_TV[:-1]


def scoring(prompt: RawPrompt, **sampling: Any) -> Request:
    params = SamplingParams(**{"max_tokens": 0, "temperature": 0.0, **sampling})
    return Request((), prompt=prompt, prompt_logprobs=True, sampling=params)


async def scored(lm: LocalLM, prompt: RawPrompt, **sampling: Any) -> Completion:
    [completion] = await lm.generate(scoring(prompt, **sampling))
    return completion


async def test_the_log_probabilities_of_a_batch_of_prompts_are_those_of_transformers(
    lm: LocalLM, folder: Path
) -> None:
    prompts = [RawPrompt(f"Prompt {k}: ü " + "ab " * (k % 20)) for k in range(64)]
    found = await asyncio.gather(*(scored(lm, one, top_logprobs=3) for one in prompts))
    for completion in found[:6]:
        tokens = completion.scored_prompt
        assert tokens is not None
        ids = [token.token_id for token in tokens]
        logprobs_TV = reference(folder, ids)
        assert tokens[0].logprob is None
        for token, logprobs_V in zip(tokens[1:], logprobs_TV, strict=True):
            assert token.logprob == pytest.approx(float(logprobs_V[token.token_id]), abs=1e-4)
            likeliest = [one.logprob for one in token.top_logprobs]
            assert likeliest == pytest.approx(logprobs_V.topk(3).values.tolist(), abs=1e-4)
    decoder = lm.worker.engine.decoder
    ids = [token.token_id for token in found[-1].scored_prompt or ()]
    values = [token.logprob or 0.0 for token in found[-1].scored_prompt or ()]
    mean = sum(values) / (len(values) - 1)
    assert math.exp(-mean) == pytest.approx(perplexity(decoder, ids), rel=1e-4)


async def test_a_prompt_has_its_first_token_once_and_its_control_tokens(lm: LocalLM) -> None:
    async def ids(text: str, **options: bool) -> list[int]:
        completion = await scored(lm, RawPrompt(text, **options))
        return [token.token_id for token in completion.scored_prompt or ()]

    plain = await ids("hi", add_special_tokens=False)
    assert await ids("hi") == await ids("<s>hi") == [0, *plain]
    assert await ids("hi</s>") == [0, *plain, END]
    completion = await scored(lm, RawPrompt("<s>"))
    assert [t.text for t in completion.scored_prompt or ()] == [b"<s>"]
    chat = lm.chat.encode([Message("user", "<s>hi")])
    assert chat.count(0) == 1  # in a message, the name is text


async def test_a_token_that_ends_a_text_has_a_log_probability(lm: LocalLM, folder: Path) -> None:
    ends = ((END, 100.0),)
    request = scoring(RawPrompt("hi"), max_tokens=1, top_logprobs=1, logit_bias=ends)
    [completion] = await lm.generate(request)
    assert (completion.text, completion.finish_reason) == ("", "stop")
    assert completion.token_ids == (END,)
    assert completion.usage.completion_tokens == 0
    assert completion.logprobs is not None
    ids = [token.token_id for token in completion.scored_prompt or ()]
    expected = float(reference(folder, [*ids, END])[-1][END])
    assert completion.logprobs == pytest.approx([expected], abs=1e-4)
    assert len(completion.top_logprobs or ()) == 1


async def test_a_prompt_may_fill_the_context_and_not_exceed_it(lm: LocalLM) -> None:
    full = RawPrompt(token_ids=tuple([5] * CONTEXT))
    completion = await scored(lm, full)
    assert len(completion.scored_prompt or ()) == completion.usage.prompt_tokens == CONTEXT
    with pytest.raises(ContextLengthError, match=f"{CONTEXT} prompt tokens and up to 1 new"):
        await scored(lm, full, max_tokens=1)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (RawPrompt(token_ids=()), "empty"),
        (RawPrompt("", add_special_tokens=False), "empty"),
        (RawPrompt(token_ids=(3, 5000)), "token id 5000 is not in the vocabulary"),
        (RawPrompt("\ud800"), "surrogate"),
    ],
)
async def test_an_invalid_prompt_is_an_error(lm: LocalLM, prompt: RawPrompt, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason) as caught:
        await scored(lm, prompt)
    assert caught.value.field == "prompt"


async def test_samples_of_a_raw_prompt_are_not_stored_and_do_not_reason(lm: LocalLM) -> None:
    request = scoring(RawPrompt("<think>"), max_tokens=5)
    assert lm.draw_key(request) is None
    [completion] = await lm.generate(request)
    assert completion.reasoning == ""
    assert request.thinking == NO_THINKING
