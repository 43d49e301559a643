"""Families of decoders: one file for each, and the registry.

A new family is a file that declares its ``FamilyTraits``, and a row here. A feature that no family
has had so far is a new trait, which ``archon.engine.model.decoder`` and ``archon.train.decoder``
implement. The kernels implement it as well, or ``archon.engine.kernels.packing.can_pack`` refuses
it and torch computes.
"""

from collections.abc import Mapping

from archon.engine.model.families.llama import LLAMA
from archon.engine.model.families.olmo2 import OLMO2
from archon.engine.model.families.qwen2 import QWEN2
from archon.engine.model.families.qwen3 import QWEN3
from archon.engine.model.families.traits import FamilyTraits

FAMILIES: Mapping[str, FamilyTraits] = {
    traits.name: traits
    for traits in (
        LLAMA,
        QWEN2,
        QWEN3,
        OLMO2,
    )
}
"""Families by name."""
