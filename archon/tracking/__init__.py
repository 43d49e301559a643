"""Record runs, studies and training in an experiment tracker.

``tracker`` has the interface of a tracker. ``mlflow``, ``wandb`` and ``trackio`` implement it with
a package that is imported at first use. ``session`` calls a tracker from a thread, so that a slow
or failing tracker neither slows nor stops the work. ``values`` turns configurations and reports
into the flat values that trackers store.
"""
