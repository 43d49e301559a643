"""Registry of the families of decoders, each of which has a module.

To add a family, declare its ``FamilyTraits`` in a module and add it here. A new feature needs a new
trait, implemented in ``archon.engine.model.decoder`` and ``archon.train.decoder``. If the CPU
kernels do not implement it, ``archon.engine.kernels.packing.can_pack`` must return False for the
family; the engine then computes in torch.
"""

from collections.abc import Mapping

from archon.engine.model.families.llama import LLAMA
from archon.engine.model.families.olmo2 import OLMO2
from archon.engine.model.families.qwen2 import QWEN2
from archon.engine.model.families.qwen3 import QWEN3
from archon.engine.model.families.traits import FamilyTraits

FAMILIES: Mapping[str, FamilyTraits] = {t.name: t for t in (LLAMA, QWEN2, QWEN3, OLMO2)}
"""Families by name."""
