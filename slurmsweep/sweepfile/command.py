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
from slurmsweep.sweepfile.findings import nearest, shown, suggest

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
SHELL_TEXT = r"-[a-z]*c"

#: Macros, and what resembles them: ``${{...}}`` of GitHub and others, and OmegaConf's ``${a:${b}}``.
_ANY_BRACES = r"\$\{(?:\{[^{}]*\}|[^{}])*\}"
_UNCLOSED = r"\$\{(\w*)"

#: How a shell sets a variable of this name.
_SETS = r"(?:^|[\s;&|(])(?:{0}\+?=|(?:for|read|local|export)\s+{0}\b)"

#: How OmegaConf and Hydra name the environment: ``${oc.env:HOME}``.
_ENVIRONMENTS = ("env", "oc.env")

#: How close a word inside of an element must be to a macro to be a slip: ``${program_dir}`` is another word.
_CLOSE_INSIDE = 0.8

#: How macros for the parameters begin that take the names of :data:`SHAPES`.
_SHAPED = "args:"

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

#: Macros that must be an element of their own. ``${args:...}`` is one, too.
MACROS = ("env", "interpreter", "program", *_ARGUMENTS, "args_json_file")

#: What ``${args:words,flags,dotted}`` may ask for, in any order; W&B has no such macro.
SHAPES = ("words", "flags", "dotted")

#: Macros for the place of a trial, anywhere inside of an element; W&B has none of them.
TRIAL, TRIAL_DIR, ATTEMPT_DIR = "trial", "trial_dir", "attempt_dir"
PLACES = (TRIAL, TRIAL_DIR, ATTEMPT_DIR)

#: How close a word inside of an element must be to the macro of a folder to be a slip: ``${trial_id}`` is none.
_CLOSE_TO_FOLDER = 0.85


def json_text(params: Mapping[str, Any]) -> str:
    """Return the text of ``${args_json}``, which is also the content of the file that ``${args_json_file}`` names."""
    return json.dumps(params)


def needs_json_file(command: Command) -> bool:
    """Return whether a command uses ``${args_json_file}``, so that the caller must write the file."""
    return "${args_json_file}" in (command or DEFAULT)


def needs_program(command: Command) -> bool:
    """Return whether a command uses ``${program}``."""
    return "${program}" in (command or DEFAULT)


def names_attempt_folder(command: Command) -> bool:
    """Return whether a command uses ``${attempt_dir}``, so that the caller must make the folder."""
    return any(f"${{{ATTEMPT_DIR}}}" in str(element).replace(_LITERAL, "") for element in command or ())


