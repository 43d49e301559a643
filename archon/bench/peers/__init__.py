"""The speed of other engines with the same weights on the same work: ``archon bench peers``.

Reading order: ``contender`` (who takes part, and the task), ``calibration`` (how peers share out
the work), one file per contender (``archon_engine``, ``llamacpp``, ``transformers_generate``),
``contender_process`` (each runs in its own process, which waits silently while another is timed),
``peer_comparison`` (interleaved rounds, medians, ratios), ``picture``.
"""
