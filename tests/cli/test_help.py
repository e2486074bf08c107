"""Help: what each command is for, examples that run, its exit codes, letters of options that mean one thing."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest

from slurmsweep.cli import commands
from slurmsweep.cli.main import main
from slurmsweep.cli.parser import COMMANDS, EXIT_CODES, GROUPS, build_parser

MODULES = {name: import_module(f"slurmsweep.cli.commands.{name}") for name in COMMANDS}

#: What needs a cluster, internet, a whole round of a supervisor, or a second sweep is parsed only.
NOT_RUN = {
    "compare last k3v9",
    "compare last k3v9 -o compare.html",
    "submit last -n 200 -t 30",
    "submit last --dry-run -p gpu",
    "run sweep.yaml -p gpu -t 45 --no-wait",
    "set last -t 45 -p long",
    "set last --width 32",
    "doctor --nodes 2 -p short",
    "doctor --backend batch --queue spot",
    "logs team/project/wbyz9876",
    "mend last",
    "mend last --mend-every 30",
    "sync last -j 8 --project mnist",
    "listen $QUEUE --root /shared",
    "listen $QUEUE --root /shared --idle 600",
}

#: Commands whose examples change nothing that another example looks at.
READING = {
    "status",
    "watch",
    "report",
    "trials",
    "show",
    "logs",
    "best",
    "importance",
    "check",
    "ls",
    "efficiency",
    "templates",
    "export",
}

#: Letters, and the options that may have them. `-n` is how many, in every command.
LETTERS = {
    "-n": {"--count", "--limit", "--lines", "--top"},
    "-h": {"--help"},
    "-f": {"--follow"},
    "-j": {"--jobs"},
    "-o": {"--output"},
    "-s": {"--state"},
    "-w": {"--where"},
    "-p": {"--partition"},
    "-t": {"--time"},
    "-c": {"--cpus-per-task"},
    "-A": {"--account"},
    "-q": {"--qos"},
    "-C": {"--constraint"},
    "-G": {"--gpus"},
    "-x": {"--exclude"},
}


def parser_of(name):
    [action] = [a for a in build_parser(name)._actions if isinstance(a, argparse._SubParsersAction)]
    return action.choices[name]


def test_every_module_of_a_command_is_in_the_help():
    assert sorted(path.stem for path in Path(commands.__path__[0]).glob("[a-z]*.py")) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_is_for_how_it_is_used_and_how_it_ends(name):
    module = MODULES[name]

    assert re.fullmatch(r"[a-z].*[^.]", module.HELP)
    assert len(module.EXAMPLES) >= 2
    assert all(words.split()[0] == name and what and not what.endswith(".") for words, what in module.EXAMPLES)
    assert all(code in EXIT_CODES or text for code, text in module.EXIT_CODES.items())
    # the words of code 1 differ from command to command
    assert all(module.EXIT_CODES.get(1, "says it"))


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_parse(name):
    for words, _ in MODULES[name].EXAMPLES:
        assert build_parser(name).parse_args(shlex.split(words)).command == name


def write_sweep_file(folder):
    script = "import slurmsweep as wandb; wandb.init(); wandb.log({'loss': wandb.config.lr})"
    (folder / "train.py").write_text(script)
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\n"
        "parameters: {lr: {values: [0.01, 0.02, 0.03, 0.04, 0.05, 0.5]}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def looked_at(slurmsweep_in, tmp_path_factory):
    """Return a folder with a sweep that has run."""
    folder = write_sweep_file(tmp_path_factory.mktemp("examples"))
    assert slurmsweep_in(folder, "run", "sweep.yaml", "--backend", "local").returncode == 0
    return folder


EXAMPLES = [words for module in MODULES.values() for words, _ in module.EXAMPLES if words not in NOT_RUN]


def reads(words):
    return words.split()[0] in READING or words == "create --from last --top 5"


@pytest.mark.parametrize("words", [words for words in EXAMPLES if reads(words)])
def test_examples_that_look_run(looked_at, slurmsweep_in, words):
    done = slurmsweep_in(looked_at, *shlex.split(words))

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [words for words in EXAMPLES if not reads(words)])
def test_examples_that_do_something_run(tmp_path, slurmsweep_in, monkeypatch, words):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # Slurm may be installed here, and not run
    start = (
        ["run", "--backend", "local"] if words.startswith(("delete", "rerun", "leet")) else ["create"]
    )  # only what ended is deleted
    file = write_sweep_file(tmp_path) / "sweep.yaml"
    if words.startswith("extend"):
        file.write_text(file.read_text().replace("method: grid", "method: random\nrun_cap: 2"))
    sweep = slurmsweep_in(tmp_path, *start, "sweep.yaml").stdout.strip()

    done = slurmsweep_in(tmp_path, *shlex.split(words.replace("k3v9q2xa", sweep)))

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_80_columns_and_is_no_wider_in_a_wide_window(capsys, monkeypatch, name):
    texts = []
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit) as ended:
            main([*filter(None, [name]), "--help"])
        assert ended.value.code == 0
        texts.append(capsys.readouterr().out)

    assert [line for line in texts[0].splitlines() if len(line) > 79] == []
    assert max(map(len, texts[1].splitlines())) <= 79


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_the_examples_and_exit_codes_of_the_command(capsys, name):
    with pytest.raises(SystemExit):
        main([name, "-h"])
    out = capsys.readouterr().out

    assert out.startswith(f"usage: slurmsweep {name} ")
    assert all(f"  slurmsweep {words}\n" in out for words, _ in MODULES[name].EXAMPLES)
    said = re.sub(r"\s+", " ", out[out.index("exit codes: ") :])
    assert re.findall(r"(?:: |; )(\d) ", said) == [
        str(code) for code in sorted({0, 2} | MODULES[name].EXIT_CODES.keys())
    ]


def test_help_is_grouped(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out

    assert re.findall(r"^(\S.*):$", out, re.MULTILINE) == ["options", *GROUPS]
    assert re.findall(r"^  (\w+) ", out, re.MULTILINE) == list(COMMANDS)


def test_help_of_a_command_by_two_words(capsys):
    outs = []
    for words in (["help", "logs"], ["logs", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        outs.append(capsys.readouterr().out)

    assert outs[0] == outs[1]


def test_without_a_command_the_first_steps_are_said(capsys):
    assert main([]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "slurmsweep run sweep.yaml" in err
    assert max(map(len, err.splitlines())) < 80
    for line in re.findall(r"^  slurmsweep (.+?)  ", err, re.MULTILINE):
        assert build_parser().parse_args(line.split()).command


def test_a_letter_means_the_same_in_every_command():
    found = {}
    for name in COMMANDS:
        for action in parser_of(name)._actions:
            letters = [word for word in action.option_strings if not word.startswith("--")]
            for letter in letters:
                found.setdefault(letter, set()).update(set(action.option_strings) - {letter})

    assert found == LETTERS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_common_option_has_its_letter_everywhere(name):
    of = {long: letter for letter, longs in LETTERS.items() for long in longs}
    for action in parser_of(name)._actions:
        for long in set(action.option_strings) & of.keys():
            # `plan --count` is how many run, `plan --limit` how many are shown
            if (name, long) not in WITHOUT_LETTER:
                assert of[long] in action.option_strings, long


WITHOUT_LETTER = {("create", "--top"), ("plan", "--limit")}
