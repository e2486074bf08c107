"""Read a command line, and say what may have been meant where a command or an option is unknown.

argparse says this differently in each Python, hides an unknown option behind other mistakes, and shows the usage of all
commands in the place of that of the one which was named. The usage of all commands is shown where no command has the
name: which one was meant is only a guess.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: Words of other programs, and what they are here.
_ELSEWHERE = {
    "list": "ls",
    "remove": "rm",
    "retry": "resubmit",
    "repeat": "rerun",
    "start": "run",
    "kill": "cancel",
    "log": "logs",
    "info": "show",
    "top": "status",
}

#: Commands that are named where they have the option that this one lacks, at most.
_COMMANDS = 3


def parse(build: Callable[..., argparse.ArgumentParser], words: Sequence[str]) -> argparse.Namespace:
    """Return what the words say; end the process with exit code 2 and the usage of the named command otherwise.

    Where a command has the argument ``words``, they may stand apart, with options between them.

    Args:
        build: returns the parser of all commands, or of the one that is named.
        words: of the command line.
    """
    parser = own = build(*words[:1])
    commands = _commands(parser)
    if words and not words[0].startswith("-"):
        named = words[1] if words[0] == "help" and len(words) > 1 else words[0]
        if named not in commands:
            close = _ELSEWHERE.get(named) or _closest(named, commands)
            said = f"; did you mean `{close}`?" if close else ": `slurmsweep --help` lists the commands"
            parser.error(f"there is no command {named!r}{said}")
        own = commands[words[0]]
        _refuse_unknown_option(own, words[1:], build)
    args, left = parser.parse_known_args(words)
    if left and "words" in args and not any(word.startswith("-") for word in left):
        args.words += left
    elif left:
        own.error(f"unrecognized arguments: {' '.join(left)}")
    if args.command is None and not args.version:
        parser.error("name a command")
    if args.command == "help":
        commands.get(args.topic, parser).print_help()
        parser.exit()
    return args


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    return next(one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))  # noqa: SLF001


def _refuse_unknown_option(
    parser: argparse.ArgumentParser, words: Sequence[str], build: Callable[..., argparse.ArgumentParser]
) -> None:
    known = parser._option_string_actions  # noqa: SLF001 - argparse tells it in no other way
    for word in words:
        name = word.partition("=")[0]
        if word == "--":
            return
        if name != word and word not in known and name in known and known[name].nargs == 0:
            forms = [name, *(option for option in known if option.startswith(f"{name}="))]
            parser.error(f"{word}: write {' or '.join(forms)}" + (", without a value" if len(forms) == 1 else ""))
        if word.startswith("--") and name not in known and word not in known:
            close = _closest(name, (option for option in known if option.startswith("--")))
            said = f"; did you mean {close}?" if close else ""
            others = [command for command, one in _commands(build()).items() if name in one._option_string_actions]  # noqa: SLF001
            if 0 < len(others) <= _COMMANDS:
                *before, last = [f"`slurmsweep {other}`" for other in others]
                said = f"; {', '.join(before)} and {last} have it" if before else f"; {last} has it"
            parser.error(f"there is no option {name}{said}")


def _closest(word: str, known: Iterable[str]) -> str:
    """Return the one that is most like the word, or the only one that begins so; empty where none is near."""
    from difflib import get_close_matches  # for mistakes only

    known = list(known)
    begun = [one for one in known if one.startswith(word)]
    near = begun if len(begun) == 1 else get_close_matches(word, known, n=1)
    return near[0] if near else ""
