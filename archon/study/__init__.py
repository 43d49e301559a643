"""Search a space for the best architecture.

Reading order: ``space`` (configurations, called points in the code, and their architectures),
``warm_start`` (from an architecture to its configuration), ``objectives`` (and limits),
``search_config``, ``trial_evaluation`` (an architecture on the first items), ``stopping``
(unpromising trials), ``samplers``, ``trials`` (their records), ``storage`` (the database),
``workers`` (heartbeats and stale trials), ``study`` (the loop), ``finals`` (the choice among the
best trials, and the final test), ``finals_lease`` (one worker runs them), ``result``, ``session``
(a complete search). ``load_study`` and ``importance`` read a stored study, and ``view`` writes its
page.
"""
