"""Penalties for tokens that were used before, and biases of single tokens.

Both change the logits before anything else, also for greedy decoding. The order is that of vLLM and
llama.cpp. For a token that occurs c times in the sample, a logit l becomes

1. l + its bias;
2. l / r if l > 0, else l · r, with the repetition penalty r, if prompt or sample contain the token
   (Keskar et al. 2019, arXiv 1909.05858);
3. l − c · f − [c > 0] · p, with the frequency penalty f and the presence penalty p.

``sample.cpp`` does the same for the compiled kernels.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from archon.engine.sampling.sampler import SamplingRule


class TokenHistory:
    """Distinct tokens of a prompt and of the sample after it, with their counts in the sample.

    Parameters
    ----------
    prompt_ids
        Tokens of the prompt, to which the repetition penalty applies.
    """

    def __init__(self, prompt_ids: Iterable[int]) -> None:
        self.tokens = array("i", dict.fromkeys(prompt_ids))
        """Distinct tokens, in the order of their first appearance."""
        self.counts = array("i", bytes(4 * len(self.tokens)))
        """How often the sample contains each of ``tokens``."""
        self._index = {token: index for index, token in enumerate(self.tokens)}

    def add(self, token: int) -> None:
        """Count a token of the sample."""
        index = self._index.setdefault(token, len(self.tokens))
        if index == len(self.tokens):
            self.tokens.append(token)
            self.counts.append(0)
        self.counts[index] += 1


Histories = SequenceOf[TokenHistory | None]


def penalized(logits_BV: Tensor, rules: SequenceOf[SamplingRule], histories: Histories) -> Tensor:
    """Return a copy of the logits with the biases and penalties of each row.

    Parameters
    ----------
    logits_BV
        Next-token logits, float32.
    rules
        Rule of each row.
    histories
        History of each row whose rule has a penalty; None for other rows.
    """
    logits_BV, device = logits_BV.clone(), logits_BV.device
    biased = [(row, token) for row, rule in enumerate(rules) for token, _ in rule.logit_bias]
    if biased:
        at = torch.tensor(biased, device=device).unbind(dim=1)
        biases = [bias for rule in rules for _, bias in rule.logit_bias]
        logits_BV[at] += torch.tensor(biases, device=device)
    used = [
        (row, rule, history)
        for row, (rule, history) in enumerate(zip(rules, histories, strict=True))
        if history is not None and rule.has_penalty
    ]
    if used:
        # One entry per row and distinct token, of all rows together.
        lengths = torch.tensor([len(history.tokens) for _, _, history in used])
        rows_N = torch.tensor([row for row, _, _ in used]).repeat_interleave(lengths).to(device)
        tokens_N = _joined(history.tokens for _, _, history in used).to(device)
        counts_N = _joined(history.counts for _, _, history in used).to(device)
        penalties = [
            (rule.repetition_penalty, rule.frequency_penalty, rule.presence_penalty)
            for _, rule, _ in used
        ]
        penalties_3N = torch.tensor(penalties).repeat_interleave(lengths, dim=0).T.to(device)
        at = rows_N, tokens_N
        logits_BV[at] = _penalize(logits_BV[at], counts_N, *penalties_3N)
    return logits_BV


def _penalize(
    logits_N: Tensor,
    counts_N: Tensor,
    repetition_N: Tensor,
    frequency_N: Tensor,
    presence_N: Tensor,
) -> Tensor:
    logits_N = torch.where(logits_N > 0, logits_N / repetition_N, logits_N * repetition_N)
    return logits_N - counts_N * frequency_N - (counts_N > 0) * presence_N


def _joined(numbers: Iterable[array[int]]) -> Tensor:
    return torch.cat([torch.tensor(one, dtype=torch.int64) for one in numbers])
