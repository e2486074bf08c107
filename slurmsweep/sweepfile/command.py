"""Expand the command of a trial: from macros to an argument list, never to a shell string.

The rules are those of ``wandb.wandb_agent.Agent._create_sweep_command`` and
``wandb.sdk.launch.sweeps.utils.create_sweep_command_args`` (0.31.0), except where docs/wandb-differences.md says
otherwise.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.findings import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from slurmsweep.sweepfile.findings import Findings, Path

#: Elements as the sweep file has them; None for W&B's default command.
Command = tuple[Any, ...] | None

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")

_MACRO = re.compile(r"\$\{([^{}]*)\}")
_ENVVAR = re.compile(r"\$\{envvar:([A-Za-z_][A-Za-z0-9_]*)\}")

#: In an element this is written as ``${``, whatever follows it; W&B has no such sign.
_LITERAL = "$${"
_LITERAL_OR_MACRO = re.compile(r"\$\$\{|\$\{([^{}]*)\}")

# patterns as text: compiling takes longer than what else an agent does with a command, and few commands need them
#: The option of a shell whose value is a command line: ``bash -c``, ``bash -lc``.
_SHELL_TEXT = r"-[a-z]*c"

#: Macros, and what resembles them: ``${{...}}`` of GitHub and others, and OmegaConf's ``${a:${b}}``.
_ANY_BRACES = r"\$\{(?:\{[^{}]*\}|[^{}])*\}"
_UNCLOSED = r"\$\{(\w*)"

#: How OmegaConf and Hydra name the environment: ``${oc.env:HOME}``.
_ENVIRONMENTS = ("env", "oc.env")

#: How close a word inside of an element must be to a macro to be a slip: ``${program_dir}`` is another word.
_CLOSE_INSIDE = 0.8

#: Macros that stand for the parameters.
_ARGUMENTS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "args": lambda params: [f"--{k}={v}" for k, v in params.items()],
    "args_no_boolean_flags": lambda params: [
        f"--{k}" if v is True else f"--{k}={v}" for k, v in params.items() if v is not False
    ],
    "args_no_hyphens": lambda params: [f"{k}={v}" for k, v in params.items()],
    "args_no_equals": lambda params: [item for k, v in params.items() for item in (f"--{k}", f"{v}")],
    "args_append_hydra": lambda params: [f"+{k}={v}" for k, v in params.items()],
    "args_override_hydra": lambda params: [f"++{k}={v}" for k, v in params.items()],
    "args_json": lambda params: [json_text(params)],
    # as W&B's code happens to do: the value is a dictionary, and extending a list by it adds the keys only
    "args_dict": list,
}

#: Macros for Hydra, each with the sign that its overrides begin with; the first one is for other programs, too.
FOR_HYDRA = {"args_no_hyphens": "", "args_append_hydra": "+", "args_override_hydra": "++"}

#: Macros that must be an element of their own.
MACROS = ("env", "interpreter", "program", *_ARGUMENTS, "args_json_file")


def json_text(params: Mapping[str, Any]) -> str:
    """Return the text of ``${args_json}``, which is also the content of the file that ``${args_json_file}`` names."""
    return json.dumps(params)


def needs_json_file(command: Command) -> bool:
    """Return whether a command uses ``${args_json_file}``, so that the caller must write the file."""
    return "${args_json_file}" in (command or DEFAULT)


def needs_program(command: Command) -> bool:
    """Return whether a command uses ``${program}``."""
    return "${program}" in (command or DEFAULT)


def environment_variables(command: Command) -> list[tuple[int, str]]:
    """Return the name in each ``${envvar:NAME}`` of a command, with the position of its element."""
    elements = enumerate(str(element).replace(_LITERAL, "") for element in command or DEFAULT)
    return [(place, found[1]) for place, element in elements for found in _ENVVAR.finditer(element)]


def parameters_in(element: str) -> list[str]:
    """Return the names in an element that stand for one parameter each, if there are parameters of these names."""
    found = _MACRO.findall(element.replace(_LITERAL, ""))
    return [name for name in found if name not in MACROS and not name.startswith("envvar:")]


def build_argv(
    command: Command,
    program: str | None,
    params: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    json_file: str,
    hydra: bool = False,
    windows: bool = False,
) -> list[str]:
    """Return the argument list of one trial.

    Values are written as ``str()`` writes them, without quotes, because no shell reads them: ``True``, ``None``,
    ``1e-05``, ``{'lr': 0.001}`` for a nested parameter. With ``hydra`` the macros for Hydra write its grammar instead
    (:mod:`.hydra`).

    The top-level names of ``params`` are in W&B's order. The caller writes ``json_file``, which ``${args_json_file}``
    names; ``environ`` has the variables for ``${envvar:NAME}``; on ``windows`` there is no ``${env}``. Raises
    UsageError if one of these variables is not set, the command needs a program and has none, or Hydra's grammar cannot
    write a parameter.
    """
    if needs_program(command) and program is None:
        raise UsageError("the command needs ${program}, but the sweep file has no program: name the training script")
    fixed = {
        "env": [] if windows else ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [program or ""],
        "args_json_file": [json_file],
    }
    argv: list[str] = []
    for element in map(str, command or DEFAULT):
        macro = _MACRO.fullmatch(element)
        name = macro[1] if macro else ""
        if hydra and name in FOR_HYDRA:
            from slurmsweep.sweepfile.hydra import overrides  # every agent loads this module, few need that one

            argv += overrides(params, FOR_HYDRA[name])
        elif name in _ARGUMENTS:
            argv += _ARGUMENTS[name](params)
        elif name in fixed:
            argv += fixed[name]
        else:
            inside = partial(_inside, element=element, params=params, environ=environ)
            argv.append(_LITERAL_OR_MACRO.sub(inside, element))
    return argv


def _inside(found: re.Match[str], element: str, params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the text of a macro inside an element: an environment variable, or a parameter's value.

    A macro that is neither stays as written.
    """
    if found[0] == _LITERAL:
        return "${"
    variable = _ENVVAR.fullmatch(found[0])
    if not variable:
        return f"{lookup(params, found[1], default=found[0])}"
    if variable[1] not in environ:
        problem = f"the environment variable {variable[1]} is not set: export it first"
        raise UsageError(f"command element {element!r}: {problem}")
    return environ[variable[1]]


