"""Search for the best architecture in a space.

Reading order: ``space`` (points to architectures), ``warm_start`` (an architecture to its point),
``objectives`` (and limits), ``search_config``, ``trial_evaluation`` (an architecture on its first
items), ``stopping`` (hopeless trials), ``samplers``, ``trials`` (their records), ``storage`` (the
database), ``workers`` (heartbeats and stale trials), ``study`` (the loop), ``finals`` (the choice
among the best, and the final test), ``finals_lease`` (one worker runs them), ``result``,
``session`` (all of it). ``load_study`` and ``importance`` read a stored study, ``view`` makes its
page.
"""
