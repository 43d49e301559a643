"""The ``archon`` command. Results go to standard output, messages to standard error.

Every command takes ``--json``: then standard output has one JSON object and nothing else.
"""

from archon.cli.main import main

__all__ = ["main"]
