"""Benchmarks of speed and quality (``archon bench``).

``engine``, ``graph``, ``peers``, ``quality`` and ``serve`` are commands of ``archon bench``. They
share ``workload`` (prompts with a shared prefix), ``machine`` (a description of the machine),
``roofline`` (the upper bound on speed on this machine) and ``child_process``.
"""
