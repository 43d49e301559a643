"""``archon bench serve``: compare the speed of a server with its engine's.

``questions`` makes the requests, ``server_process`` runs the server and the clients (``client``) in
their own processes, ``closed_loop`` loads the engine alone, and ``overhead`` runs the rounds,
computes the figures and makes the tables.
"""
