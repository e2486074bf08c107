"""Look at what a sweep's command needs before a trial runs: its first word, the variables it names, room for arguments.

What is wrong on every machine is an error. What only the machine can tell that runs the trials is a doubt: an error
where that machine is this one, else a warning. Nothing is run, and no file but the first lines of scripts is read.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.agents import signals
from slurmsweep.agents.environment import WRAP, child_environment, search_path, words_before
from slurmsweep.control.creation.program import beginning_of
from slurmsweep.control.creation.wrappers import ASSIGNMENT, started
from slurmsweep.errors import SweepFileError, UsageError, Violation
from slurmsweep.state.paths import NO_ID, Layout
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.state.manifest import Manifest
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Parameter

#: Words that a shell knows and that are no programs.
_OF_SHELL = frozenset(
    {".", "source", "cd", "export", "set", "unset", "ulimit", "alias", "eval", "exec", "module", "ml"}
)

#: Words between two commands of a shell, and before the files that it opens.
_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1"})

#: Values of ``WANDB_MODE``: wandb, and the native client, end a script for any other.
_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")

#: Bytes of one argument that Linux takes (MAX_ARG_STRLEN, with the NUL at its end), and of the pointer to each.
_LONGEST = 131_072
_POINTER = 8


def refuse_wrong_variables(environ: Mapping[str, str]) -> list[str]:
    """Read the variables that each agent reads before or after it takes a trial; return the words before its command.

    Raises:
        UsageError: one of them is wrong.
    """
    signals.check_variables(environ)
    mode = environ.get("WANDB_MODE") or "offline"
    if mode not in _MODES:
        raise UsageError(f"WANDB_MODE={mode!r} is not a mode of wandb: use one of {', '.join(_MODES)}")
    return words_before(environ)


class StartProblems(NamedTuple):
    """What was found: ``errors`` are wrong everywhere, ``doubts`` only where this machine runs the trials."""

    errors: tuple[Violation, ...]
    doubts: tuple[Violation, ...]


def refuse_what_cannot_start(
    manifest: Manifest, environ: Mapping[str, str], *, runs_here: bool
) -> tuple[Violation, ...]:
    """Return doubts about a sweep whose trials are about to start.

    Raises:
        SweepFileError: no trial could start; where ``runs_here`` a doubt is enough.
        UsageError: a variable that agents read is wrong, or the folder is gone in which trials run.
    """
    manifest.refuse_missing_workdir()
    found = check_start(manifest.config, manifest.workdir, environ)
    wrong = [*found.errors, *(found.doubts if runs_here else ())]
    if wrong:
        raise SweepFileError(manifest.source, wrong)
    return found.doubts


def check_start(config: SweepConfig, workdir: str, environ: Mapping[str, str]) -> StartProblems:
    """Return what would keep every trial of the sweep from starting.

    Args:
        config: its command may be that of a function.
        workdir: the folder that trials run in.
        environ: of this process, which agents here inherit and jobs usually do.

    Raises:
        UsageError: Hydra's grammar cannot write a parameter, or a variable that agents read is wrong.
    """
    start, wrap = _StartCheck(workdir, search_path(environ)), refuse_wrong_variables(environ)
    layout, attempt_id = Layout(f"{workdir}/sweep-{NO_ID}"), AttemptId(0, 1)
    here, environ = environ, child_environment(environ, config, layout, attempt_id)
    start.doubts += [  # a job template may set it
        Violation(f"command.{place}", f"the environment variable {name} is not set", "export it first")
        for place, name in command.environment_variables(config.command)
        if name not in environ
    ]
    if start.begins_with_a_program(config):
        argv = _largest_argv(config, environ, layout.own_macros(attempt_id))
        if wrap:  # what stands behind it may be in a container
            start.check_program(wrap[0], WRAP)
        elif not start.doubts:  # else words may be made of a variable that is not set
            start.check_programs(argv, config.program)
        start.check_room([*wrap, *argv], here)
    return StartProblems(tuple(start.errors), tuple(start.doubts))


class _StartCheck:
    """Looks at one thing after the other; what is wrong gathers in ``errors`` and ``doubts``."""

    def __init__(self, workdir: str, path: str) -> None:
        self.errors: list[Violation] = []
        self.doubts: list[Violation] = []
        self._workdir = workdir
        self._path = path

    def begins_with_a_program(self, config: SweepConfig) -> bool:
        """Return whether the first element can be a program; say so if it is an option, or stands for the arguments."""
        first = str((config.command or command.DEFAULT)[0])
        macro = first.removeprefix("${").removesuffix("}")
        if first != macro and command.stands_for_arguments(macro):
            problem, hint = "begins with the arguments", "put ${env}, ${interpreter}, ${program} before them"
        elif first.startswith("-"):
            problem, hint = f"begins with the option {first!r}"[:200], "put the program before it"
        elif not first.strip():
            problem, hint = "begins with an empty element", "remove it"
        elif ASSIGNMENT.match(first) and not self._found(first):
            problem, hint = (
                f"begins with the variable {first!r}"[:200],
                f"put env before it: [env, {json.dumps(first)}, ...]",
            )
        else:
            return True
        self.errors.append(Violation("command.0", problem, hint))
        return False

    def check_programs(self, argv: Sequence[str], program: str | None) -> None:
        """Look at the words of a command that have to be programs, up to the first that cannot be started."""
        all(self.check_program(word, "program" if word == program else "command") for word in started(argv))

    def check_program(self, word: str, place: str) -> bool:
        """Look at a word that has to be a program; return whether it can be started."""
        found = self._found(word)
        if found is None:
            self._say_missing(word, place)
            return False
        if not os.access(found, os.X_OK) or os.path.isdir(found):
            self._say_not_executable(word, found, place)
            return False
        return self._can_be_loaded(word, found, place)

    def check_room(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Look whether the longest arguments that a trial can have fit into the system's limits (execve(2))."""
        hint = "pass the parameters by a file: ${args_json_file}; or by none of the macros, as wandb.init() knows them"
        sizes = [len(word.encode("utf-8", "surrogateescape")) + 1 for word in argv]
        for word, size in zip(argv, sizes, strict=True):
            if size > _LONGEST:
                problem = f"a trial's argument {word[:40]!r}... has {size - 1} bytes, and Linux takes {_LONGEST - 1}"
                self.errors.append(Violation("command", problem, hint))
        whole = sum(sizes) + sum(len(os.fsencode(f"{name}={value}")) + 1 for name, value in environ.items())
        whole += _POINTER * (len(argv) + len(environ))
        most = os.sysconf("SC_ARG_MAX")
        if 0 < most < whole and not self.errors:
            problem = f"a trial's arguments and variables have {whole} bytes, and the system takes {most} here"
            self.doubts.append(Violation("command", problem, hint))

    def _found(self, word: str) -> str | None:
        """Return the file that the word would run, as execvp(3) finds it; None for none."""
        if "/" in word:
            path = os.path.join(self._workdir, word)
            return path if os.path.exists(path) else None
        return shutil.which(word, path=self._path)

    def _say_missing(self, word: str, place: str) -> None:
        if "/" not in word and os.path.isfile(os.path.join(self._workdir, word)):
            problem = f"{word!r} is in {self._workdir}, which is not on the PATH"[:300]
            self.errors.append(Violation(place, problem, f"write ./{word}, or put its interpreter before it"))
        elif len(word.split()) > 1:
            parts = command.split_line(word)
            hint = f"split it: {json.dumps(parts, ensure_ascii=False)}"
            if parts[0] in _OF_SHELL or _OPERATORS & set(parts):
                text = json.dumps(f'{word} "$@"', ensure_ascii=False)
                hint = f"let a shell read it: [bash, -c, {text}, bash, ...]"
            self.errors.append(Violation(place, f"there is no program {word!r}, with a blank in its name"[:200], hint))
        elif word in _OF_SHELL:
            hint = 'let one read it: [bash, -c, "..."]'
            self.errors.append(
                Violation(place, f"{word!r} is a word of the shell, and no shell reads the command", hint)
            )
        elif word.startswith(("~", "$")):
            problem = f"{word!r} is not a path: no shell reads the command, and expands it"[:200]
            self.errors.append(Violation(place, problem, "write ${envvar:HOME} for the home folder"))
        else:
            where = "here" if os.path.isabs(word) else f"in {self._workdir}" if "/" in word else "on the PATH here"
            self.doubts.append(Violation(place, f"there is no program {word!r} {where}"[:300], "is its name right?"))

    def _say_not_executable(self, word: str, found: str, place: str) -> None:
        if os.path.isdir(found):
            self.errors.append(Violation(place, f"{word!r} is a folder, not a program"[:200], "name a file in it"))
            return
        reader = {".py": "${interpreter}", ".sh": "bash"}.get(os.path.splitext(word)[1], "its interpreter")
        hint = f"`chmod +x {shlex.quote(word)}`, or put {reader} before it"
        self.errors.append(Violation(place, f"{word!r} is not executable"[:200], hint))

    def _can_be_loaded(self, word: str, found: str, place: str) -> bool:
        """Look at the first line of a script: the kernel reads it, and not a shell."""
        begin = beginning_of(found, 256)
        if begin is None:  # a program may be run and not read
            return True
        line = begin.removeprefix(b"#!").partition(b"\n")[0]
        if not begin.startswith(b"#!"):
            if b"\0" in begin:  # a program for this kernel, or for one of its helpers
                return True
            problem, hint = (
                "is a text whose first line names no interpreter",
                "begin it with #! and the interpreter's path",
            )
        elif line.endswith(b"\r"):
            problem, hint = "has DOS line ends (\\r\\n): its interpreter is not found", f"dos2unix {shlex.quote(word)}"
        else:
            return self._has_interpreter(word, os.fsdecode(line), place)
        self.errors.append(Violation(place, f"{word!r} {problem}"[:300], f"{hint}, or put the interpreter before it"))
        return False

    def _has_interpreter(self, word: str, line: str, place: str) -> bool:
        """Look for the interpreter that the first line of a script names; the kernel splits that into two words."""
        program, *argument = line.split(None, 1) or [""]
        if os.path.basename(program) == "env" and argument and not argument[0].startswith("-"):
            if len(argument[0].split()) > 1:
                problem = f"{word!r} begins with #!{program} {argument[0]}: env gets all of it as one word"[:300]
                self.errors.append(Violation(place, problem, f"write #!{program} -S {argument[0]}"))
                return False
            program = argument[0].strip()
        elif "/" not in program:  # the kernel has no search path
            program = f"./{program}"
        interpreter = self._found(program)
        if interpreter and os.access(interpreter, os.X_OK):
            return True
        self.doubts.append(Violation(place, f"{word!r} needs the interpreter {program!r}, which is not here"[:300]))
        return False


def _largest_argv(config: SweepConfig, environ: Mapping[str, str], own: Mapping[str, str]) -> list[str]:
    """Return the arguments of a trial that has the longest value of each parameter."""
    return command.build_argv(
        config.command,
        config.program or "program",
        {name: _longest(parameter) for name, parameter in config.parameters.items()},
        environ={name: "" for _, name in command.environment_variables(config.command)} | dict(environ),
        own=own,
        hydra=bool(config.extensions.hydra),
    )


def _longest(parameter: Parameter) -> Any:
    """Return the value of a parameter that is the longest as text; of a continuous one any number."""
    if isinstance(parameter, Nested):
        return {name: _longest(inner) for name, inner in parameter.parameters.items()}
    if isinstance(parameter, Categorical):
        return max(parameter.values, key=lambda value: len(str(value)))
    if isinstance(parameter, IntUniform):
        return max(parameter.low, parameter.high, key=lambda value: len(str(value)))
    return parameter.value if isinstance(parameter, Constant) else 0.123456789012345
