"""The bayes search beside W&B's own engine, optuna's TPE and Gaussian process, HEBO and random search, in one run.

    python benchmarks/search.py                          # everything; two hours on two cores, half of them HEBO's
    python benchmarks/search.py --peers wandb --in-flight 8
    python benchmarks/search.py --problems mine.py --seeds 10 --first-seed 100
    python benchmarks/search.py --latency                # what a proposal costs after 10 to 10,000 observations
    python benchmarks/search.py --width-curve            # what more workers at once cost in quality

Needs numpy and scikit-learn here; the peers get virtual environments of their own. Each trial takes a random time, and
a worker that becomes free asks for a point while the others still run. Prints regret of the best observed trial, and
how often ours was better and worse than each peer on the same problem, seed, noise and durations. Curves are kept, and
run again only where the problem, the engine or the way it is called has changed.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import inspect
import json
import math
import os
import statistics
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from search_peers import (
    ONE_THREAD,
    CannotInstallError,
    DiedError,
    Peer,
    Process,
    TooSlowError,
    axes,
    install,
    meaning,
)

os.environ.update(ONE_THREAD)  # before numpy is loaded

import search_problems
import search_simulation
from search_simulation import Curve, Pairs, compare, quartiles, ranks, simulate

from slurmsweep.errors import SlurmsweepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PEERS = ("wandb", "optuna-tpe", "random", "optuna-gp", "hebo")
OURS = "ours"
#: Seeds of the slow peers, unless ``--seeds-of`` says otherwise: a search takes optuna-gp 20 s and HEBO two minutes.
SLOW = {"optuna-gp": 3, "hebo": 1, "hebo-liar": 1}
#: Workers of ``--width-curve``.
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
#: Observations of ``--latency``, unless ``--sizes`` says otherwise.
SIZES = (10, 100, 1000, 10_000)


class Task(NamedTuple):
    """One search to simulate."""

    peer: Peer
    file: str
    problem: str
    seed: int
    in_flight: int
    trials: int

    def what(self) -> tuple[str, str, int, int]:
        """Return what curves are found by."""
        return self.peer.title, self.problem, self.in_flight, self.seed


@functools.cache
def problems(file: str) -> dict[str, Any]:
    """Return the problems of a file, one object each."""
    spec = importlib.util.spec_from_file_location("search_problems_of_file", file)
    if spec is None or spec.loader is None or not Path(file).exists():
        sys.exit(f"{file}: not a Python file; --problems takes one that has PROBLEMS = {{name: class}}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # inspect finds the source by it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - a person's file may raise anything
        sys.exit(f"{file}: cannot be loaded: {type(error).__name__}: {error}")
    if not isinstance(getattr(module, "PROBLEMS", None), dict) or not module.PROBLEMS:
        sys.exit(f"{file}: has no PROBLEMS = {{name: class with space and evaluate(parameters, rng)}}")
    made = {}
    for name, one in module.PROBLEMS.items():
        try:
            made[name] = one() if isinstance(one, type) else one
        except Exception as error:  # noqa: BLE001, PERF203 - as above, once per problem
            sys.exit(f"{file}: problem {name} cannot be made: {type(error).__name__}: {error}")
    for name, problem in made.items():
        try:
            inspect.signature(problem.evaluate).bind({}, None)
        except (AttributeError, TypeError):
            sys.exit(f"{file}: problem {name} has no evaluate(parameters, rng)")
        if not isinstance(getattr(problem, "space", None), dict):
            sys.exit(f"{file}: problem {name} has no space, which is W&B's mapping under parameters:")
        try:
            axes(problem.space)
        except SlurmsweepError as error:
            sys.exit(f"{file}: problem {name} has a space that is wrong: {error}")
    return made


def code(problem: Any) -> str:
    """Return a hash of a problem: its whole file, but of those here the class, its space and what they call."""
    module = sys.modules[type(problem).__module__]
    if module.__file__ != search_problems.__file__:
        return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:12]
    ours = {name: one for name, one in vars(module).items() if getattr(one, "__module__", None) == module.__name__}
    waiting: list[Any] = [one for one in type(problem).__mro__ if one in ours.values()]
    found: dict[str, Any] = {}
    while waiting:
        one = waiting.pop()
        if one.__name__ not in found:
            found[one.__name__] = one
            text = inspect.getsource(one)
            waiting += [called for name, called in ours.items() if f"{name}(" in text]
    space = json.dumps([problem.space, getattr(problem, "extensions", {})], default=str)
    return hashlib.sha256((space + meaning(*(found[name] for name in sorted(found)))).encode()).hexdigest()[:12]


_processes: dict[Peer, Process] = {}


def process_of(peer: Peer) -> Process:
    """Return a running engine of this worker; it serves one search after the other."""
    if peer not in _processes:
        _processes[peer] = Process(peer)
    return _processes[peer]


def run(task: Task) -> tuple[Curve, str]:
    """Simulate a search; the version is that of the engine that ran, whose source may be under work."""
    process = process_of(task.peer)
    problem = problems(task.file)[task.problem]
    try:
        return simulate(process, problem, task.problem, task.seed, task.in_flight, task.trials), process.version
    except DiedError:
        del _processes[task.peer]
        raise


class Kept:
    """The curves of earlier runs: a file of JSON lines, to which each new one is appended at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.curves: dict[str, Curve] = {}
        lines = file.read_text().splitlines() if file.exists() else []
        for line in lines:
            held = json.loads(line)
            self.curves[held["key"]] = Curve(*held["curve"])
        self.simulation = meaning(search_simulation.simulate, search_simulation.evaluate)
        self.versions: dict[Peer, str] = {}
        self.keys: dict[Task, str] = {}

    def key(self, task: Task) -> str:
        """Return all that a curve depends on; the sources as they were when it was first asked for."""
        if task in self.keys:
            return self.keys[task]
        peer = task.peer
        if peer not in self.versions:
            process = Process(peer)
            self.versions[peer] = process.version
            process.end()
        problem = code(problems(task.file)[task.problem])
        parts = (peer.engine, self.versions[peer], peer.code(), task.problem, problem, self.simulation, *task[3:])
        return self.keys.setdefault(task, " ".join(map(str, parts)))

    def add(self, task: Task, curve: Curve, version: str) -> None:
        """Keep a curve, now and for later runs, unless another version of the engine made it than was asked for."""
        if version != self.versions[task.peer]:
            sys.exit(f"{task.peer.title}: its source changed during the run; run again")
        key = self.key(task)
        self.curves[key] = curve
        with self.file.open("a") as file:
            file.write(json.dumps({"key": key, "curve": curve}) + "\n")


