"""The configuration of a run: locked values of the sweep, and defaults of the script below them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.client.values import as_mapping, warn
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: The file with defaults of the script that wandb reads in the current folder.
_DEFAULTS_FILE = "config-defaults.yaml"


class Config:
    """The configuration of a run as attributes or items, with the rules of wandb (``wandb_config.Config``).

    Values of the sweep are locked: a change is ignored with a warning. Any other value can be set once; to change it
    needs ``update(..., allow_val_change=True)``, else UsageError is raised.
    """

    def __init__(self, swept: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None) -> None:
        swept = swept or {}
        object.__setattr__(self, "_items", merged(defaults or {}, swept))
        object.__setattr__(self, "_swept", frozenset(swept))

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self._items) or "nothing"
            raise AttributeError(f"the configuration has no {name!r}; it has {known}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    # pickle and copy look for these methods before the items exist; __getattr__ would then call itself for ever
    def __getstate__(self) -> dict[str, Any]:
        return {"items": self._items, "swept": self._swept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "_items", state["items"])
        object.__setattr__(self, "_swept", state["swept"])

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or ``default``."""
        return self._items.get(name, default)

    def keys(self) -> Any:
        """Return the names, so that ``dict(config)`` and ``**config`` work."""
        return self._items.keys()

    def values(self) -> Any:
        """Return the values in the order of the names."""
        return self._items.values()

    def items(self) -> Any:
        """Return names and values."""
        return self._items.items()

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a dictionary."""
        return dict(self._items)

    def update(self, values: Any, allow_val_change: bool | None = None) -> None:
        """Set several values, given as for :func:`init`; a name of the sweep is ignored with a warning.

        Raises UsageError, and sets nothing, if a value would change without ``allow_val_change``.
        """
        given = read_values(values)
        for name in [name for name in given if name in self._swept]:
            warn(f"Config item '{name}' was locked by 'sweep' (ignored update).")
            del given[name]
        for name, value in given.items():
            if not allow_val_change and name in self._items and _differ(self._items[name], value):
                raise UsageError(
                    f'Attempted to change value of key "{name}" from {self._items[name]} to {value}\n'
                    "If you really want to do this, pass allow_val_change=True to config.update()"
                )
        self._items.update(given)

    def setdefaults(self, values: Any) -> None:
        """Set the values whose names do not exist yet."""
        for name, value in read_values(values).items():
            self._items.setdefault(name, value)


def merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with the names that only ``defaults`` has; mappings in both are merged in the same way."""
    both = dict(values)
    for name, default in defaults.items():
        if name not in both:
            both[name] = default
        elif isinstance(default, dict) and isinstance(both[name], dict):
            both[name] = merged(default, both[name])
    return both


def read_values(
    values: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the names and values of a configuration that a script gives, without ``exclude``, or only ``include``.

    They are in a mapping, an ``argparse.Namespace`` or the like, or the path of a YAML file (``name: {value: ...}``).
    Raises UsageError if the file cannot be read, or both ``exclude`` and ``include`` are given.
    """
    if exclude and include:
        raise UsageError("give config_exclude_keys or config_include_keys, not both")
    given = as_mapping(_read_file(values) if isinstance(values, (str, os.PathLike)) else values or {})
    wanted, unwanted = set(include or given), set(exclude or ())
    return {name: value for name, value in given.items() if name in wanted and name not in unwanted}


def default_values() -> dict[str, Any]:
    """Return the values of ``config-defaults.yaml`` in the current folder, and of ``WANDB_CONFIG_PATHS`` above them.

    Raises UsageError if a file cannot be read.
    """
    named = [path for path in os.environ.get("WANDB_CONFIG_PATHS", "").split(",") if path]
    found = [_DEFAULTS_FILE] if os.path.isfile(_DEFAULTS_FILE) else []
    values: dict[str, Any] = {}
    for path in [*found, *named]:
        values |= as_mapping(_read_file(path))
    return values


def _read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of ``name: {value: ...}`` as ``wandb.sdk.lib.config_util.dict_from_config_file`` does."""
    import yaml  # only the few scripts with defaults in a file load it

    try:
        with open(path, encoding="utf-8") as file:
            loaded = yaml.safe_load(file) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"the configuration cannot be read from {path}: {error}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"{path}: must be a mapping of names to `value: ...`")
    loaded.pop("wandb_version", None)
    for name, item in loaded.items():
        if not isinstance(item, dict) or "value" not in item:
            raise UsageError(f"{path}: {name}: must be a mapping with `value`, as in `{name}: {{value: {item}}}`")
    return {str(name): item["value"] for name, item in loaded.items()}


def _differ(one: Any, other: Any) -> bool:
    """Return whether two values differ; two that cannot be compared as a whole (arrays) do."""
    try:
        return bool(one != other)
    except ValueError:
        return True
