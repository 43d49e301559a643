"""How fast a server is beside the engine within it: ``archon bench serve``.

``work`` makes the requests, ``process`` runs the server and the clients in processes of their own,
``client`` is what the clients run, ``figures`` does the sums, ``report`` makes the table.
"""
