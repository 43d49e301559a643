"""``archon bench serve``: compare the speed of a server with the speed of its engine.

``questions`` makes the requests, ``server_process`` runs the server and the clients (``client``) in
their own processes, ``closed_loop`` puts load on the engine alone, and ``overhead`` runs the
rounds, computes the figures and makes the tables.
"""
