"""From a node's spec to the object that runs it."""

from __future__ import annotations

from typing import assert_never

from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.critic import Critic
from archon.graph.nodes.equations import EquationCritic, EquationVerifier
from archon.graph.nodes.fuser import Fuser
from archon.graph.nodes.generator import Generator
from archon.graph.nodes.join import Join
from archon.graph.nodes.meaning import SIMILARITY, MeaningVote
from archon.graph.nodes.pairwise import PairwiseRanker
from archon.graph.nodes.pointwise import PointwiseRanker, ThresholdVerifier
from archon.graph.nodes.program import Program, ProgramVerifier
from archon.graph.nodes.ranker import ListwiseRanker
from archon.graph.nodes.scorers import (
    ExpectedGrade,
    Likelihood,
    OwnLikelihood,
    ProbabilityOfYes,
    Reward,
)
from archon.graph.nodes.unit_tests import (
    ProgramTestEvaluator,
    ReasoningTestEvaluator,
    UnitTestGenerator,
)
from archon.graph.nodes.verifier import ReasoningVerifier
from archon.graph.nodes.vote import WEIGHTS, Vote
from archon.graph.program_execution import shared_sandbox
from archon.graph.prompts.builder import Prompt
from archon.lm.embedding import Embedder
from archon.sandbox import SandboxLimits
from archon.spec.architecture import (
    AnyNode,
    AskingNode,
    CriticNode,
    FuserNode,
    GeneratorNode,
    JoinNode,
    ProgramNode,
    RankerNode,
    UnitTestEvaluatorNode,
    UnitTestGeneratorNode,
    VerifierNode,
    VoteNode,
)


def make_asking_node(name: str, spec: AskingNode, prompt: Prompt) -> GraphNode:
    """The node of a spec that asks a model."""
    match spec:
        case GeneratorNode():
            return Generator(name, prompt, spec.samples, spec.stop_when)
        case CriticNode():
            return Critic(name, prompt)
        case RankerNode():
            return _ranker(name, spec, prompt)
        case FuserNode():
            return Fuser(name, prompt, spec.samples, spec.use_critiques)
        case VerifierNode():
            return _verifier(name, spec, prompt)
        case UnitTestGeneratorNode():
            return UnitTestGenerator(name, prompt, spec.method, spec.max_tests)
        case UnitTestEvaluatorNode():
            return ReasoningTestEvaluator(name, prompt, spec.keep)
        case _:
            assert_never(spec)


def make_node(name: str, spec: AnyNode, embedder: Embedder | None = None) -> GraphNode:
    """The node of a spec that asks none; a vote by meaning compares by the ``embedder``.

    Raises
    ------
    MissingExtraError : it runs programs, and the sandbox is not installed.
    """
    match spec:
        case VoteNode(by="meaning"):
            assert embedder is not None
            similarity = SIMILARITY if spec.similarity is None else spec.similarity
            return MeaningVote(name, embedder, similarity, WEIGHTS[spec.weight])
        case VoteNode():
            return Vote(name, WEIGHTS[spec.weight])
        case JoinNode():
            return Join()
        case RankerNode(method="likelihood"):
            return PointwiseRanker(name, OwnLikelihood(), spec.keep)
        case UnitTestEvaluatorNode(method="program"):
            return ProgramTestEvaluator(name, shared_sandbox(), spec.keep)
        case CriticNode(method="equations"):
            return EquationCritic(name)
        case VerifierNode(method="equations"):
            return EquationVerifier(name, spec.keep_first)
        case VerifierNode(method="program"):
            return ProgramVerifier(name, shared_sandbox(), spec.keep_first)
        case ProgramNode():
            limits = SandboxLimits(spec.seconds, spec.memory_bytes, spec.output_bytes)
            return Program(name, shared_sandbox(), limits)
        case _:
            raise AssertionError(f"a {spec.type} asks a model")


def _ranker(name: str, spec: RankerNode, prompt: Prompt) -> GraphNode:
    match spec.method:
        case "listwise":
            return ListwiseRanker(name, prompt, spec.keep, spec.use_critiques)
        case "pairwise":
            return PairwiseRanker(name, prompt, spec.keep, spec.use_critiques)
        case "logit":
            return PointwiseRanker(name, ExpectedGrade(prompt, spec.use_critiques), spec.keep)
        case "likelihood":
            return PointwiseRanker(name, Likelihood(prompt), spec.keep)
        case "reward":
            return PointwiseRanker(name, Reward(prompt), spec.keep)
        case _:
            assert_never(spec.method)


def _verifier(name: str, spec: VerifierNode, prompt: Prompt) -> GraphNode:
    match spec.method:
        case "reason":
            return ReasoningVerifier(name, prompt, spec.keep_first)
        case "logit":
            threshold = 0.5 if spec.threshold is None else spec.threshold
            return ThresholdVerifier(name, ProbabilityOfYes(prompt), threshold, spec.keep_first)
        case "reward":
            threshold = 0.5 if spec.threshold is None else spec.threshold
            return ThresholdVerifier(name, Reward(prompt), threshold, spec.keep_first)
        case "equations" | "program":
            raise AssertionError(f"{spec.method} asks no model")
        case _:
            assert_never(spec.method)
