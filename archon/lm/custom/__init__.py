"""Models that a program brings along: functions, objects, clients and pipelines.

``choice`` has the function that makes an LM of each of them.
"""
