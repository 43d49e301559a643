"""Search for an architecture: a space of them, trials of its points, and the evidence.

In the order of reading: ``space`` (holes to architectures), ``known`` (an architecture to its
point), ``objectives`` (what is sought and within which limits), ``subject`` (one architecture on
its first items), ``stopping`` (which trials are hopeless), ``samplers``, ``trials`` (what is kept
of each), ``storage`` (where a study is kept), ``workers`` (whose trials are stale), ``study`` (the
loop), ``finals`` (the choice among the best, and the last word), ``claims`` (whose they are),
``result``, ``session`` (all of it).
"""