def lookup(params: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return the value of a parameter by its name, or of a nested one by its dotted path.

    A parameter whose own name contains dots comes first.
    """
    if name in params:
        return params[name]
    first, dot, rest = name.partition(".")
    return lookup(params[first], rest, default) if dot and isinstance(params.get(first), dict) else default


def check_command(command: Any, names: Collection[str], path: Path, findings: Findings) -> None:
    """Report mistakes in a command: not a list, unknown macros, or macros where W&B would not expand them.

    ``names`` are those of all parameters, dotted paths for nested ones.
    """
    if isinstance(command, str):
        findings.error(path, "must be a list, not one string", f"write {json.dumps(split_line(command))}")
        return
    if not isinstance(command, list):
        findings.error(path, f"must be a list, not {shown(command)}", f"the default is {json.dumps(DEFAULT)}")
        return
    if not command:
        findings.warn(path, "is empty, which means the default command", f"write {json.dumps(DEFAULT)}, or remove it")
    for position, element in enumerate(command):
        here = (*path, position)
        if isinstance(element, (dict, list)):
            findings.error(here, f"{shown(element)} is not one element", "give it quotes, or spread it over several")
        else:
            is_shell_text = position > 0 and bool(re.fullmatch(_SHELL_TEXT, str(command[position - 1])))
            _check_element(str(element), names, here, findings, is_shell_text=is_shell_text)


def _check_element(text: str, names: Collection[str], path: Path, findings: Findings, *, is_shell_text: bool) -> None:
    """Check one element; of ``bash -c "cd ${HOME} && ..."`` only what resembles a macro: the shell expands the rest."""
    text = text.replace(_LITERAL, "")
    if "${" not in text or text[2:-1] in MACROS:
        return
    for macro in (found[0] for found in re.finditer(_ANY_BRACES, text)):
        name = macro[2:-1]
        if is_shell_text and macro != text and not name.startswith("envvar:") and not nearest(name, MACROS):
            continue
        if name in MACROS and macro != text:
            hint = f"give it an element of its own: {json.dumps(split_line(text))}"
            findings.error(path, f"{macro} stands inside {text!r}, where W&B would not expand it", hint)
        elif not _ENVVAR.fullmatch(macro) and name not in (*MACROS, *names):
            _report_unknown(macro, text, names, path, findings)
    unclosed = re.search(_UNCLOSED, re.sub(_ANY_BRACES, "", text))
    if unclosed and not is_shell_text:
        report = findings.error if nearest(unclosed[1], (*MACROS, *names, "envvar")) else findings.warn
        report(path, f"{text!r} has a ${{ without its }}", "close it")


def _report_unknown(macro: str, text: str, names: Collection[str], path: Path, findings: Findings) -> None:
    """Report ``${...}`` of another program: W&B passes it on inside of text, and leaves out a whole element of it.

    What resembles a macro is a slip.
    """
    name = macro[2:-1]
    word, colon, variable = name.partition(":")
    close = nearest(name, (*MACROS, *names)) if macro == text else nearest(name, MACROS, _CLOSE_INSIDE)
    if colon and nearest(word, ["envvar"], _CLOSE_INSIDE):
        close = f"envvar:{variable.strip() or 'NAME'}"
    wanted = name if name.isidentifier() else variable if word in _ENVIRONMENTS else ""
    hint = f"for an environment variable write ${{envvar:{wanted}}}" if wanted else ""
    if close:
        findings.error(path, f"{macro} is neither a macro nor a parameter", f"did you mean ${{{close}}}?")
    elif macro == text:
        problem = f"{macro} is neither a macro nor a parameter, and W&B leaves such an element out"
        findings.error(path, problem, f"remove it; {hint}" if hint else "remove it")
    else:
        similar = nearest(name, names)
        hint = f"did you mean ${{{similar}}}?" if similar else hint
        findings.warn(path, f"{macro} in {text!r} is passed on as it is, because it is no macro of W&B's", hint)


def split_line(text: str) -> list[str]:
    """Split a command line into the list that was probably meant."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
