"""``archon bench peers``: compare the engine with other engines on the same weights and workload.

Reading order: ``contender`` (contenders and their task), ``calibration`` (batch sizes of peers), a
file per contender (``archon_engine``, ``llamacpp``, ``transformers_generate``),
``contender_process`` (each contender in its own process, idle while another is timed),
``peer_comparison`` (interleaved rounds, medians, ratios), ``picture`` (the result as SVG).
"""
