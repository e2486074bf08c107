"""Say of each name of wandb that the native client does not have why, and which package has it.

Loaded only when such a name is used. ``tests/client/test_missing.py`` compares the names with those of the real wandb.
"""

from __future__ import annotations

#: Of the module: pictures, tables, files, integrations, and parts that wandb's own code uses.
OF_MODULE = frozenset((
    "Artifact", "ArtifactTTL", "Audio", "Classes", "EvalTable", "Graph", "Histogram", "Html", "Image",
    "JoinedTable", "Molecule", "Object3D", "Plotly", "Table", "Video", "analytics", "apis", "attach", "box3d",
    "catboost", "controller", "data_types", "env", "gym", "helper", "integration", "jupyter", "keras", "lightgbm",
    "link_artifact", "link_model", "log_artifact", "log_model", "patched", "plot", "plot_table", "profiler",
    "proto", "restore", "sacred", "sagemaker_auth", "sdk", "sklearn", "tensorboard", "tensorflow", "trigger",
    "use_artifact", "use_model", "util", "visualize", "wandb", "wandb_agent", "wandb_lib", "wandb_sdk",
    "wandb_torch", "xgboost",
))  # fmt: skip

#: Of a run.
OF_RUN = frozenset((
    "config_static", "finish_artifact", "link_artifact", "link_model", "log_artifact", "log_model", "restore",
    "settings", "status", "to_html", "upsert_artifact", "use_artifact", "use_model", "write_logs",
))  # fmt: skip

#: They ask W&B's server, which offline is not there either.
_NEEDS_SERVER = frozenset({"apis", "controller", "restore", "use_artifact", "use_model", "link_artifact", "link_model"})


def explanation(name: str, known: frozenset[str], otherwise: str) -> str:
    """Return why there is no such name: the same sentence for all names of wandb, else ``otherwise``."""
    if name not in known:
        return otherwise
    where = "with W&B's server" if name in _NEEDS_SERVER else "also offline"
    return f"slurmsweep keeps numbers and texts, no {name}: `import wandb` has it, {where}"