def stands_for_arguments(name: str) -> bool:
    """Return whether the macro of this name puts arguments in its place: ``args_json`` and ``args:words`` do."""
    return name in _ARGUMENTS or name == "args_json_file" or name.startswith(_SHAPED)


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
    own: Mapping[str, str],
    hydra: bool = False,
    windows: bool = False,
) -> list[str]:
    """Return the argument list of one trial.

    Values are written as ``str()`` writes them, without quotes, because no shell reads them: ``True``, ``None``,
    ``1e-05``, ``{'lr': 0.001}`` for a nested parameter. With ``hydra`` the macros for Hydra write its grammar instead
    (:mod:`.hydra`).

    The top-level names of ``params`` are in W&B's order. ``own`` has the texts that differ from trial to trial
    (:meth:`slurmsweep.state.paths.Layout.own_macros`); the caller writes the file and makes the folders that they name.
    ``environ`` has the variables for ``${envvar:NAME}``; on ``windows`` there is no ``${env}``. Raises UsageError if
    one of these variables is not set, the command needs a program and has none, or Hydra's grammar cannot write a
    parameter.
    """
    if needs_program(command) and program is None:
        raise UsageError("the command needs ${program}, but the sweep file has no program: name the training script")
    fixed = {
        "env": [] if windows else ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [program or ""],
        "args_json_file": [own["args_json_file"]],
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
        elif name.startswith(_SHAPED):
            argv += _shaped(params, _shapes(name))
        elif name in fixed:
            argv += fixed[name]
        else:
            inside = partial(_inside, element=element, params={**own, **params}, environ=environ)
            argv.append(_LITERAL_OR_MACRO.sub(inside, element))
    return argv


def _shapes(name: str) -> list[str]:
    return [shape.strip() for shape in name.removeprefix(_SHAPED).split(",")]


def _shaped(params: Mapping[str, Any], shapes: Collection[str], prefix: str = "") -> list[str]:
    """Return the parameters as options: ``--name=value``, but for what ``shapes`` gives another form."""
    argv: list[str] = []
    for name, value in params.items():
        option = f"{prefix}{name}"
        if "dotted" in shapes and isinstance(value, dict) and value:
            argv += _shaped(value, shapes, f"{option}.")
        elif "flags" in shapes and isinstance(value, bool):
            argv.append(f"--{option}" if value else f"--no-{option}")
        elif "words" in shapes and isinstance(value, (list, tuple)):
            argv += [f"--{option}", *map(str, value)]
        else:
            argv.append(f"--{option}={value}")
    return argv


def _inside(found: re.Match[str], element: str, params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the text of a macro inside an element: an environment variable, a parameter's value, or a trial's place.

    A macro that is none of them stays as written.
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
            is_shell_text = position > 0 and bool(re.fullmatch(SHELL_TEXT, str(command[position - 1])))
            _check_element(str(element), names, here, findings, is_shell_text=is_shell_text)


def _check_element(text: str, names: Collection[str], path: Path, findings: Findings, *, is_shell_text: bool) -> None:
    """Check one element; of ``bash -c "cd ${HOME} && ..."`` only what resembles a macro: the shell expands the rest."""
    text = text.replace(_LITERAL, "")
    if "${" not in text or text[2:-1] in MACROS:
        return
    for name in PLACES if is_shell_text else ():
        if f"${{{name}}}" in text and name not in names and re.search(_SETS.format(name), text):
            problem = f"the shell text sets {name!r}, but ${{{name}}} in it is a macro, which is put in before"
            findings.warn(path, problem, f"write $${{{name}}} for the shell's own variable, or give it another name")
    for macro in (found[0] for found in re.finditer(_ANY_BRACES, text)):
        name = macro[2:-1]
        wrong = [shape for shape in _shapes(name) if shape not in SHAPES] if name.startswith(_SHAPED) else []
        is_whole_element = name in MACROS or (name.startswith(_SHAPED) and not wrong)
        is_of_shell = is_shell_text and macro != text and not (is_whole_element or name.startswith("envvar:"))
        if is_of_shell and not nearest(name, (*MACROS, *PLACES)):
            continue
        if is_whole_element and macro != text:
            words = split_line(text)
            hint = "give it an element of its own" + (f": {json.dumps(words)}" if macro in words else "")
            expands = "W&B would not expand it" if name in MACROS else "it is not expanded"
            findings.error(path, f"{macro} stands inside {text!r}, where {expands}", hint)
        elif wrong and macro == text:
            findings.error(path, f"{macro}: {shown(wrong[0])} is no form of arguments", suggest(wrong[0], SHAPES))
        elif not (is_whole_element or _ENVVAR.fullmatch(macro) or name in PLACES or name in names):
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
    if macro == text:
        shaped = (f"{_SHAPED}{shape}" for shape in (*SHAPES, ",".join(SHAPES)))
        close = nearest(name, (*MACROS, *shaped, *PLACES, *names))
    else:
        close = nearest(name, MACROS, _CLOSE_INSIDE) or nearest(name, (TRIAL_DIR, ATTEMPT_DIR), _CLOSE_TO_FOLDER)
    if colon and nearest(word, ["envvar"], _CLOSE_INSIDE):
        close = f"envvar:{variable.strip() or 'NAME'}"
    wanted = name if name.isidentifier() else variable if word in _ENVIRONMENTS else ""
    hint = f"for an environment variable that is set write ${{envvar:{wanted}}}" if wanted else ""
    if close:
        findings.error(path, f"{macro} is neither a macro nor a parameter", f"did you mean ${{{close}}}?")
    elif macro == text:
        problem = f"{macro} is neither a macro nor a parameter, and W&B leaves such an element out"
        findings.error(path, problem, f"remove it; {hint}" if hint else "remove it")
    else:
        similar = nearest(name, (*PLACES, *names))
        hint = f"did you mean ${{{similar}}}?" if similar else hint
        findings.warn(path, f"{macro} in {text!r} is passed on as it is, because it is no macro of W&B's", hint)


def split_line(text: str) -> list[str]:
    """Split a command line into the list that was probably meant."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
