"""Search for an architecture: a space of them, trials of its points, and the evidence.

Reading order: ``space`` (parameters to architectures), ``warm_start`` (an architecture to its
point), ``objectives`` (what is sought, within which limits), ``search_config``,
``trial_evaluation`` (one architecture on its first items), ``stopping`` (which trials are
hopeless), ``samplers``, ``trials`` (the record of each), ``storage`` (the database), ``workers``
(heartbeats and stale trials), ``study`` (the loop), ``finals`` (the choice among the best, and the
final test), ``finals_lease`` (which worker runs them), ``result``, ``session`` (all of it).
``load_study`` and ``importance`` read a finished study, ``view`` makes its page.
"""
