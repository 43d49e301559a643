"""Rewrite the golden files of the contract tests.

Run ``python tests/contracts/update_golden.py`` in the root of the repository when a change of what
users depend on is wanted: a new option, another key of a file, other samples. Arguments go to
pytest, so that ``python tests/contracts/update_golden.py -k help`` rewrites the files of those
tests alone. Without arguments, golden files that no test writes any more are deleted.

Review the difference with ``git diff tests/contracts/golden`` before you commit it, and describe it
in the changelog. The folders in ``stored_runs/`` are not rewritten: they show that runs of earlier
versions can still be read. A change of the format of runs adds a folder there.
"""

from __future__ import annotations

import os
import subprocess
import sys

from golden_files import GOLDEN, HERE, UPDATE


def main() -> int:
    """Run the contract tests so that they write what they find; returns the exit code of pytest."""
    if not sys.argv[1:]:
        for path in GOLDEN.rglob("*"):
            if path.is_file():
                path.unlink()
    files = sorted(map(str, HERE.glob("test_contract_*.py")))
    command = [sys.executable, "-m", "pytest", "-q", *files, *sys.argv[1:]]
    return subprocess.run(command, env=os.environ | {UPDATE: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
