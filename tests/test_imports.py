"""Layers of imports, imports without optional packages, and the public API."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import archon

PUBLIC = {
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
    "LM",
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
    "NodeError",
    "NodeDelta",
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
    "benchmark",
    "node",
    "prompt_template",
    "provider",
    "scorer",
    "aevaluate",
    "asearch",
    "compare",
    "evaluate",
    "graph",
    "lm",
    "load",
    "read_run",
    "search",
    "serve",
    "train",
}

WITHOUT_EXTRAS = """
import sys

HIDDEN = ("torch", "tokenizers", "huggingface_hub", "datasets", "reasoning_gym", "scipy",
          "starlette", "uvicorn", "jinja2", "numpy", "llguidance", "pydantic_monty",
          "optuna", "sqlalchemy")

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"hidden: {name}", name=name)

sys.meta_path.insert(0, Hide())
"""


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_imports_follow_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(no_cache=True)
    for logger in map(logging.getLogger, logging.root.manager.loggerDict):
        logger.disabled = False  # as its set-up of logging leaves them
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_public_name_can_be_imported() -> None:
    assert set(archon.__all__) == PUBLIC
    assert all(getattr(archon, name) is not None for name in PUBLIC)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        archon.laod  # noqa: B018


def test_importing_the_package_lm_keeps_the_function_lm() -> None:
    script = "import archon, archon.lm.base, archon.lm.factory; print(archon.lm('scripted'))"
    assert run_python(script).returncode == 0


def test_architectures_run_without_any_extra() -> None:
    script = WITHOUT_EXTRAS + (
        "import archon\n"
        "architecture = archon.load('rank-fuse', {'solver': 'scripted', 'judge': 'scripted'})\n"
        "print(architecture.run('What is 2 + 3?').text)\n"
    )
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["run", "single", "What is 2 + 3?"], "engine"),
        (["serve", "single", "--model", "solver=scripted"], "serve"),
        (["eval", "single", "arithmetic", "--model", "solver=scripted"], "evals"),
        (["bench", "engine"], "engine"),
        (["bench", "peers"], "engine"),
    ],
)
def test_a_missing_extra_is_an_error_that_names_it(arguments: list[str], extra: str) -> None:
    script = WITHOUT_EXTRAS + f"from archon.cli import main\nsys.exit(main({arguments!r}))"
    done = run_python(script)
    assert done.returncode == 2, done.stderr
    assert f"archon-inference[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_need_no_local_model_run_without_torch() -> None:
    script = (
        "import sys\nfrom archon.cli import main\n"
        "for arguments in (['show', 'archon-figure'], ['models', 'ls'], ['schema', 'model']):\n"
        "    assert main(arguments) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = run_python(script)
    assert done.returncode == 0, done.stderr
