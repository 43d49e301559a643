"""Benchmarks of speed and model quality.

``engine``, ``graph``, ``peers``, ``quality`` and ``serve`` implement the commands of ``archon
bench``. They share ``workload`` (prompts with a common prefix), ``machine`` (a description of this
machine), ``roofline`` (the upper bound on the speed) and ``child_process``.
"""
