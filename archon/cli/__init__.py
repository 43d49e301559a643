"""The ``archon`` command. Results go to standard output, messages to standard error.

Every command accepts ``--json``, which prints exactly one JSON object on standard output.
"""

from archon.cli.main import main

__all__ = ["main"]
