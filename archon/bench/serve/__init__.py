"""``archon bench serve``: compare the speed of a server with that of its engine alone.

``questions`` makes the requests. ``server_process`` runs the server and the clients (``client``) in
separate processes. ``closed_loop`` sends the requests to the engine alone. ``overhead`` runs the
rounds, computes the figures and makes the tables.
"""
