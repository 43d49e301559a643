"""Models on servers that speak the OpenAI protocol.

``client`` has the model (``RemoteLM``). ``payload`` builds request bodies, ``transport`` sends
them, and ``response`` turns replies into completions. The other modules: ``load_balancer`` (choice
of a server), ``sse`` (streams), ``structured_output`` (constraints after free text),
``finish_reasons``, ``server_errors``, and ``field_adaptation`` (fields that a server rejects).
"""
