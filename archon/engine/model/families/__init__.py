"""Registry of the families of decoders, each of which has a module.

To add a family, declare its ``FamilyTraits`` in a module and add it here. A new feature needs a new
trait or a new field of ``DecoderConfig``, implemented in ``archon.engine.model.decoder`` and
``archon.train.decoder``. If the CPU kernels do not implement it,
``archon.engine.kernels.packing.can_pack`` must return False for the model; the engine then computes
in torch.
"""

from collections.abc import Mapping

from archon.engine.model.families.gemma2 import GEMMA2
from archon.engine.model.families.gemma3 import GEMMA3
from archon.engine.model.families.granite import GRANITE
from archon.engine.model.families.llama import LLAMA
from archon.engine.model.families.mistral import MISTRAL
from archon.engine.model.families.olmo2 import OLMO2
from archon.engine.model.families.phi3 import PHI3
from archon.engine.model.families.qwen2 import QWEN2
from archon.engine.model.families.qwen2_moe import QWEN2_MOE
from archon.engine.model.families.qwen3 import QWEN3
from archon.engine.model.families.qwen3_moe import QWEN3_MOE
from archon.engine.model.families.smollm3 import SMOLLM3
from archon.engine.model.families.traits import FamilyTraits

_ALL = (
    LLAMA, MISTRAL, QWEN2, QWEN3, QWEN2_MOE, QWEN3_MOE, GEMMA2, GEMMA3, PHI3, SMOLLM3, GRANITE,
    OLMO2,
)  # fmt: skip

FAMILIES: Mapping[str, FamilyTraits] = {traits.name: traits for traits in _ALL}
"""Families by name."""
GGUF_FAMILIES: Mapping[str, FamilyTraits] = {t.architecture: t for t in _ALL if t.architecture}
"""Families by ``general.architecture`` of GGUF files."""
