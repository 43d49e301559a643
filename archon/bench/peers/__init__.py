"""``archon bench peers``: compare the engine with other engines on the same weights and workload.

Contenders are Archon's engine and other engines, its peers.

Reading order: ``contender`` (contenders and their task), ``calibration`` (batch sizes of peers), a
file per contender (``archon_engine``, ``llamacpp``, ``transformers_generate``),
``contender_process`` (a process per contender, idle while another one is timed),
``peer_comparison`` (alternating rounds, medians, ratios), ``picture`` (the result as SVG).
"""
