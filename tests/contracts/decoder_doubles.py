"""Every implementation of the decoder protocol, for each family and precision."""

from __future__ import annotations

from dataclasses import dataclass

from counting_decoder import CountingDecoder
from engine_doubles import CPU, FAMILY_SAMPLE, FEATURED, PACKABLE, native_kernels, tiny_config
from torch import Tensor

from archon.engine.cuda.graphs import GraphedDecoder
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.decoder import Decoder
from archon.engine.model.precision import PRECISIONS, Precision
from archon.engine.model.weights import RandomWeights


@dataclass(frozen=True)
class DecoderCase:
    """One implementation of one family in one precision."""

    implementation: str
    family: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.implementation}-{self.family}-{self.precision}"

    def load(self) -> SpanDecoder:
        """A tiny decoder of random weights; skips the test if this machine has no kernels."""
        features = FEATURED.get(self.family, {})
        source = RandomWeights(tiny_config(family=self.family, **PACKABLE | features))
        if self.implementation == "kernels":
            native_kernels()
        decoder = load_decoder(source, self.precision, CPU, native=self.implementation == "kernels")
        if self.implementation == "kernels":
            assert isinstance(decoder, NativeDecoder)
            return decoder
        assert isinstance(decoder, Decoder)
        match self.implementation:
            case "padded":
                return GraphedDecoder(decoder)
            case "counting":
                return CountingDecoder(decoder)
            case _:
                return decoder

    @property
    def is_exact(self) -> bool:
        """Whether a token's numbers are the same to the bit in every batch."""
        return self.implementation == "kernels"

    @property
    def max_tokens(self) -> int:
        """Where a rounding may fall the other way in another batch, so may a later token."""
        return 8 if self.is_exact or self.precision == "float32" else 1

    def assert_same(self, found: Tensor, expected: Tensor) -> None:
        """Logits are equal, as far as this implementation promises."""
        assert found.shape == expected.shape
        bound = 0.0 if self.is_exact else 1e-4 if self.precision == "float32" else 0.1
        assert (found - expected).abs().max() <= bound * expected.abs().max()


COMPILED: tuple[Precision, ...] = ("int8", "int4", "native")
CASES = [
    *(DecoderCase("torch", f, p) for f in FAMILY_SAMPLE for p in PRECISIONS),
    *(DecoderCase("kernels", f, p) for f in FAMILY_SAMPLE for p in COMPILED),
    *(DecoderCase("padded", family, "float32") for family in FAMILY_SAMPLE),
    *(DecoderCase(kind, f, "float32") for kind in ("torch", "padded") for f in FEATURED),
    DecoderCase("counting", "qwen2", "float32"),
]
