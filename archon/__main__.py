"""Entry point of ``python -m archon``, which runs the ``archon`` command."""

import sys

from archon.cli import main

if __name__ == "__main__":
    sys.exit(main())
