"""Sampling and beam search with an encoder–decoder.

The source is encoded once for all samples. Then each step reads one token of every text. The keys
and values of earlier tokens are in ``GrowingKeys``, and those of the source are in ``Memory``. The
sampler, its noise and the beam search are the engine's (``archon.engine.sampling``).
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import torch
from torch import Tensor

from archon.engine.encoders.cache import GrowingKeys
from archon.engine.encoders.encoder_decoder import EncoderDecoder, Memory
from archon.engine.sampling.beam_search import BeamSearch
from archon.engine.sampling.penalties import TokenHistory
from archon.engine.sampling.request import (
    Generation,
    GenerationRequest,
    check_rule,
    sample_key,
)
from archon.engine.sampling.sampler import sample, token_logprobs, top_logprobs, uniform
from archon.engine.scheduling.sequence import Prompt, Sequence
from archon.errors import EngineError


class SequenceToSequence:
    """Generates target texts with an encoder–decoder.

    The prompt of a request is the source text without its stop token.

    Parameters
    ----------
    model_id
        Digest of the weights, which is part of every sample's key.
    """

    def __init__(self, model: EncoderDecoder, model_id: str = "") -> None:
        self.model, self.model_id = model, model_id

    @torch.inference_mode()
    def generate(self, request: GenerationRequest) -> list[Generation]:
        """Return the request's samples in order.

        Raises
        ------
        EngineError
            The request is invalid, or has a constraint.
        """
        self._validate(request)
        memory = self._memory(request.prompt_ids)
        keys = GrowingKeys(self.model.config.num_decoder_layers)
        return (self._search if request.beams else self._sample)(request, memory, keys)

    def _validate(self, request: GenerationRequest) -> None:
        if not request.draws or request.max_tokens < 1:
            raise EngineError("a request needs at least one sample and a max_tokens of at least 1")
        if any(not 0 <= t < self.model.config.vocab_size for t in request.prompt_ids):
            raise EngineError(
                "a token id of the prompt is not in the vocabulary of "
                f"{self.model.config.vocab_size} tokens"
            )
        check_rule(request, self.model.config.vocab_size)
        if request.beams and len(request.draws) > request.beams:
            raise EngineError(
                f"a beam search with {request.beams} beams cannot return {len(request.draws)} "
                "samples: use at least one beam per sample"
            )
        if request.constraint is not None:
            raise EngineError("an encoder–decoder does not support constraints")

    def _memory(self, source: tuple[int, ...]) -> Memory:
        source_1S = torch.tensor([[*source, self.model.config.stop_id]])
        is_token_1S = torch.ones_like(source_1S, dtype=torch.bool)
        return self.model.memory(self.model.encode(source_1S, is_token_1S), is_token_1S)

    def _logits(self, texts: list[Sequence], memory: Memory, keys: GrowingKeys) -> Tensor:
        """Compute the next-token logits of texts of the same length: (B, V).

        The last token of each text is not in the cache yet.
        """
        position = len(texts[0].token_ids)
        last = [t.token_ids[-1] if position else self.model.config.start_id for t in texts]
        return self.model.decode(torch.tensor(last)[:, None], memory, keys, position)[:, -1]

    def _sample(
        self, request: GenerationRequest, memory: Memory, keys: GrowingKeys
    ) -> list[Generation]:
        """Sample all texts in one batch, from which each text is removed when it ends."""
        prompt = Prompt(request)
        texts = list(prompt.waiting)
        for text in texts:
            text.sample_key = sample_key(request, request.draws[text.index], self.model_id)
            if request.rule.has_penalty:  # of the text only, since the source is another text
                text.history = TokenHistory(())
        running = texts
        while running:
            logits_BV = self._logits(running, memory, keys)
            noise = [uniform(text.sample_key, len(text.token_ids)) for text in running]
            histories = [text.history for text in running]
            rules = [request.rule] * len(running)
            tokens = sample(logits_BV.unbind(), rules, noise, histories)
            logprobs = token_logprobs(logits_BV, torch.tensor(tokens)).tolist()
            likeliest = top_logprobs(logits_BV, request.top_logprobs)
            for row, (text, token) in enumerate(zip(running, tokens, strict=True)):
                text.add_sampled(token)
                if text.ended_by is None:
                    text.logprobs.append(logprobs[row])
                    text.top_logprobs.append(likeliest[row])
            rows = [row for row, text in enumerate(running) if text.ending is None]
            if len(rows) < len(running):
                running = [running[row] for row in rows]
                keys.select(rows)
        return [self._generation(request, text) for text in texts]

    def _search(
        self, request: GenerationRequest, memory: Memory, keys: GrowingKeys
    ) -> list[Generation]:
        """Run a beam search; each beam is a row of the cache."""
        search = BeamSearch(request)
        beams = [Sequence(Prompt(request), 0)]
        while running := search.advance(beams, self._logits(beams, memory, keys)):
            keys.select([continuation.beam for continuation in running])
            children = [beams[continuation.beam].copy() for continuation in running]
            for child, continuation in zip(children, running, strict=True):
                child.append(continuation.token)
                child.logprobs.append(continuation.logprob)
                child.total_logprob = continuation.total_logprob
            beams = children
        return search.results(num_cached=0)

    @staticmethod
    def _generation(request: GenerationRequest, text: Sequence) -> Generation:
        return Generation(
            draw=request.draws[text.index],
            token_ids=tuple(text.token_ids),
            logprobs=tuple(text.logprobs) if request.logprobs else None,
            finish_reason=text.ending or "length",
            # All samples share the encoded source; it counts as computed for the first one.
            cached_tokens=len(request.prompt_ids) if text.index else 0,
            ended_by=text.ended_by,
            top_logprobs=tuple(text.top_logprobs) if request.top_logprobs else None,
        )


@torch.inference_mode()
def greedy_texts(
    model: EncoderDecoder, sources: SequenceOf[SequenceOf[int]], max_tokens: int
) -> list[list[int]]:
    """Decode many sources greedily in one batch; return the target texts without stop tokens.

    Parameters
    ----------
    sources
        Token ids of the sources, without stop tokens.
    """
    config = model.config
    longest = max(map(len, sources)) + 1
    rows = [[*s, config.stop_id, *[config.start_id] * (longest - len(s) - 1)] for s in sources]
    source_BS = torch.tensor(rows)
    lengths_B = torch.tensor([len(source) + 1 for source in sources])
    is_token_BS = torch.arange(longest)[None, :] < lengths_B[:, None]
    memory = model.memory(model.encode(source_BS, is_token_BS), is_token_BS)

    keys = GrowingKeys(config.num_decoder_layers)
    last_B1 = torch.full((len(sources), 1), config.start_id)
    columns = []
    ended_B = torch.zeros(len(sources), dtype=torch.bool)
    for position in range(max_tokens):
        last_B1 = model.decode(last_B1, memory, keys, position)[:, -1].argmax(-1, keepdim=True)
        columns.append(last_B1)
        ended_B |= last_B1[:, 0] == config.stop_id
        if bool(ended_B.all()):
            break
    texts = torch.cat(columns, dim=1).tolist()
    return [t[: t.index(config.stop_id)] if config.stop_id in t else t for t in texts]
