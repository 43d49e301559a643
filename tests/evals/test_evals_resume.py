"""Killed runs: nothing is lost or repeated, and the result is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("ARCHON_TEST_KILLS", "8"))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.timeout(60 + 5 * KILLS)
def test_a_run_killed_at_random_moments_has_the_result_of_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    program = Path(__file__).with_name("kill_and_resume.py")
    command = [sys.executable, str(program), str(tmp_path), str(KILLS), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= KILLS