Curves = dict[tuple[str, str, int, int], Curve]


def all_curves(tasks: list[Task], kept: Kept, jobs: int) -> Curves:
    """Return the curve of each task by what it is found by; an engine that dies has none for that task, and it is said.

    Tasks run in their order, several at once.
    """
    keys = {task: kept.key(task) for task in tasks}
    missing = [task for task in tasks if keys[task] not in kept.curves]
    if missing:
        print(f"{len(tasks) - len(missing)} curves kept, {len(missing)} to run", file=sys.stderr)
        with ProcessPoolExecutor(jobs) as pool:
            futures = {pool.submit(run, task): task for task in missing}
            for count, future in enumerate(as_completed(futures), 1):
                task = futures[future]
                try:
                    kept.add(task, *future.result())
                except DiedError as error:
                    print(f"no curve for {task.what()}: {error}")
                if count % 50 == 0 or count == len(missing):
                    print(f"{count} of {len(missing)}, last {task.what()}", file=sys.stderr)
    return {task.what(): kept.curves[keys[task]] for task in tasks if keys[task] in kept.curves}


class Results:
    """Curves, and what tables need of them.

    Attributes:
        titles: the engines, ours first.
        checkpoints: numbers of ended trials at which curves are read.
    """

    def __init__(self, curves: Curves, titles: list[str], names: list[str], file: str, trials: int) -> None:
        self.curves, self.titles, self.names = curves, titles, names
        self.checkpoints = sorted({max(1, round(trials * part / 3)) for part in (1, 2, 3)})
        self.optima = {name: self.optimum(name, problems(file)[name]) for name in names}

    def optimum(self, name: str, problem: Any) -> tuple[float, bool]:
        """Return where regret counts from, and whether the problem says so."""
        sign = -1.0 if getattr(problem, "goal", "minimize") == "maximize" else 1.0
        if hasattr(problem, "optimum"):
            return sign * problem.optimum, True
        return min((min(curve.best) for what, curve in self.curves.items() if what[1] == name), default=0.0), False

    def of(self, title: str, name: str, in_flight: int) -> dict[int, Curve]:
        """Return the curves of an engine by seed."""
        found = {what[3]: curve for what, curve in self.curves.items() if what[:3] == (title, name, in_flight)}
        return dict(sorted(found.items()))

    def pairs(self, peer: str, names: Iterable[str], in_flight: int, checkpoint: int) -> Pairs:
        """Count how often ours is better than a peer after so many trials, on the same problem and seed."""
        both = []
        for name in names:
            ours, theirs = self.of(OURS, name, in_flight), self.of(peer, name, in_flight)
            both += [(ours[seed].best, theirs[seed].best) for seed in ours if seed in theirs]
        return compare((a[checkpoint - 1], b[checkpoint - 1]) for a, b in both)

    def milliseconds(self, title: str, in_flight: int, names: Iterable[str]) -> float:
        """Return the mean CPU time of a proposal."""
        curves = [curve for name in names for curve in self.of(title, name, in_flight).values()]
        return 1000 * statistics.fmean(second for curve in curves for second in curve.cpu) if curves else math.nan


