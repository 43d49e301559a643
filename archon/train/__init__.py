"""Training the models of ``archon.engine.encoders``: losses, the loop, and what they learn from.

``loop`` is the one loop of gradient steps, ``numbers`` a task made by rule, and
``translate_numbers`` the command that trains the model of the card ``translate-numbers``.
"""
