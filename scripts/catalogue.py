"""Measure every shipped architecture and write the tables of ``docs/results/architectures.md``.

``scripts/catalogue.py --data gsm8k-train-1000.jsonl`` runs each architecture on the first 100 items
of ``arithmetic`` and of the given problems, with one pool of samples. It then runs eight items
without the pool to measure the seconds. An interrupted run is resumed. Only the tables of the page
are replaced.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon.spec import catalog

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "architectures.md"
NUM_TIMED = 8
PLAIN_VOTE = "self-consistency"
NUM_SAMPLES = 16
"""Samples of the plain vote, the baseline at equal cost."""
LARGER = "qwen2.5-coder-1.5b"
WITH_LARGER = {"single": "solver", "best-of-n-logit": "judge", "pairwise-tournament": "judge"}
"""Architecture → role that the larger model has in a second measurement."""
EXCLUDED = frozenset({"translate-numbers", "meaning-vote"})
"""Architectures that are not for arithmetic."""


def main() -> None:
    """Measure, then write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="JSONL file of GSM8K's training problems.")
    parser.add_argument("--limit", type=int, default=100, help="Number of items per benchmark.")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "catalogue")
    options = parser.parse_args()
    benches = {"arithmetic": [], "gsm8k": ["--data", options.data]}
    compared = {
        bench: compare(bench, more, options.limit, options.output / bench)
        for bench, more in benches.items()
    }
    for bench, more in benches.items():
        folder = options.output / bench
        seconds = {Path(ref).stem: timed(ref, bench, more, folder) for ref in references(folder)}
        PAGE.write_text(with_table(PAGE.read_text(), bench, table(compared[bench], seconds)))


def compare(bench: str, more: Sequence[str], limit: int, folder: Path) -> dict[str, Any]:
    """Run ``archon compare`` on the plain vote and all architectures; return its JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-b", bench, *more, "--limit", str(limit), "--output", str(folder / "runs")]
    return archon("compare", plain_vote(folder), *references(folder), *options, "--resume")


def plain_vote(folder: Path) -> str:
    """Write the file of the baseline vote; return its path."""
    vote = shipped(PLAIN_VOTE)
    vote["nodes"]["draft"]["samples"] = NUM_SAMPLES
    return written(vote, f"{PLAIN_VOTE}-{NUM_SAMPLES}", folder)


def references(folder: Path) -> list[str]:
    """Return names of shipped architectures, and paths of variants with the larger model."""
    files = []
    for name, role in WITH_LARGER.items():
        changed = shipped(name)
        changed["models"][role] = LARGER
        files.append(written(changed, f"{name}-1.5b-{role}", folder))
    return [*(name for name in catalog.names("architecture") if name not in EXCLUDED), *files]


def shipped(name: str) -> dict[str, Any]:
    """Read the file of a shipped architecture."""
    architecture: dict[str, Any] = json.loads((ROOT / "architectures" / f"{name}.json").read_text())
    return architecture


def written(architecture: dict[str, Any], name: str, folder: Path) -> str:
    """Write an architecture to a file under another name; return the path."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps({**architecture, "name": name}))
    return str(file)


def timed(ref: str, bench: str, more: Sequence[str], folder: Path) -> float:
    """Return the wall seconds per question of ``NUM_TIMED`` concurrent ones without the pool."""
    options = [bench, *more, "--limit", str(NUM_TIMED), "--no-cache"]
    output = folder / "timed" / Path(ref).stem
    report = archon("eval", ref, *options, "--output", str(output), "--resume")
    return float(report["wall_seconds"]) / NUM_TIMED


def archon(*arguments: str) -> dict[str, Any]:
    """Run a command; return its JSON. If it fails, this program ends."""
    command = [sys.executable, "-m", "archon", *arguments, "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True, text=True)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def table(compared: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    """Return a Markdown table, the most accurate architectures first."""
    comparisons = {row["name"]: row for row in compared["equal_cost"]}
    lines = [
        "| architecture | accuracy | tokens per answer | seconds per question "
        "| against a vote at equal cost, points |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(compared["rows"], key=lambda row: -(row["accuracy"] or 0)):
        name = row["name"]
        low, high = row["accuracy_interval"]
        cells = (
            f"`{name}`",
            f"{100 * row['accuracy']:.1f}% [{100 * low:.1f}, {100 * high:.1f}]",
            f"{row['cost_tokens']:,.0f}",
            f"{seconds[name]:.1f}" if name in seconds else "",
            _comparison_text(comparisons[name]) if name in comparisons else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _comparison_text(row: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in row["interval"])
    samples = f"{row['drafts']} sample{'' if row['drafts'] == 1 else 's'}"
    votes = samples if row["is_enough"] else f"all {samples}"
    difference = f"{100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")
    return f"{difference}, p = {row['p_value']:.2g} ({votes})"


def with_table(page: str, name: str, rows: str) -> str:
    """Replace the table between the marks of a name.

    Raises
    ------
    ValueError
        The page has no such marks.
    """
    begin, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
    before, found, rest = page.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{PAGE} has no marks of the table {name!r}; add {begin!r} and {end!r}")
    return before + begin + rows + "\n" + end + rest.partition(end)[2]


if __name__ == "__main__":
    main()
