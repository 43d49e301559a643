"""An example plug-in of Archon. Everything is registered when this module is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

import archon
from archon.graph.nodes.plugin import NodeModel, NodeTools


class ShortestParameters(BaseModel):
    """The keys of a ``shortest`` node."""

    keep: int = Field(1, ge=1, description="Number of candidates to keep.")


@archon.node("shortest", keeps="keep")
def shortest(
    candidates: list[archon.Candidate], parameters: ShortestParameters
) -> list[archon.Candidate]:
    """Keeps the shortest candidates that state a value."""
    answering = [candidate for candidate in candidates if candidate.value is not None]
    ordered = sorted(answering or candidates, key=lambda candidate: len(candidate.text))
    return ordered[: parameters.keep]


@archon.node(
    "doubt",
    prompt="{question}\n\nA proposed answer:\n\n{candidates}\n\nIs it wrong? Reply yes or no.",
    calls=lambda parameters, num_candidates: num_candidates,
    shown=1,
    effects=["scores"],
)
async def doubt(
    candidates: list[archon.Candidate], model: NodeModel, node: NodeTools
) -> list[archon.Candidate]:
    """Asks the model about each candidate whether it is wrong, and scores it."""
    scored = []
    for candidate in candidates:
        reply = await model.ask(candidates=[candidate])
        is_wrong = reply.text.strip().lower().startswith("yes")
        scored.append(node.score(candidate, 0.0 if is_wrong else 1.0, reason=reply.text))
    return scored


class LengthParameters(BaseModel):
    """The parameters of the scorer ``at-most``."""

    words: int = Field(100, ge=1, description="Maximum number of words.")


@archon.scorer("at-most")
def at_most(text: str, parameters: LengthParameters) -> archon.Score:
    """1 if the answer has at most the given number of words."""
    count = len(text.split())
    return archon.Score(float(count <= parameters.words), metrics={"words": count})


archon.prompt_template(
    "teacher",
    file=Path(__file__).with_name("teacher.txt"),
    description="Each step is explained as to a pupil.",
)


@archon.benchmark("doubles", answer="number")
def doubles() -> Iterator[dict[str, object]]:
    """Doubles of the numbers up to 60."""
    for number in range(60):
        yield {"question": f"What is {number} + {number}?", "answer": 2 * number}
