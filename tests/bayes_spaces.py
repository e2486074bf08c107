"""Parameter spaces for the tests of the search that learns."""

from __future__ import annotations

from slurmsweep.search.bayes import Space
from slurmsweep.sweepfile.config import check

#: Every form of a parameter that W&B has, and the type of its values.
FORMS = {
    "texts": ({"values": ["adam", "sgd", None]}, object),
    "booleans": ({"values": [True, False]}, bool),
    "numbers": ({"values": [0.1, 0.01, 0.001]}, float),
    "mixed": ({"values": [1, "1", 1.5, [1, 2]]}, object),
    "weighted": ({"values": ["a", "b", "c"], "probabilities": [0.5, 0.0, 0.5]}, str),
    "integers": ({"min": -3, "max": 12}, int),
    "many integers": ({"min": 0, "max": 10**30}, int),
    "uniform": ({"min": -1.0, "max": 1e3}, float),
    "log_uniform": ({"distribution": "log_uniform", "min": -9, "max": 2}, float),
    "log_uniform_values": ({"distribution": "log_uniform_values", "min": 1e-5, "max": 0.3}, float),
    "inv_log_uniform": ({"distribution": "inv_log_uniform", "min": -2, "max": 3}, float),
    "inv_log_uniform_values": ({"distribution": "inv_log_uniform_values", "min": 1e-3, "max": 10}, float),
    "normal": ({"distribution": "normal", "mu": 5, "sigma": 2}, float),
    "log_normal": ({"distribution": "log_normal", "mu": 0, "sigma": 1}, float),
    "beta": ({"distribution": "beta", "a": 2, "b": 5}, float),
    "q_uniform": ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 4}, int),
    "q_uniform by fractions": ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}, float),
    "q_uniform by tiny steps": ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-9}, float),
    "q_log_uniform": ({"distribution": "q_log_uniform", "min": 0, "max": 5, "q": 2}, int),
    "q_log_uniform_values": ({"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8}, int),
    "q_normal": ({"distribution": "q_normal", "mu": 0, "sigma": 3, "q": 1}, int),
    "q_log_normal": ({"distribution": "q_log_normal", "mu": 1, "sigma": 1, "q": 0.5}, float),
    "q_beta": ({"distribution": "q_beta", "a": 1, "b": 3, "q": 0.25}, float),
}


def config_of(parameters, **extensions):
    data = {"method": "bayes", "metric": {"name": "loss"}, "parameters": parameters, "slurmsweep": extensions}
    return check(data, "sweep.yaml").config


def space_of(parameters, **extensions):
    return Space.of(config_of(parameters, **extensions))
