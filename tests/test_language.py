"""Plain English: words that the project does not use, and docstrings that name their subject.

Each rule has a replacement. Prompt templates are exempt, because their wording decides samples, and
so is everything in backticks, because names of files and keys are promises.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULES = {
    r"\b(a|each|every|one|no|the|this|per|several|many|\d+) draws?\b(?! (from|at))": "sample",
    r"\bdraws of\b": "samples of",
    r"\bdrafts?\b": "candidate, sample",
    r"\bsittings?\b": "session",
    r"\b(tells|told)\b": "reports, prints, logs",
    r"\b(go|goes|going|went|gone) on\b": "resume, continue",
    r"\b(is|are|was|were|be) (not )?(to be )?had\b": "is available",
    r"\bas many\b(?! as)": "up to, at least, the same number of",
    r"\bbeside\b": "next to, with",
    r"\bat the most\b": "at most",
    r"\b(tokens?|seconds?|milliseconds|cost|calls?|gigabytes) an? "
    r"(row|answer|question|second|token|step|call|item)\b": "per",
    r"\b(one's own|of one's|of its own)\b": "your own, custom",
    r"\bin every company\b": "regardless of the other rows in the batch",
    r"\bthe last word\b": "the final test",
    r"\bturn about\b": "alternating",
    r"\b(comes|came|come) to\b(?! an end)": "results in, reaches",
    r"\banew\b": "again",
    r"\blearnt\b": "learned",
    r"\bholes?\b": "parameter",
}
RIDDLE = re.compile(r"(What|Who|Whose|How|That|Whether|Where|Which|When|Why)\b")
EXEMPT = {
    "archon/answers/clauses.py",  # patterns of what models write
    "archon/answers/marks.py",
    "archon/graph/prompts/templates.py",
    "archon/graph/prompts/wording.py",
}
MODULES = sorted(
    path for path in (ROOT / "archon").rglob("*.py") if str(path.relative_to(ROOT)) not in EXEMPT
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def faults(text: str) -> Iterator[str]:
    """Yield the words of a text that a rule forbids."""
    plain = re.sub(r"``.*?``|`[^`]*`|\"[^\"\s]*\"", "", text, flags=re.DOTALL)
    for rule, better in RULES.items():
        for found in re.finditer(rule, plain, re.IGNORECASE):
            yield f"{found[0]!r}: write {better}"


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield docstrings and other strings of several words, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def located(path: Path, line: int, fault: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {fault}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_the_words_of_the_field(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [located(path, line, fault) for line, text in texts(tree) for fault in faults(text)]
    riddles = [
        located(path, line, f"a docstring that begins with {text.split()[0]!r}: name the thing")
        for line, text in docstrings(tree)
        if RIDDLE.match(text)
    ]
    assert found + riddles == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_uses_the_words_of_the_field(path: Path) -> None:
    text = re.sub(r"^(```+).*?^\1$", blank, path.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = enumerate(text.splitlines(), 1)
    assert [located(path, n, fault) for n, line in lines for fault in faults(line)] == []


def blank(block: re.Match[str]) -> str:
    """Replace a fenced block by as empty lines."""
    return "\n" * block[0].count("\n")


def test_the_rules_find_what_they_forbid() -> None:
    assert list(faults("Every draw is told at the most once, a token a second."))
    assert not list(faults("Draw the figure, then `draft` it. Samples are drawn from the model."))
