"""Benchmarks of speed.

``engine``, ``graph``, ``peers`` and ``serve`` are the commands of ``archon bench``. They share
``workload`` (prompts with a shared prefix), ``machine`` (what the figures were measured on),
``roofline`` (the bound that the machine sets) and ``child_process``.
"""