def short(value: float) -> str:
    return f"{value:.3g}"


def table(head: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_problem(results: Results, name: str, in_flight: int) -> None:
    """Print the regret of each engine on one problem, sorted by the median at the end."""
    optimum, said = results.optima[name]
    rows = []
    for title in results.titles:
        curves = results.of(title, name, in_flight).values()
        if not curves:
            continue
        cells, median = [title, str(len(curves))], math.inf
        for checkpoint in results.checkpoints:
            low, median, high = quartiles([curve.best[checkpoint - 1] - optimum for curve in curves])
            cells.append(f"{short(median)} [{short(low)}, {short(high)}]")
        versus = "" if title == OURS else str(results.pairs(title, [name], in_flight, results.checkpoints[-1]))
        milliseconds = short(results.milliseconds(title, in_flight, [name]))
        rows.append((median, [*cells, versus.split(" ")[0], milliseconds]))
    print(f"#### {name}, {in_flight} in flight (regret from {'the optimum' if said else 'the best of all runs'})\n")
    head = ["engine", "seeds", *(f"@{n}: median [quartiles]" for n in results.checkpoints)]
    table([*head, f"ours against it @{results.checkpoints[-1]}", "CPU ms"], [row for _, row in sorted(rows)])


def print_pooled(results: Results, widths: list[int]) -> None:
    """Print wins, ties and losses of ours against each peer, all problems together."""
    rows = []
    for in_flight in widths:
        ours = results.milliseconds(OURS, in_flight, results.names)
        for title in results.titles[1:]:
            counts = [results.pairs(title, results.names, in_flight, n) for n in results.checkpoints]
            theirs = results.milliseconds(title, in_flight, results.names)
            if sum(counts[0]):
                costs = f"{short(ours)} / {short(theirs)}"
                rows.append([str(in_flight), title, str(sum(counts[0])), *map(str, counts), costs])
    print("### Ours against each peer: wins/ties/losses on the same problem and seed, p of the two-sided sign test\n")
    table(["in flight", "peer", "pairs", *(f"@{n}" for n in results.checkpoints), "CPU ms ours / peer"], rows)


def print_ranks(results: Results, widths: list[int]) -> None:
    """Print the rank of each engine's median regret, over the problems that all of them ran."""
    rows = []
    for in_flight in widths:
        places = defaultdict(list)
        ran = [n for n in results.names if all(results.of(title, n, in_flight) for title in results.titles)]
        for checkpoint in results.checkpoints:
            for name in ran:
                found = [results.of(title, name, in_flight).values() for title in results.titles]
                medians = [statistics.median(curve.best[checkpoint - 1] for curve in one) for one in found]
                for title, rank in zip(results.titles, ranks(medians), strict=True):
                    places[title, checkpoint].append(rank)
        for title in results.titles if ran else []:
            cells = [f"{statistics.fmean(places[title, n]):.2f}" for n in results.checkpoints]
            rows.append([str(in_flight), title, str(len(ran)), *cells])
    print("### Mean rank of the median regret (1 is best), over the problems that all engines ran\n")
    table(["in flight", "engine", "problems", *(f"@{n}" for n in results.checkpoints)], rows)


def print_widths(results: Results) -> None:
    """Print what more workers at once cost our engine: the rank of its regret among all widths, by problem and seed.

    And how many trials one after the other reach the same regret, at most as many as there were.
    """
    last = results.checkpoints[-1]
    columns = [(OURS, width) for width in WIDTHS] + [("random", 1)]
    places: dict[tuple[str, int], list[float]] = defaultdict(list)
    lengths: dict[tuple[str, int], list[float]] = defaultdict(list)
    against: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    worth: dict[tuple[str, int], list[int]] = defaultdict(list)
    for name in results.names:
        found = [results.of(title, name, width) for title, width in columns]
        for seed in set.intersection(*map(set, found)):
            values = [one[seed].best[last - 1] for one in found]
            for column, rank, one, value in zip(columns, ranks(values), found, values, strict=True):
                places[column].append(rank)
                lengths[column].append(one[seed].length)
                against[column].append((value, values[0]))
                reached = (n for n, best in enumerate(found[0][seed].best, 1) if best <= value)
                worth[column].append(next(reached, last))
    rows = []
    for column in columns:
        low, median, high = quartiles(places[column])
        label = str(column[1]) if column[0] == OURS else "any, random search"
        count = "" if column == columns[0] else str(compare(against[column]))
        length = f"{statistics.fmean(lengths[column]):.1f}" if column[0] == OURS else ""
        mean = f"{statistics.fmean(places[column]):.2f}"
        cells = [f"{short(median)} [{short(low)}, {short(high)}]", mean, count, f"{statistics.median(worth[column]):g}"]
        rows.append([label, *cells, length])
    pairs = len(places[columns[0]])
    print(f"### What width costs: rank of the regret @{last} among the rows, {pairs} pairs of problem and seed\n")
    head = ["in flight", "rank: median [quartiles]", "mean rank", "wins/ties/losses against 1"]
    table([*head, "worth so many one by one (median)", "time of the sweep in mean trials"], rows)


class Cost(NamedTuple):
    """What a proposal takes: the CPU seconds of the median of three, and the process's peak memory in MB."""

    seconds: float
    peak: float


#: The space of ``--latency``, and how a metric comes from it.
LATENCY_SPACE = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
    "dropout": {"distribution": "uniform", "min": 0.0, "max": 0.6},
    "momentum": {"distribution": "uniform", "min": 0.0, "max": 0.99},
    "layers": {"min": 1, "max": 8},
    "optimizer": {"values": ["sgd", "adam", "rmsprop"]},
}


