"""Archon: inference-time architectures of local language models.

::

    import archon

    answer = archon.load("self-consistency").run("What is 17 * 23?")
    print(answer.text, answer.value, answer.cost_tokens)

What is named here is the public surface. It is imported when it is first used, so that
``import archon`` is quick and needs no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.api import evaluate, load, search
    from archon.errors import (
        ArchonError,
        BudgetError,
        ContextLengthError,
        EngineError,
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
    from archon.evals.benchmarks.function import PythonBenchmark
    from archon.evals.records import Draw, Record
    from archon.evals.report import Report
    from archon.evals.run import Run, read_run
    from archon.graph.answer import Answer
    from archon.graph.architecture import Architecture
    from archon.graph.trace import Trace
    from archon.lm.base import LM
    from archon.spec.reader import Reference
    from archon.study.result import SearchResult
    from archon.study.space import Space
    from archon.types import (
        Annotation,
        Candidate,
        CandidateId,
        Completion,
        Constraint,
        Event,
        Example,
        FreeText,
        Message,
        NodeFinished,
        NodeStarted,
        Question,
        Request,
        SamplingParams,
        Thinking,
        TokenDelta,
        Usage,
    )

__all__ = [
    "LM",
    "Annotation",
    "Answer",
    "Architecture",
    "ArchonError",
    "BudgetError",
    "Candidate",
    "CandidateId",
    "Completion",
    "Constraint",
    "ContextLengthError",
    "Draw",
    "EngineError",
    "Event",
    "Example",
    "FreeText",
    "GraphError",
    "LMError",
    "Message",
    "MissingExtraError",
    "ModelError",
    "ModelFileError",
    "NodeError",
    "NodeFinished",
    "NodeStarted",
    "PythonBenchmark",
    "Question",
    "Record",
    "Report",
    "Request",
    "Run",
    "SamplingParams",
    "ScoringError",
    "SearchResult",
    "Space",
    "SpecError",
    "StorageError",
    "Thinking",
    "TokenDelta",
    "Trace",
    "UnsupportedError",
    "Usage",
    "UsageError",
    "evaluate",
    "lm",
    "load",
    "read_run",
    "search",
]

importlib.import_module("archon.lm")  # a later import of the package would replace `lm`

_LAZY = {
    "Annotation": "archon.types",
    "Answer": "archon.graph.answer",
    "Architecture": "archon.graph.architecture",
    "ArchonError": "archon.errors",
    "BudgetError": "archon.errors",
    "Candidate": "archon.types",
    "CandidateId": "archon.types",
    "Completion": "archon.types",
    "Constraint": "archon.types",
    "ContextLengthError": "archon.errors",
    "Draw": "archon.evals.records",
    "EngineError": "archon.errors",
    "Event": "archon.types",
    "Example": "archon.types",
    "FreeText": "archon.types",
    "GraphError": "archon.errors",
    "LM": "archon.lm.base",
    "LMError": "archon.errors",
    "Message": "archon.types",
    "MissingExtraError": "archon.errors",
    "ModelError": "archon.errors",
    "ModelFileError": "archon.errors",
    "NodeError": "archon.errors",
    "NodeFinished": "archon.types",
    "NodeStarted": "archon.types",
    "PythonBenchmark": "archon.evals.benchmarks.function",
    "Question": "archon.types",
    "Record": "archon.evals.records",
    "Report": "archon.evals.report",
    "Request": "archon.types",
    "Run": "archon.evals.run",
    "SamplingParams": "archon.types",
    "ScoringError": "archon.errors",
    "SearchResult": "archon.study.result",
    "Space": "archon.study.space",
    "SpecError": "archon.errors",
    "StorageError": "archon.errors",
    "Thinking": "archon.types",
    "TokenDelta": "archon.types",
    "Trace": "archon.graph.trace",
    "UnsupportedError": "archon.errors",
    "Usage": "archon.types",
    "UsageError": "archon.errors",
    "evaluate": "archon.api",
    "load": "archon.api",
    "read_run": "archon.evals.run",
    "search": "archon.api",
}


def lm(model: Reference | Architecture) -> LM:
    """A language model: the one of a card, given by name, path or dict, or an architecture.

    The function hides the package ``archon.lm``, whose modules are imported by their full names.

    Raises
    ------
    SpecError
        A file is missing or wrong.
    """
    from archon import api

    return api.lm(model)


__getattr__ = lazy_exports(globals(), _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
