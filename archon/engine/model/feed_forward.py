"""Feed-forward networks of a layer: a gated network, or a mixture of such networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.model.decoder_config import ExpertConfig
from archon.engine.model.families.traits import Activation
from archon.engine.model.linear import Linear, layer_precision, make_linear
from archon.engine.model.precision import Precision
from archon.engine.model.step_input import StepInput
from archon.engine.model.weights import GatedWeights, LayerWeights

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}


class Product(Protocol):
    """Applies a linear layer of a name, with the changes that adapters make to it."""

    def __call__(self, name: str, linear: Linear, x_NI: Tensor, step: StepInput) -> Tensor: ...


class FeedForward:
    """A gated network: down(act(gate(x)) · up(x)) (SwiGLU: Shazeer 2020, arXiv 2002.05202)."""

    def __init__(
        self,
        weights: GatedWeights,
        activation: Activation,
        precision: Precision,
        device: torch.device,
        biases: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
    ) -> None:
        def linear(name: str, weight: Tensor, bias: Tensor | None) -> Linear:
            return make_linear(weight, bias, layer_precision(name, precision), device)

        gate_bias, up_bias, down_bias = biases
        bias = None
        if gate_bias is not None and up_bias is not None:
            bias = torch.cat([gate_bias, up_bias])
        # Products that read the same input are computed as one.
        self.gate_up = linear("gate_up", torch.cat([weights.gate, weights.up]), bias)
        self.down = linear("down", weights.down, down_bias)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x_NE: Tensor, step: StepInput, product: Product) -> Tensor:
        gate_NF, up_NF = product("gate_up", self.gate_up, x_NE, step).chunk(2, dim=-1)
        return product("down", self.down, self.activation(gate_NF) * up_NF, step)


class MixtureOfExperts:
    """Many gated networks, of which a router selects a few for each token (Shazeer et al. 2017,
    arXiv 1701.06538).

    The outputs of the selected experts are weighted by their probabilities, a softmax over the
    router's scores. A shared network, if there is one, computes every token; its output is
    multiplied by a number between 0 and 1, which a second router computes.
    """

    def __init__(
        self,
        w: LayerWeights,
        config: ExpertConfig,
        activation: Activation,
        precision: Precision,
        device: torch.device,
    ) -> None:
        assert w.router is not None
        assert w.experts is not None
        self.config, self.router_XE = config, w.router.to(device)
        self.experts = [FeedForward(expert, activation, precision, device) for expert in w.experts]
        self.shared: FeedForward | None = None
        if w.network is not None:
            assert w.shared_router is not None
            self.shared = FeedForward(w.network, activation, precision, device)
            self.shared_router_1E = w.shared_router.to(device)

    def __call__(self, x_NE: Tensor, step: StepInput, product: Product) -> Tensor:
        share_NU, expert_NU = route(x_NE, self.router_XE, self.config)
        out_NE = torch.zeros_like(x_NE)
        # Experts in their order: a token's sum does not depend on the other tokens.
        for number in expert_NU.unique().tolist():
            rows, at = torch.where(expert_NU == number)
            expert_ME = self.experts[number](x_NE[rows], step, _plain_product)
            out_NE[rows] += expert_ME * share_NU[rows, at].unsqueeze(1)
        if self.shared is not None:
            share_N1 = torch.sigmoid(x_NE @ self.shared_router_1E.t())
            out_NE += share_N1 * self.shared(x_NE, step, _plain_product)
        return out_NE


def route(x_NE: Tensor, router_XE: Tensor, config: ExpertConfig) -> tuple[Tensor, Tensor]:
    """Return the shares of the experts that compute each token, and their numbers: (N, U) each."""
    probability_NX = (x_NE @ router_XE.t()).softmax(dim=-1)
    share_NU, expert_NU = probability_NX.topk(config.num_used, dim=-1)
    if config.normalises:
        share_NU = share_NU / share_NU.sum(dim=-1, keepdim=True)
    return share_NU, expert_NU


def _plain_product(name: str, linear: Linear, x_NI: Tensor, step: StepInput) -> Tensor:
    """Apply a linear layer of an expert, which adapters do not change."""
    return linear(x_NI)