def observed(count: int, drawn: Process) -> list[tuple[dict[str, Any], float]]:
    """Return random trials and a noisy metric of them."""
    import numpy as np

    rng = np.random.default_rng(count)
    drawn.start(LATENCY_SPACE, {}, "minimize", 0)
    trials = []
    for number in range(count):
        point, _ = drawn.ask(number)
        bowl = (math.log10(point["lr"]) + 3) ** 2 / 4 + (point["dropout"] - 0.2) ** 2 + 0.05 * abs(point["layers"] - 4)
        trials.append((point, bowl + (point["optimizer"] != "adam") * 0.2 + 0.05 * float(rng.standard_normal())))
    return trials


def cost(peer: Peer, trials: list[tuple[dict[str, Any], float]], running: int, limit: float) -> Cost:
    """Measure proposals of a new process after these trials, with others running; raises TooSlowError.

    The first proposals of the process, which fill the workers, are not counted: they load what the engine needs.
    """
    process = Process(peer)
    try:
        process.start(LATENCY_SPACE, {}, "minimize", 0)
        process.request(load=trials)
        for number in range(running):
            process.ask(number, limit)
        seconds = []
        for number in range(running, running + 3):
            seconds.append(process.ask(number, limit)[1])
            process.request(forget=number)
        return Cost(statistics.median(seconds), process.peak)
    finally:
        process.end()


