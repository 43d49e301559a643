"""How fast a server is compared with the engine within it: ``archon bench serve``.

``questions`` makes the requests, ``server_process`` runs the server and the clients (``client``) in
their own processes, ``closed_loop`` asks the engine alone, ``overhead`` runs the rounds, computes
the figures and makes the tables.
"""
