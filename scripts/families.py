"""Write ``docs/models.md``, the table of model families, from their traits in the code.

Run ``python scripts/families.py`` after a change of ``archon/engine/model/families``. The page is
in the repository so that it can be read there; a test fails while this script writes another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archon.engine.kernels.packing import supports_family
from archon.engine.model.families import FAMILIES
from archon.engine.model.families.traits import FamilyTraits

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
START = """\
<!-- Written by scripts/families.py from archon/engine/model/families. Do not edit. -->

# Model families

The decoders that Archon's engine computes: transformers with RMSNorm, rotary embeddings,
grouped-query attention and gated feed-forward networks. `model_type` is a key of a folder's
`config.json`, the architecture is `general.architecture` of a GGUF file. Every family runs in all
precisions. Where the last column names the compiled kernels, they compute `int8`, `int4` and
`native` on a CPU, unless the shape of the model does not fit; torch computes the rest. Rotary
scaling (`linear`, `llama3`, `yarn`, `longrope`) works for every family, `dynamic` up to the
model's context.

Other families are computed by [the transformers library][fallback]. [Model files][files] says which
files load.

[fallback]: guides/models.md#families-that-the-engine-does-not-have
[files]: guides/model-files.md

"""
HEADS = ("`model_type`", "GGUF architecture", "class", "features", "on a CPU")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page as Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *(row(name, t) for name, t in FAMILIES.items())]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{START}{table}\n"


def row(name: str, traits: FamilyTraits) -> tuple[str, ...]:
    """Return the row of a family."""
    return (
        f"`{name}`",
        f"`{traits.architecture or 'llama'}`",
        traits.hf_class,
        "; ".join(features(traits)),
        "compiled kernels" if supports_family(traits) else "torch",
    )


def features(traits: FamilyTraits) -> Iterator[str]:
    """Yield the features of a family in words."""
    places = {"attention_norm_E": "before", "attention_post_norm_E": "after"}
    norms = " and ".join(place for field, place in places.items() if field in traits.norms)
    yield f"norms {norms} each sublayer"
    if traits.qk_norm != "none":
        yield f"norms of queries and keys per {traits.qk_norm}"
    yield {"silu": "SwiGLU", "gelu_tanh": "GeGLU (tanh)"}[traits.activation]
    if traits.experts:
        shared = " and a shared network" if "shared_gate" in traits.experts else ""
        yield f"experts{shared}"
    if traits.biases:
        parts = [field.removesuffix("_bias") for field in traits.biases]
        yield f"biases {'always' if traits.always_biased else 'optional'}: {', '.join(parts)}"
    if traits.linears["q"] == traits.linears["k"]:
        yield "fused projections"
    if traits.sliding_layers is not None:
        opt_in = " if `use_sliding_window`" if traits.window_is_opt_in else ""
        yield f"sliding windows{opt_in}"
    if traits.local_rope_base is not None:
        yield "two rotary bases"
    if traits.partial_rope:
        yield "partial RoPE"
    if traits.nope_interval:
        yield f"no RoPE in each {traits.nope_interval}th layer"
    if traits.scales_embedding:
        yield "scaled embeddings"
    if traits.multipliers:
        yield "multipliers"
    if traits.softcaps:
        yield "bounded " + " and ".join(
            {"attention_softcap": "scores", "logit_softcap": "logits"}[name]
            for name in traits.softcaps
        )


if __name__ == "__main__":
    main()
