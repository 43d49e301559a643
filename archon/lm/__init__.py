"""Language models: the interface, its implementations, and lazy opening.

Read ``base`` (the interface), ``factory`` and ``lazy`` (a card becomes a model), then the
implementations: ``openai`` (servers), ``local`` (the engine), ``scripted`` (no weights). ``pool``
stores samples on disk. ``openai`` and ``local``, which import httpx and torch, are imported only if
a card needs them.
"""
