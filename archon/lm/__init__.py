"""Language models: the interface, its implementations, and lazy opening.

``base`` defines the interface. ``factory`` and ``lazy`` open the model that a card describes:
``openai`` (a model on a server), ``local`` (a model in the local engine) or ``scripted`` (a fake
model without weights). ``pool`` stores samples on disk. ``openai`` imports httpx, and ``local``
imports torch, so each of them is imported only when a card needs it.
"""
