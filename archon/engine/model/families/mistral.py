"""Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window in every layer."""

from archon.engine.model.families.layer_patterns import every_layer
from archon.engine.model.families.traits import PRE_NORMS, FamilyTraits

MISTRAL = FamilyTraits(
    name="mistral",
    hf_class="Mistral",
    gguf_name="",  # these files have the name of the Llama family
    norms=PRE_NORMS,
    biases={},
    sliding_layers=every_layer,
    defaults={"sliding_window": 4096},
)
