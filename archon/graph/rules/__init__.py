"""The rules of ``archon.graph.checks``, by what they look at."""
