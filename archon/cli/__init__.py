"""The ``archon`` command. What people read goes to standard error, results to standard output.

Every command takes ``--json``: then standard output carries one JSON object and nothing else.
"""

from archon.cli.main import main

__all__ = ["main"]
