"""Archon: inference-time architectures on local language models.

::

    import archon

    answer = archon.load("self-consistency").run("What is 17 * 23?")
    print(answer.text, answer.value, answer.cost_tokens)

``__all__`` lists the public API. Each name is imported on first use, so ``import archon`` is fast
and needs no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archon.api import (
        BenchmarkChoice,
        ModelChoices,
        Servable,
        acompare,
        aevaluate,
        asearch,
        compare,
        evaluate,
        load,
        search,
        serve,
    )
    from archon.errors import (
        ArchonError,
        BudgetError,
        ContextLengthError,
        EngineError,
        FileError,
        GraphError,
        LMError,
        MissingExtraError,
        ModelError,
        ModelFileError,
        NodeError,
        ScoringError,
        SpecError,
        StorageError,
        UnsupportedError,
        UsageError,
    )
    from archon.evals.benchmarks.function import PythonBenchmark, ScoreFunction
    from archon.evals.costs import Cost
    from archon.evals.failures import Cause, MaxErrors
    from archon.evals.groups import Group
    from archon.evals.journal import Entry
    from archon.evals.metrics import Metric
    from archon.evals.pass_at_k import CurvePoint
    from archon.evals.planned_comparison import Comparison
    from archon.evals.records import Draw, Points, Record
    from archon.evals.report import Report
    from archon.evals.run import Run, read_run
    from archon.evals.runner import EvalProgress, OnProgress
    from archon.evals.scorers import ScorerOption
    from archon.evals.scorers.declaration import Score
    from archon.evals.statistics import Interval
    from archon.graph.answer import Answer
    from archon.graph.architecture import Architecture
    from archon.graph.building import GraphBuilder
    from archon.graph.loading import ModelChoice
    from archon.graph.trace import CallTrace, NodeTrace, Trace
    from archon.lm.base import LM
    from archon.lm.compute import ModelUsage
    from archon.lm.custom.choice import CustomModel
    from archon.plugins.decorators import benchmark, node, prompt_template, provider, scorer
    from archon.serve.server import Server
    from archon.spec.reader import Reference
    from archon.study.result import SearchResult
    from archon.study.search_config import OnStudyEvent
    from archon.study.space import Space
    from archon.train.running import TrainingResult, train
    from archon.types import (
        Annotation,
        AnnotationKind,
        AnswerKind,
        Candidate,
        CandidateId,
        Completion,
        Constraint,
        Event,
        Example,
        FinishReason,
        FreeText,
        Hold,
        Limit,
        Message,
        NodeDelta,
        NodeFinished,
        NodeStarted,
        OnEvent,
        PromptToken,
        Question,
        RawPrompt,
        Request,
        Role,
        SamplingParams,
        Thinking,
        TokenDelta,
        TokenLogprob,
        Tool,
        ToolCall,
        ToolChoice,
        UnitTest,
        Usage,
    )

__all__ = [
    "LM",
    "Annotation",
    "AnnotationKind",
    "Answer",
    "AnswerKind",
    "Architecture",
    "ArchonError",
    "BenchmarkChoice",
    "BudgetError",
    "CallTrace",
    "Candidate",
    "CandidateId",
    "Cause",
    "Comparison",
    "Completion",
    "Constraint",
    "ContextLengthError",
    "Cost",
    "CurvePoint",
    "CustomModel",
    "Draw",
    "EngineError",
    "Entry",
    "EvalProgress",
    "Event",
    "Example",
    "FileError",
    "FinishReason",
    "FreeText",
    "GraphBuilder",
    "GraphError",
    "Group",
    "Hold",
    "Interval",
    "LMError",
    "Limit",
    "MaxErrors",
    "Message",
    "Metric",
    "MissingExtraError",
    "ModelChoice",
    "ModelChoices",
    "ModelError",
    "ModelFileError",
    "ModelUsage",
    "NodeDelta",
    "NodeError",
    "NodeFinished",
    "NodeStarted",
    "NodeTrace",
    "OnEvent",
    "OnProgress",
    "OnStudyEvent",
    "Points",
    "PromptToken",
    "PythonBenchmark",
    "Question",
    "RawPrompt",
    "Record",
    "Reference",
    "Report",
    "Request",
    "Role",
    "Run",
    "SamplingParams",
    "Score",
    "ScoreFunction",
    "ScorerOption",
    "ScoringError",
    "SearchResult",
    "Servable",
    "Server",
    "Space",
    "SpecError",
    "StorageError",
    "Thinking",
    "TokenDelta",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "Trace",
    "TrainingResult",
    "UnitTest",
    "UnsupportedError",
    "Usage",
    "UsageError",
    "acompare",
    "aevaluate",
    "asearch",
    "benchmark",
    "compare",
    "evaluate",
    "graph",
    "lm",
    "load",
    "node",
    "prompt_template",
    "provider",
    "read_run",
    "scorer",
    "search",
    "serve",
    "train",
]

for _package in ("graph", "lm", "serve", "train"):
    # A later import of the package would replace the function of the same name.
    importlib.import_module(f"archon.{_package}")
    globals().pop(_package)

_NAMES_BY_MODULE = {
    "archon.api": """
        BenchmarkChoice ModelChoices Servable acompare aevaluate asearch compare evaluate load
        search serve
    """,
    "archon.errors": """
        ArchonError BudgetError ContextLengthError EngineError FileError GraphError LMError
        MissingExtraError ModelError ModelFileError NodeError ScoringError SpecError StorageError
        UnsupportedError UsageError
    """,
    "archon.evals.benchmarks.function": "PythonBenchmark ScoreFunction",
    "archon.evals.costs": "Cost",
    "archon.evals.failures": "Cause MaxErrors",
    "archon.evals.groups": "Group",
    "archon.evals.journal": "Entry",
    "archon.evals.metrics": "Metric",
    "archon.evals.pass_at_k": "CurvePoint",
    "archon.evals.planned_comparison": "Comparison",
    "archon.evals.records": "Draw Points Record",
    "archon.evals.report": "Report",
    "archon.evals.run": "Run read_run",
    "archon.evals.runner": "EvalProgress OnProgress",
    "archon.evals.scorers": "ScorerOption",
    "archon.evals.scorers.declaration": "Score",
    "archon.evals.statistics": "Interval",
    "archon.graph.answer": "Answer",
    "archon.graph.architecture": "Architecture",
    "archon.graph.building": "GraphBuilder",
    "archon.graph.loading": "ModelChoice",
    "archon.graph.trace": "CallTrace NodeTrace Trace",
    "archon.lm.base": "LM",
    "archon.plugins.decorators": "benchmark node prompt_template provider scorer",
    "archon.lm.compute": "ModelUsage",
    "archon.lm.custom.choice": "CustomModel",
    "archon.serve.server": "Server",
    "archon.spec.reader": "Reference",
    "archon.study.result": "SearchResult",
    "archon.study.search_config": "OnStudyEvent",
    "archon.study.space": "Space",
    "archon.train.running": "TrainingResult train",
    "archon.types": """
        Annotation AnnotationKind AnswerKind Candidate CandidateId Completion Constraint Event
        Example FinishReason FreeText Hold Limit Message NodeDelta NodeFinished NodeStarted
        OnEvent Question Request Role SamplingParams Thinking TokenDelta TokenLogprob
        PromptToken RawPrompt
        Tool ToolCall ToolChoice UnitTest Usage
    """,
}


def lm(model: Reference | Architecture | CustomModel, *, name: str | None = None) -> LM:
    """Return a language model: that of a card, an architecture, a function, or another object.

    This function hides the ``archon.lm`` package. Import the package's modules by their full names.

    Parameters
    ----------
    model
        One of these:

        - a model card: its name, path or dict, or a string such as ``hf:Qwen/Qwen3-0.6B``,
          ``openai:NAME`` or ``http://localhost:8080/v1`` (``archon.spec.model_strings``);
        - an architecture, whose runs are the samples;
        - a function, synchronous or asynchronous. It gets the messages as a list of dicts with the
          keys ``role`` and ``content``, and returns a text or a ``Completion``. If it has
          parameters with these names, it also gets ``n`` (and then returns a list of ``n`` texts),
          ``seed`` (different for each sample), ``request`` (the complete ``Request``), and sampling
          parameters such as ``temperature`` and ``max_tokens``. An asynchronous generator streams
          the pieces of a text. Synchronous functions run in threads;
        - an object with a method ``generate``, which is such a function of the ``Request``; an
          object with the interface ``LM`` is returned unchanged;
        - an ``openai.AsyncOpenAI`` or ``openai.OpenAI`` client, or one with the same methods;
        - a text-generation pipeline of the transformers library.
    name
        For a client, the name of the model on its server; without it, the server must have exactly
        one. For others, the name in errors.

    Token counts that a model does not report are recorded as 0, and a note of the answer and a
    warning of the report say so. Samples of functions, clients and pipelines are not stored in the
    pool.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    UsageError
        The object is none of these, or ``name`` is given for a card or an architecture.
    """
    from archon import api

    return api.lm(model, name=name)


def graph(
    name: str = "graph",
    *,
    description: str = "",
    models: Mapping[str, ModelChoice] | None = None,
    answer: AnswerKind | None = None,
    budget: Mapping[str, Any] | None = None,
    serve: Mapping[str, Any] | None = None,
) -> GraphBuilder:
    """Start an architecture that is built in Python; see ``GraphBuilder``.

    This function hides the ``archon.graph`` package. Import the package's modules by their full
    names.

    Parameters
    ----------
    name
        Name of the architecture.
    description
        A sentence about it.
    models
        Role → its model; roles that are not given have the model of the shipped architectures.
    answer
        Type of the answers; by default ``number``.
    budget
        Limits for one question, such as ``{"max_calls": 64}``.
    serve
        Settings for requests to the architecture as a language model.
    """
    from archon.graph import building

    return building.graph(
        name, description=description, models=models, answer=answer, budget=budget, serve=serve
    )


_lazy = lazy_exports(
    globals(),
    {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()},
)


def __getattr__(name: str) -> Any:
    if name == "__version__":  # read from the package's metadata only if somebody asks
        from importlib.metadata import version

        return version("archon-inference")
    return _lazy(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
