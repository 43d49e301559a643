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
    from archon.evals.scorers.declaration import Score
    from archon.graph.answer import Answer
    from archon.graph.architecture import Architecture
    from archon.graph.trace import Trace
    from archon.lm.base import LM
    from archon.plugins.decorators import benchmark, node, prompt_template, provider, scorer
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
        NodeDelta,
        NodeFinished,
        NodeStarted,
        Question,
        Request,
        SamplingParams,
        Thinking,
        TokenDelta,
        TokenLogprob,
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
    "NodeDelta",
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
    "Score",
    "ScoringError",
    "SearchResult",
    "Space",
    "SpecError",
    "StorageError",
    "Thinking",
    "TokenDelta",
    "TokenLogprob",
    "Trace",
    "UnsupportedError",
    "Usage",
    "UsageError",
    "benchmark",
    "evaluate",
    "lm",
    "load",
    "node",
    "prompt_template",
    "provider",
    "read_run",
    "scorer",
    "search",
]

importlib.import_module("archon.lm")  # a later import of the package would replace `lm`

_NAMES_BY_MODULE = {
    "archon.api": "evaluate load search",
    "archon.errors": """
        ArchonError BudgetError ContextLengthError EngineError GraphError LMError MissingExtraError
        ModelError ModelFileError NodeError ScoringError SpecError StorageError UnsupportedError
        UsageError
    """,
    "archon.evals.benchmarks.function": "PythonBenchmark",
    "archon.evals.records": "Draw Record",
    "archon.evals.report": "Report",
    "archon.evals.run": "Run read_run",
    "archon.evals.scorers.declaration": "Score",
    "archon.graph.answer": "Answer",
    "archon.graph.architecture": "Architecture",
    "archon.graph.trace": "Trace",
    "archon.lm.base": "LM",
    "archon.plugins.decorators": "benchmark node prompt_template provider scorer",
    "archon.study.result": "SearchResult",
    "archon.study.space": "Space",
    "archon.types": """
        Annotation Candidate CandidateId Completion Constraint Event Example FreeText Message
        NodeDelta NodeFinished NodeStarted Question Request SamplingParams Thinking TokenDelta
        TokenLogprob Usage
    """,
}


def lm(model: Reference | Architecture) -> LM:
    """Return the language model of a card, or an architecture as a language model.

    This function hides the ``archon.lm`` package. Import the package's modules by their full names.

    Parameters
    ----------
    model
        Name, path or dict of a model card, or an architecture.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    """
    from archon import api

    return api.lm(model)


__getattr__ = lazy_exports(
    globals(),
    {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()},
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
