"""The ``archon`` command. Results go to standard output, messages to standard error.

With ``--json``, which every command has, standard output contains one JSON object and nothing else.
"""

from archon.cli.main import main

__all__ = ["main"]
