"""``archon bench peers``: compare the engine with other engines on the same weights and workload.

Reading order: ``contender`` (the contenders and their tasks), ``calibration`` (peers' batch sizes),
one file per contender (``archon_engine``, ``llamacpp``, ``transformers_generate``),
``contender_process`` (each contender in its own process, idle while another is timed),
``peer_comparison`` (interleaved rounds, medians, ratios), ``picture`` (the result as SVG).
"""
