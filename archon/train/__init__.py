"""Training: ``registry`` names the kinds, ``objectives`` implements them, ``trainer`` runs them.

``synthetic`` makes data by rule, and trains the model of the card ``translate-numbers`` with it.
"""
