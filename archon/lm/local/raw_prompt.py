"""Raw prompts, which a decoder continues without a chat template.

A raw prompt is written for the model: names of control tokens in it, such as ``<|im_start|>``, are
control tokens. Only the text of messages is protected from them (``content_mask``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from archon.engine.sampling.request import Generation
from archon.engine.scheduling.choices import score_request
from archon.engine.worker import EngineWorker
from archon.errors import UnsupportedError
from archon.lm.local.tokenizer import TextTokenizer
from archon.types import PromptToken, RawPrompt, TokenLogprob

TokenText = Callable[[int], bytes]


def encode_raw(
    prompt: RawPrompt, tokenizer: TextTokenizer, begin_ids: tuple[int, ...], vocab_size: int
) -> tuple[int, ...]:
    """Return the token ids of a raw prompt.

    Parameters
    ----------
    begin_ids
        Tokens that begin each text of the model.

    Raises
    ------
    UnsupportedError
        The prompt has no tokens, a token id is not in the vocabulary, or the text is not valid
        Unicode.
    """
    if prompt.token_ids is None:
        try:
            prompt.text.encode()
        except UnicodeEncodeError:
            reason = "the text contains half of a surrogate pair, which is not valid Unicode"
            raise UnsupportedError(f"{reason}; remove it", field="prompt") from None
        ids = tuple(tokenizer.encode_template(prompt.text))
        if prompt.add_special_tokens and ids[: len(begin_ids)] != begin_ids:
            ids = (*begin_ids, *ids)
    else:
        ids = prompt.token_ids
    if not ids:
        raise UnsupportedError("it is empty; send at least one token", field="prompt")
    for token in ids:
        if not 0 <= token < vocab_size:
            reason = f"the token id {token} is not in the vocabulary"
            raise UnsupportedError(f"{reason} of {vocab_size} tokens", field="prompt")
    return ids


def token_text(tokenizer: TextTokenizer) -> TokenText:
    """Return a function from a token's id to its text, in which control tokens have names."""
    controls = tokenizer.control_ids

    def text(token: int) -> bytes:
        return (
            tokenizer.tokens[token].encode() if token in controls else tokenizer.token_bytes(token)
        )

    return text


async def score_prompt(
    worker: EngineWorker, ids: tuple[int, ...], count: int, text: TokenText, adapter: str
) -> tuple[PromptToken, ...]:
    """Return the log-probability of each token of a prompt after the tokens before it.

    The first token is the engine's prompt, and the others are forced (``score_request``), so the
    prompt shares steps with all other work, and a step has the logits of a bounded number of
    tokens.

    Parameters
    ----------
    count
        Number of likeliest tokens to return at each position.
    """
    first = PromptToken(text(ids[0]), ids[0], None)
    if len(ids) == 1:
        return (first,)
    scored = await _score(worker, ids[:1], ids[1:], count, adapter)
    return (first, *_scored_tokens(scored, text))


async def score_after(
    worker: EngineWorker, ids: tuple[int, ...], token: int, count: int, adapter: str
) -> Generation:
    """Return the log-probability of one token after others, which are probably cached."""
    return await _score(worker, ids, (token,), count, adapter)


async def _score(
    worker: EngineWorker, before: tuple[int, ...], ids: tuple[int, ...], count: int, adapter: str
) -> Generation:
    request = replace(score_request(before, [ids]), top_logprobs=count, adapter=adapter)
    [scored] = await worker.generate(request)
    return scored


def _scored_tokens(scored: Generation, text: TokenText) -> list[PromptToken]:
    """Convert forced tokens to tokens of a prompt."""
    assert scored.logprobs is not None
    top: Sequence[Sequence[tuple[int, float]]] = scored.top_logprobs or [()] * len(scored.logprobs)
    return [
        PromptToken(
            text(token),
            token,
            logprob,
            tuple(TokenLogprob(value, other, text(other)) for other, value in likeliest),
        )
        for token, logprob, likeliest in zip(scored.token_ids, scored.logprobs, top, strict=True)
    ]
