"""Hidden state of a text's last token, without sampling.

The text is computed as a prompt, in the batch with everything else and from the longest prefix in
the cache. The tokens of a finished sample are such a prefix, so reading a sample computes only its
last, partly filled block and the token that ends it.
"""

from __future__ import annotations

from torch import Tensor

from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule


def read_request(token_ids: tuple[int, ...], adapter: str = "") -> GenerationRequest:
    """A request for the hidden state of the last of these tokens, which ``hidden_state`` reads."""
    return GenerationRequest(
        prompt_ids=token_ids,
        draws=(0,),
        seed=0,
        rule=SamplingRule(),
        max_tokens=0,
        adapter=adapter,
        hidden=True,
    )


def hidden_state(generation: Generation) -> Tensor:
    """The last layer's normalised output, (E,) in float32 on the CPU, in the decoder's basis."""
    assert generation.hidden_E is not None
    return generation.hidden_E.cpu()
