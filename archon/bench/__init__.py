"""Benchmarks of speed and quality.

``engine``, ``graph``, ``peers``, ``quality`` and ``serve`` are commands of ``archon bench``. They
share ``workload`` (prompts with a shared prefix), ``machine`` (its description), ``roofline`` (the
upper bound of the speed on this machine) and ``child_process``.
"""