def print_latency(peers: list[Peer], sizes: list[int], limit: float) -> dict[str, list[Any]]:
    """Print what a proposal costs at each size; a peer beyond the limit is not asked for more."""
    drawn = process_of(install("random", Path()))
    sets = {size: observed(size, drawn) for size in sizes}
    measured: dict[str, list[Any]] = {}
    for peer in peers:
        cells: list[Any] = []
        for size in sizes:
            try:
                # one other trial runs: seven of them would take a slow engine seven proposals more
                cells.append(cost(peer, sets[size], 1, limit))
            except (TooSlowError, DiedError) as error:  # noqa: PERF203 - the loop ends with it
                cells.append(
                    f"no answer in {limit:.0f} s" if isinstance(error, TooSlowError) else f"died: {str(error)[-80:]}"
                )
                break
        measured[peer.title] = cells
        print(f"{peer.title}: {cells}", file=sys.stderr)
    rows = []
    for title, cells in measured.items():
        texts = [f"{short(c.seconds)} s, {c.peak:.0f} MB" if isinstance(c, Cost) else c for c in cells]
        rows.append([title, *texts, *["not asked"] * (len(sizes) - len(texts))])
    print("### A proposal: CPU seconds (median of three) and the process's peak memory, after so many observations\n")
    table(["engine", *(f"{size:,}" for size in sizes)], rows)
    return measured


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "slurmsweep-benchmarks"
    add("--problems", metavar="FILE.py", default=search_problems.__file__, help="problems in the form of %(default)s")
    add("--only", nargs="+", metavar="NAME", help="of the problems, these")
    add("--peers", nargs="*", metavar="PEER", default=list(PEERS), help=f"of {', '.join(PEERS)} and hebo-liar")
    add("--seeds", type=int, default=10, help="seeds of each problem (default: 10)")
    add("--first-seed", type=int, default=0, metavar="N", help="the first of them (default: 0)")
    slow = " ".join(f"{name}={count}" for name, count in SLOW.items())
    text = f"seeds of a slow peer (default: {slow}); the tables say how many pairs there are"
    add("--seeds-of", nargs="+", metavar="PEER=N", default=[], help=text)
    add("--trials", type=int, default=60, help="trials of a search (default: 60)")
    add("--in-flight", type=int, nargs="+", default=[1, 8, 32], metavar="N", help="workers (default: 1 8 32)")
    add("--beside", metavar="CHECKOUT", nargs="+", default=[], help="our engine of other checkouts as peers")
    add(
        "--peers-dir", type=Path, default=cache, metavar="FOLDER", help="environments and curves (default: %(default)s)"
    )
    add("--jobs", type=int, default=os.cpu_count(), metavar="N", help="searches at once (default: the cores)")
    add("--json", metavar="FILE", help="write curves or costs to a file")
    add("--brief", action="store_true", help="without a table for each problem")
    add("--latency", action="store_true", help="what a proposal costs after some observations, and after many")
    text = f"observations of --latency (default: {' '.join(map(str, SIZES))})"
    add("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help=text)
    add("--limit", type=float, default=120.0, metavar="SECONDS", help="longest proposal of --latency (default: 120)")
    add("--width-curve", action="store_true", help=f"our engine with {', '.join(map(str, WIDTHS))} in flight")
    said = parser.parse_args(words)
    said.seeds_of = SLOW | {name: int(count) for name, _, count in (one.partition("=") for one in said.seeds_of)}
    unknown = set(said.only or []) - set(problems(said.problems))
    if unknown:
        parser.error(f"no problem {', '.join(sorted(unknown))}; there are {', '.join(problems(said.problems))}")
    return said


def engines(said: argparse.Namespace) -> list[Peer]:
    """Return ours and the peers that can be had; the others are said."""
    found = [Peer(OURS, OURS, sys.executable)]
    found += [Peer(f"ours at {place}", OURS, sys.executable, str(Path(place).resolve())) for place in said.beside]
    for title in ["random"] if said.width_curve else said.peers:
        try:
            found.append(install(title, said.peers_dir))
        except CannotInstallError as error:  # noqa: PERF203 - once per peer
            print(f"LEFT OUT: {title} cannot be installed: {error}\n")
        except KeyError:
            sys.exit(f"no peer {title}; there are {', '.join(PEERS)} and hebo-liar")
    return found


def tasks(said: argparse.Namespace, peers: list[Peer], names: list[str]) -> Iterator[Task]:
    """Yield the searches to simulate, the slow peers' last."""
    widths = WIDTHS if said.width_curve else said.in_flight
    for peer in peers:
        for in_flight in (1,) if said.width_curve and peer.title == "random" else widths:
            for number in range(min(said.seeds, said.seeds_of.get(peer.title, said.seeds))):
                for name in names:
                    yield Task(peer, said.problems, name, said.first_seed + number, in_flight, said.trials)


def main() -> None:
    said = options()
    said.peers_dir.mkdir(parents=True, exist_ok=True)
    peers = engines(said)
    if said.latency:
        measured = print_latency(peers, said.sizes, said.limit)
        if said.json:
            Path(said.json).write_text(json.dumps(measured, indent=1))
        return
    names = [name for name in problems(said.problems) if not said.only or name in said.only]
    kept = Kept(said.peers_dir / "curves.jsonl")
    curves = all_curves(list(tasks(said, peers, names)), kept, said.jobs)
    results = Results(curves, [peer.title for peer in peers], names, said.problems, said.trials)
    print(f"{len(names)} problems, seeds {said.first_seed} to {said.first_seed + said.seeds - 1}, {said.trials} trials")
    for peer in peers:
        seeds = min(said.seeds, said.seeds_of.get(peer.title, said.seeds))
        print(f"- {peer.title}: {kept.versions[peer]}" + (f"; {seeds} seeds only" if seeds < said.seeds else ""))
    print()
    if said.width_curve:
        print_widths(results)
    else:
        print_pooled(results, said.in_flight)
        print_ranks(results, said.in_flight)
        for name in () if said.brief else names:
            for in_flight in said.in_flight:
                print_problem(results, name, in_flight)
    if said.json:
        rows = [
            {"engine": w[0], "problem": w[1], "in_flight": w[2], "seed": w[3], **c._asdict()} for w, c in curves.items()
        ]
        Path(said.json).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
