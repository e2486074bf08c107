"""Sweeps from Python, as ``wandb.sweep``, ``wandb.agent`` and ``wandb.Api`` offer them; loaded when they are used.

``import slurmsweep`` offers :func:`~slurmsweep.functions.sweep.sweep`, :func:`~slurmsweep.functions.agent.agent` and
:class:`~slurmsweep.functions.api.Api`.
"""
