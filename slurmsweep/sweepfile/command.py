"""The command of a trial: macros to an argument list. Never a shell string.

Follows ``wandb.wandb_agent.Agent._create_sweep_command`` and
``wandb.sdk.launch.sweeps.utils.create_sweep_command_args`` (0.31.0), except where docs/wandb-differences.md says
otherwise.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.findings import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.findings import Findings, Path

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")

_MACRO = re.compile(r"\$\{([^{}]*)\}")
_ENVVAR = re.compile(r"\$\{envvar:([A-Za-z_][A-Za-z0-9_]*)\}")


def _flags_only_when_true(params: Mapping[str, Any]) -> list[str]:
    return [f"--{k}" if v is True else f"--{k}={v}" for k, v in params.items() if v is not False]


#: Macros that stand for the parameters.
_ARGUMENTS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "args": lambda params: [f"--{k}={v}" for k, v in params.items()],
    "args_no_boolean_flags": _flags_only_when_true,
    "args_no_hyphens": lambda params: [f"{k}={v}" for k, v in params.items()],
    "args_no_equals": lambda params: [item for k, v in params.items() for item in (f"--{k}", f"{v}")],
    "args_append_hydra": lambda params: [f"+{k}={v}" for k, v in params.items()],
    "args_override_hydra": lambda params: [f"++{k}={v}" for k, v in params.items()],
    "args_json": lambda params: [json_text(params)],
}

#: Every macro that stands alone in its element.
MACROS = ("env", "interpreter", "program", *_ARGUMENTS, "args_json_file")


def json_text(params: Mapping[str, Any]) -> str:
    """What ``${args_json}`` gives, and the content of the file that ``${args_json_file}`` names."""
    return json.dumps(params)


def needs_json_file(config: SweepConfig) -> bool:
    """Whether the command asks for the file of ``${args_json_file}``."""
    return "${args_json_file}" in (config.command or ())


def build_argv(
    config: SweepConfig, params: Mapping[str, Any], *, environ: Mapping[str, str], json_file: str
) -> list[str]:
    """The argument list of one trial.

    Values are written as ``str()`` writes them, without quoting, because no shell will read them: ``True``, ``None``,
    ``1e-05``, ``{'lr': 0.001}`` for a nested parameter.

    Args:
        config: checked.
        params: the point, top-level names in W&B's order.
        environ: where ``${envvar:NAME}`` is looked up.
        json_file: path that ``${args_json_file}`` gives; the caller writes the file.

    Raises:
        UsageError: an environment variable of the command is not set.
    """
    argv: list[str] = []
    for element in config.command or DEFAULT:
        argv += _expand(str(element), config, params, environ, json_file)
    return argv


def _expand(
    element: str, config: SweepConfig, params: Mapping[str, Any], environ: Mapping[str, str], json_file: str
) -> list[str]:
    macro = _MACRO.fullmatch(element)
    name = macro[1] if macro else None
    if name in _ARGUMENTS:
        return _ARGUMENTS[name](params)
    alone = {
        "env": "/usr/bin/env",
        "interpreter": "python",
        "program": config.program or "",
        "args_json_file": json_file,
    }
    if name in alone:
        return [alone[name]]
    return [_MACRO.sub(lambda found: _inside(found, element, params, environ), element)]


def _inside(found: re.Match[str], element: str, params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The text of a macro that may stand inside an element: an environment variable, or a parameter's value."""
    variable = _ENVVAR.fullmatch(found[0])
    if variable:
        if variable[1] not in environ:
            raise UsageError(f"command element {element!r}: the environment variable {variable[1]} is not set")
        return environ[variable[1]]
    value = lookup(params, found[1])
    return found[0] if value is _ABSENT else f"{value}"


_ABSENT = object()


def lookup(params: Mapping[str, Any], name: str) -> Any:
    """The value of a parameter by its name, or of a nested one by its dotted path; a marker where there is none."""
    if name in params:
        return params[name]
    first, dot, rest = name.partition(".")
    if dot and isinstance(params.get(first), dict):
        return lookup(params[first], rest)
    return _ABSENT


def check_command(command: Any, names: Iterable[str], path: Path, findings: Findings) -> None:
    """Say what is wrong with a command: not a list, macros nobody knows, or macros where W&B would drop them.

    Args:
        command: as it stands in the sweep file.
        names: of all parameters, nested ones by dotted path.
        path: key path of the command.
        findings: takes what is found.
    """
    if isinstance(command, str):
        findings.error(path, "must be a list, not one string", f"write {json.dumps(_split(command))}")
        return
    if not isinstance(command, list) or not command:
        findings.error(path, "must be a list of at least one element", f"the default is {json.dumps(DEFAULT)}")
        return
    known = set(names)
    for position, element in enumerate(command):
        if isinstance(element, (dict, list)):
            findings.error(
                (*path, position), f"{element!r} is not one element", "give it quotes, or spread it over several"
            )
            continue
        is_shell_text = position > 0 and command[position - 1] == "-c"
        for found in _MACRO.finditer(str(element)):
            _check_macro(found, str(element), known, (*path, position), findings, is_shell_text=is_shell_text)


def _check_macro(
    found: re.Match[str], element: str, names: set[str], path: Path, findings: Findings, *, is_shell_text: bool
) -> None:
    name = found[1]
    if _ENVVAR.fullmatch(found[0]) or (name in names and name not in MACROS):
        return
    if name in MACROS:
        if element != found[0]:
            hint = f"give it an element of its own: {json.dumps(_split(element))}"
            findings.error(
                path, f"{found[0]} stands inside {element!r}, where W&B leaves it as it is or drops it", hint
            )
        return
    if is_shell_text and nearest(name, MACROS) is None:
        return  # `bash -c "cd ${HOME} && ..."`: the shell's business
    close = nearest(name, (*MACROS, *names))
    hint = f"did you mean ${{{close}}}?" if close else "for an environment variable write ${envvar:NAME}"
    findings.error(path, f"{found[0]} is neither a macro nor a parameter", hint)


def _split(text: str) -> list[str]:
    """A command line as the list that was meant."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
