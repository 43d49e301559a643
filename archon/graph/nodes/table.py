"""From a node's spec to the object that runs it."""

from __future__ import annotations

from typing import assert_never

from archon.graph.checks import AskingNode
from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.critic import Critic
from archon.graph.nodes.fuser import Fuser
from archon.graph.nodes.generator import Generator
from archon.graph.nodes.join import Join
from archon.graph.nodes.ranker import ListwiseRanker
from archon.graph.nodes.verifier import ReasoningVerifier
from archon.graph.nodes.vote import Vote
from archon.graph.prompts.builder import Prompt
from archon.spec.architecture import (
    CriticNode,
    FuserNode,
    GeneratorNode,
    JoinNode,
    RankerNode,
    VerifierNode,
    VoteNode,
)


def make_asking_node(name: str, spec: AskingNode, prompt: Prompt) -> GraphNode:
    """The node of a spec that asks a language model."""
    match spec:
        case GeneratorNode():
            return Generator(name, prompt, spec.samples)
        case CriticNode():
            return Critic(name, prompt)
        case RankerNode():
            return ListwiseRanker(name, prompt, spec.keep, spec.use_critiques)
        case FuserNode():
            return Fuser(name, prompt, spec.samples, spec.use_critiques)
        case VerifierNode():
            return ReasoningVerifier(name, prompt, spec.keep_first)
        case _:
            assert_never(spec)


def make_node(name: str, spec: VoteNode | JoinNode) -> GraphNode:
    """The node of a spec that asks none."""
    match spec:
        case VoteNode():
            return Vote(name)
        case JoinNode():
            return Join()
        case _:
            assert_never(spec)
