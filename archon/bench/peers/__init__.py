"""How fast others are with the same weights at the same work: ``archon bench peers``.

Read it in this order: ``contender`` (what takes part, and what it is asked), ``plan`` (how
peers share out the work), one file for each (``archon_engine``, ``llamacpp``,
``transformers_generate``), ``child`` and ``process`` (each runs
in a process of its own, which waits silently while another is timed), ``compare`` (rounds in turn,
medians, ratios), ``roofline`` and ``measure`` (what the machine would allow), ``picture``.
"""
