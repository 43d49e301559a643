"""Training of models.

``registry`` lists the kinds of training, ``objectives`` implements them, and ``trainer`` runs the
loop. ``synthetic`` generates data.
"""
