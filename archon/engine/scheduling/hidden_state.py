"""Hidden state of a text's last token, without sampling.

The text is computed like a prompt: in one batch with all other work, starting after its longest
cached prefix. The full blocks of a finished sample are usually still in the cache. To get its
hidden state, only the tokens after these blocks are computed, including the stop token.
"""

from __future__ import annotations

from torch import Tensor

from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule


def hidden_state_request(token_ids: tuple[int, ...], adapter: str = "") -> GenerationRequest:
    """Return a request for the hidden state of a text's last token.

    ``hidden_state`` returns the state from the resulting ``Generation``.
    """
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
    """Return the last layer's normalised output for the last token, on the CPU.

    Its shape is (E,), its type float32; it is in the basis of the decoder's weights.
    """
    assert generation.hidden_E is not None
    return generation.hidden_E.cpu()
