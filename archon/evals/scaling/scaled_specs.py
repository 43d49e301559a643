"""Architectures with other numbers of samples, and the plain votes to compare them with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from archon.spec.architecture import ArchitectureSpec, GeneratorNode, ProgramNode, VoteNode


def scaled(spec: ArchitectureSpec, num_samples: int) -> ArchitectureSpec:
    """Return the architecture with this number of samples in each generator that reads only the
    question.
    """
    changed = {
        name: spec.nodes[name].model_copy(update={"samples": num_samples})
        for name in root_generators(spec)
    }
    return spec.model_copy(update={"nodes": {**spec.nodes, **changed}})


def root_generators(spec: ArchitectureSpec) -> list[str]:
    """Return the generators without inputs, in the order of the file."""
    return [
        name
        for name, node in spec.nodes.items()
        if isinstance(node, GeneratorNode) and not node.inputs
    ]


@dataclass(frozen=True)
class PooledVote:
    """A vote over samples that do not depend on each other.

    Its accuracy for k samples is a mean over all subsets of k stored samples, so one run gives the
    whole curve. An architecture whose other nodes judge or rewrite candidates is different: what a
    judge writes depends on all candidates that it reads.
    """

    generators: tuple[str, ...]
    """The generators, in the order in which the vote reads their samples."""

    @classmethod
    def of(cls, spec: ArchitectureSpec) -> PooledVote | None:
        """Return how an architecture votes, or None if it does something else.

        It must consist of generators that read the question, nodes that run programs, and one vote
        by count without conditions.
        """
        vote = spec.nodes[spec.output]
        if not isinstance(vote, VoteNode) or vote.weight != "count" or vote.by != "value":
            return None
        others = {name: node for name, node in spec.nodes.items() if name != spec.output}
        is_plain = vote.when is None and all(
            node.when is None
            and (
                isinstance(node, ProgramNode)
                or (isinstance(node, GeneratorNode) and not node.inputs and not node.stop_when)
            )
            for node in others.values()
        )
        order = tuple(dict.fromkeys(_sources(spec, spec.output)))
        return cls(order) if is_plain and set(order) == set(root_generators(spec)) else None


def _sources(spec: ArchitectureSpec, node: str) -> Iterator[str]:
    """Yield the generators whose samples reach a node, in the order of arrival."""
    if not spec.nodes[node].inputs:
        yield node
    for name in spec.nodes[node].inputs:
        yield from _sources(spec, name)


def plain_votes(spec: ArchitectureSpec) -> list[ArchitectureSpec]:
    """Return a plain vote for each generator that reads only the question.

    A node that runs the generator's programs is kept. The generator is unchanged, so the vote and
    the architecture share its samples.
    """
    found = []
    for name in root_generators(spec):
        generator = spec.nodes[name].model_copy(update={"stop_when": None})
        nodes = {name: generator}
        last = name
        for other, node in spec.nodes.items():
            if isinstance(node, ProgramNode) and node.inputs == [name] and node.when is None:
                nodes[other], last = node, other
                break
        vote = VoteNode.model_validate({"type": "vote", "inputs": [last]})
        assert isinstance(generator, GeneratorNode)
        found.append(
            spec.model_copy(
                update={
                    "name": f"{spec.name}-vote-{name}",
                    "nodes": {**nodes, _free_name(nodes): vote},
                    "output": _free_name(nodes),
                    "models": {generator.model: spec.models[generator.model]},
                    "budget": None,
                }
            )
        )
    return found


def _free_name(nodes: Collection[str]) -> str:
    name = "vote"
    while name in nodes:
        name += "_"
    return name
