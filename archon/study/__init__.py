"""Search a space for the best architecture.

Reading order: ``space`` (configurations, called points in the code, and their architectures),
``warm_start`` (finds the configuration of an architecture), ``objectives`` (and limits),
``search_config``, ``trial_evaluation`` (an architecture on the first items), ``stopping`` (hopeless
trials), ``samplers``, ``trials`` (their records), ``storage`` (the database), ``workers``
(heartbeats and stale trials), ``study`` (the loop), ``finals`` (the choice among the best, and the
final test), ``finals_lease`` (one worker runs them), ``result``, ``session`` (the complete search).
``load_study`` and ``importance`` read a stored study, and ``view`` makes its page.
"""
