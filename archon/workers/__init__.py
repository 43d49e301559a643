"""Processes for work that must be stopped at a time limit (``process.py``, ``main.py``)."""
