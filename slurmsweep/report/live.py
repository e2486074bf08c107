"""The live view: the lines of one screen, composed of what is known of a sweep. Pure: it asks and reads nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.report.figures import counted, duration, figure, trials_text, value_text
from slurmsweep.report.fitting import Column, fit, last_part, shortened, text_width
from slurmsweep.report.live_choice import Page
from slurmsweep.report.summary import DONE_WORDS
from slurmsweep.report.tables import params_text
from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slurmsweep.report.failures import FailureGroup
    from slurmsweep.report.live_choice import LiveChoice
    from slurmsweep.report.summary import TrialRow

#: One line: its parts, each a text and its style in rich's words.
Line = tuple[tuple[str, str], ...]

#: Share of its time from which on a trial is marked: what a person can still save.
_NEARLY_OVER = 0.8

#: Groups of failures, nodes of each, and lines of the best trials, on the first page.
_GROUPS, _NODES, _BEST = 6, 3, 5

#: Lines and columns from which on there is room for more than one best trial, and for the nodes.
_TALL, _WIDE = 30, 100

#: Order of the words for states, and their styles; the words are there without them.
_STYLES = {
    "finished": "green",
    "running": "cyan",
    "pending": "",
    "failed": "red",
    "crashed": "red",
    "killed": "yellow",
    "preempted": "yellow",
    "stopped early": "green",
    "not needed": "green",
}


class Glyphs(NamedTuple):
    """The characters of bars and curves: of a locale that has them, and of any other.

    Attributes:
        done, failed, running, waiting: parts of the bar of trials.
        used, left: parts of the bar of a trial's time.
        levels: of a curve, the lowest first.
    """

    done: str = "█"
    failed: str = "▒"
    running: str = "▓"
    waiting: str = "·"
    used: str = "━"
    left: str = "─"
    levels: str = "▁▂▃▄▅▆▇█"


BLOCKS = Glyphs()
ASCII = Glyphs("#", "=", "-", ".", "=", ".", ".-=#")


class Running(NamedTuple):
    """A trial that runs.

    Attributes:
        trial: with its metric so far.
        elapsed: seconds since its claim.
        asked: seconds that its job may run; None where that is not known, or has no limit.
        curve: the values of the metric so far; a part of them where they are many.
        steps: how many values there are.
    """

    trial: TrialRow
    elapsed: float
    asked: float | None = None
    curve: tuple[float, ...] = ()
    steps: int = 0

    @property
    def share(self) -> float | None:
        """The part of its time that it has used; None where it has no limit."""
        return self.elapsed / self.asked if self.asked else None

    def bar(self, width: int, glyphs: Glyphs, *, with_number: bool) -> str:
        """Return a bar of the used part of its time; empty where it has no limit."""
        if self.share is None:
            return ""
        used = min(width, int(self.share * width))
        number = f" {100 * self.share:3.0f}%" if with_number else ""
        return glyphs.used * used + glyphs.left * (width - used) + number


class Queue(NamedTuple):
    """What the scheduler said last.

    Attributes:
        jobs: number of live jobs by the scheduler's word; None before the first answer.
        age: seconds since it was asked; None before the first answer.
        next_in: seconds until it is asked again; 0 while it is being asked; None where it is not asked any more.
        waits: why waiting jobs wait, in words.
    """

    jobs: Mapping[str, int] | None = None
    age: float | None = None
    next_in: float | None = None
    waits: str = ""


@dataclass(frozen=True)
class LiveState:
    """What is shown of a sweep at one moment.

    Attributes:
        sweep, name, method: as they are called.
        trials: their number; None where the search has no end. ``expected``: the same in words, with points.
        standing: what the sweep is doing, in words.
        clock: the time of day.
        counts: number of trials by word for people, without zeros.
        metric: name of the sweep's metric; empty for none.
        runs_for: seconds since the first claim.
        rate: trials that end in an hour.
        left: seconds until all have ended, at least and at most; None where that cannot be told.
        best: the best trials, best first; ``better``: seconds since the first of them ended.
        front: how many trials no other one beats in all metrics; 0 where only one counts.
        best_so_far: the best metric among the trials up to each one, by the time at which they ended.
        running: those of the trials that run which are on the screen, in the chosen order.
        order: numbers of all that run and were chosen; ``first``: the place among them of the first one in ``running``.
        nodes: number of running trials by node.
        failures: trials that did not finish, by cause; ``again``: for each of these groups whether it runs again;
            ``failed``: seconds since the last of them.
        queue: what the scheduler said.
        same: names of parameters that all trials have the same.
        follows: what a person can do next.
        notes: what is out of order.
        page: the lines of a page other than the first.
        is_over: the sweep has ended, and nothing runs; ``exit_code``: of a command that waited for that.
        rests: it has not ended, and nothing runs or waits.
    """

    sweep: str
    standing: str
    clock: str
    name: str = ""
    method: str = ""
    trials: int | None = None
    expected: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    metric: str = ""
    runs_for: float | None = None
    rate: float | None = None
    left: tuple[float, float] | None = None
    best: tuple[TrialRow, ...] = ()
    better: float | None = None
    front: int = 0
    best_so_far: tuple[float, ...] = ()
    running: tuple[Running, ...] = ()
    order: tuple[int, ...] = ()
    first: int = 0
    nodes: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[FailureGroup, ...] = ()
    again: tuple[str, ...] = ()
    failed: float | None = None
    queue: Queue = field(default_factory=Queue)
    same: frozenset[str] = frozenset()
    follows: str = ""
    notes: tuple[str, ...] = ()
    page: tuple[str, ...] = ()
    is_over: bool = False
    rests: bool = False
    exit_code: int = 0


def compose(state: LiveState, choice: LiveChoice, width: int, height: int, glyphs: Glyphs = BLOCKS) -> list[Line]:
    """Return at most ``height`` lines, none of them wider than ``width`` columns of a terminal."""
    room = max(0, height - 1)
    if choice.page is Page.FIRST:
        lines = _first_page(state, choice, width, room, glyphs)
    else:
        seen = max(0, room - 1)
        hidden = max(0, len(state.page) - seen)
        start = max(0, hidden - choice.top) if choice.page is Page.LOG else min(choice.top, hidden)
        lines = [_sides(f"{state.sweep}  {choice.title(state.order)}", state.clock, width, "bold")]
        lines += [((line, ""),) for line in state.page[start : start + seen]]
    lines = lines[:room] + [()] * (room - len(lines)) + [_foot(state, choice, width)]
    return [_cropped(line, width, is_ascii=glyphs.done.isascii()) for line in lines[-max(1, height) :]]


def plain(lines: Sequence[Line]) -> str:
    """Return the lines without their styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def one_line(state: LiveState) -> str:
    """Return the state in one line, for where there is no terminal: without what changes with every second."""
    words = [f"sweep {state.sweep} {state.standing}", ", ".join(f"{n} {word}" for word, n in _ordered(state.counts))]
    if state.best:
        words.append(f"best {printable(state.metric)} {state.best[0].metric_text} in {state.best[0].name}")
    words += [f"{len(group.trials)} x {_why(group)}" for group in state.failures[:2]]
    return "; ".join(word for word in [*words, *state.notes] if word)


def _first_page(state: LiveState, choice: LiveChoice, width: int, room: int, glyphs: Glyphs) -> list[Line]:
    """Return the first page: what matters least goes first where there is no room, and running trials have the rest."""
    blank: list[Line] = [()] if room >= 14 else []
    of_running = 2 if state.order and room > 4 else 0
    failures = _failures(state, width)
    named = f"best {printable(state.metric)}" if state.metric else "best"
    jobs = ", ".join(f"{n} {word}" for word, n in sorted((state.queue.jobs or {}).items()))
    queue = "; ".join(word for word in (f"jobs {jobs}" if jobs else "", printable(state.queue.waits)) if word)
    nodes = [f"{printable(node)} {glyphs.running * n if n < 9 else n}" for node, n in sorted(state.nodes.items())]
    blocks: list[tuple[int, list[Line]]] = [
        (1, [_header(state, width)]),
        (0, [_progress(state, width, glyphs)]),
        (2, [_counts(state, width)]),
        (3, [((f"! {printable(note)}", "yellow"),) for note in state.notes]),
        (4, [((f"next: {state.follows}", "bold"),)] if state.follows else []),
        (6, [((queue, ""),)] if queue else []),
        (5, _best(state, named, width, is_tall=room >= _TALL)),
        (8, _so_far(state, width, glyphs)),
        (9, [((f"nodes  {'  '.join(nodes)}", ""),)] if len(nodes) > 1 and room >= _TALL and width >= _WIDE else []),
    ]
    left, kept = room - of_running, set[int]()
    for place in sorted(range(len(blocks)), key=lambda place: blocks[place][0]):
        if len(blocks[place][1]) <= left:
            left -= len(blocks[place][1])
            kept.add(place)
    # failures get what running trials do not need, and some lines at least
    wanted = len(state.order) + len(blank)
    told = (
        min(len(failures), max(2, room // 6, left - wanted - len(blank)), max(0, left - len(blank))) if failures else 0
    )
    told = 0 if told == 1 and len(failures) > 1 else told
    left -= told + (len(blank) if told else 0)
    running = [*blank[:left], *_running(state, choice, width, of_running + left - len(blank), glyphs)]
    lines = [line for place, (_, block) in enumerate(blocks) if place in kept for line in block]
    return [*lines, *(running if of_running else []), *(blank if told else []), *failures[:told]]


def _header(state: LiveState, width: int) -> Line:
    goes_on = state.runs_for is not None and not state.is_over
    standing = f"{state.standing} for {duration(state.runs_for)}" if goes_on else state.standing
    method = state.method + (f", {state.expected or counted(state.trials, 'trial')}" if state.trials else "")
    words = [state.sweep, standing, printable(state.name), method]
    return _sides("  ".join(word for word in words if word), state.clock, width, "bold")


def _progress(state: LiveState, width: int, glyphs: Glyphs) -> Line:
    counts = dict(state.counts)
    running, pending = counts.pop("running", 0), counts.pop("pending", 0)
    done = sum(counts.pop(word, 0) for word in DONE_WORDS)
    failed, total = sum(counts.values()), sum(state.counts.values())
    text = f"  {100 * (done + failed) // total:>2} %" if state.trials and total else f"  {done + failed} ended"
    if state.left:
        text += f"  left {duration(state.left[0])} to {duration(state.left[1])}"
    parts = [(done, glyphs.done, "green"), (failed, glyphs.failed, "red"), (running, glyphs.running, "cyan")]
    parts.append((pending, glyphs.waiting, ""))
    return (*_bar(parts, width - len(text)), (text, ""))


def _bar(parts: Sequence[tuple[int, str, str]], width: int) -> Iterator[tuple[str, str]]:
    """Yield the parts of a bar, each in proportion and none of them without a character."""
    telling = [part for part in parts if part[0]]
    total, spare = sum(n for n, _, _ in telling), width - len(telling)
    if spare < 0 or not total:
        return
    ends = [round(n * spare / total) for n in accumulate(n for n, _, _ in telling)]
    for start, end, (_, char, style) in zip([0, *ends], ends, telling, strict=False):
        yield char * (end - start + 1), style


def _counts(state: LiveState, width: int) -> Line:
    parts = [
        part for word, n in _ordered(state.counts) for part in ((f"{n} {word}", _STYLES.get(word, "")), ("  ", ""))
    ]
    rate = f"{figure(state.rate)} trials/h" if state.rate else ""
    gap = width - sum(text_width(text) for text, _ in parts) - len(rate)
    return (*parts, (f"{'':{max(0, gap)}}{rate}" if gap >= 0 else "", ""))


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(word, counts[word]) for word in _STYLES if counts.get(word)]


def _best(state: LiveState, named: str, width: int, *, is_tall: bool) -> list[Line]:
    if not state.best:
        return []
    of = state.best[0].kind
    if is_tall and width >= _WIDE and len(state.best) > 1:
        rows = state.best[:_BEST]
        columns = [
            Column(named, tuple(value_text(row.metric) for row in rows)),
            Column(of, tuple(str(row.shown_number) for row in rows)),
            Column("took", tuple(duration(row.seconds) for row in rows)),
            Column("parameters", tuple(params_text(row.params, state.same) for row in rows), 1),
        ]
        return [(), *_table(columns, width, right={named, of, "took"}), ()]
    row = state.best[0]
    front = f"  (one of {state.front} that no other beats)" if state.front else ""
    return [
        (
            (f"{named} ", ""),
            (row.metric_text, "bold"),
            (f"  {of} {row.shown_number}{front}  {params_text(row.params, state.same)}", ""),
        )
    ]


def _so_far(state: LiveState, width: int, glyphs: Glyphs) -> list[Line]:
    values = state.best_so_far
    if len(values) < 2 or width < 50:
        return []
    better = f"  better {duration(state.better)} ago" if state.better is not None else ""
    first, last = f"best so far  {value_text(values[0])} ", f" {value_text(values[-1])}{better}"
    return [((first, ""), (curve(values, width - len(first) - len(last), glyphs), "green"), (last, ""))]


def curve(values: Sequence[float], width: int, glyphs: Glyphs = BLOCKS) -> str:
    """Return values as a curve of at most ``width`` characters, from their smallest to their largest.

    What is no finite number is left out.
    """
    values = [value for value in values if isfinite(value)]
    points = (
        [values[len(values) * (place + 1) // width - 1] for place in range(width)]
        if len(values) > width > 0
        else values
    )
    low, high, most = min(points, default=0.0), max(points, default=0.0), len(glyphs.levels) - 1
    # halves first: the difference of two floats may be infinite
    span = high / 2 - low / 2
    return "".join(
        glyphs.levels[round((one / 2 - low / 2) / span * most) if span else 0] for one in points[: max(0, width)]
    )


def _running(state: LiveState, choice: LiveChoice, width: int, room: int, glyphs: Glyphs) -> list[Line]:
    """Return the table of running trials in ``room`` lines, with the chosen one among them."""
    if room < 1 or not state.running:
        return []
    at = choice.place(state.order) - state.first
    more = len(state.order) > room - 1
    seen = max(1, room - 1 - more) if room > 1 else 1
    start = max(0, min(at - seen // 2, len(state.running) - seen))
    rows = state.running[start : start + seen]
    columns, right = _columns(rows, at - start, state, width, glyphs)
    head, *lines = _table(columns, width, right)
    for place, row in enumerate(rows):
        style = "reverse" if start + place == at else "yellow" if (row.share or 0) >= _NEARLY_OVER else ""
        lines[place] = tuple((text, style) for text, _ in lines[place])
    others = len(state.order) - len(rows)
    if others and room > 2:
        lines.append(((f"      and {others} more; order: {choice.sort.value}", "dim"),))
    return [head, *lines] if room > 1 else lines


def _columns(
    rows: Sequence[Running], at: int, state: LiveState, width: int, glyphs: Glyphs
) -> tuple[list[Column], set[str]]:
    """Return the columns of running trials, and the titles of those that end on the right; one trial is marked.

    Parameters shrink first; then job, step, bar and node go.
    """
    limits = {row.asked for row in rows}
    of = f"of {duration(next(iter(limits)))}" if len(limits) == 1 and None not in limits else "of its time"
    wide = width >= _WIDE
    title = last_part(printable(state.metric), 12) or "metric"
    trials = [row.trial for row in rows]
    found = [
        Column("trial", tuple(f"{'>' if place == at else ' '}{t.number:>4}" for place, t in enumerate(trials))),
        Column("node", tuple(shortened(printable(t.node or ""), 16) for t in trials), 5),
        Column("elapsed", tuple(f"{'!' if (r.share or 0) >= _NEARLY_OVER else ''}{duration(r.elapsed)}" for r in rows)),
        Column(of, tuple(row.bar(20 if wide else 10, glyphs, with_number=wide) for row in rows), 6, 40),
        Column(title, tuple("" if t.metric is None else value_text(t.metric) for t in trials)),
        Column("so far", tuple(curve(row.curve, 16 if wide else 8, glyphs) for row in rows), 4, 16),
        Column("step", tuple(str(row.steps or "") for row in rows), 7),
        Column("job", tuple(printable(t.job or "") for t in trials), 8, 20),
        Column("parameters", tuple(params_text(t.params, state.same) for t in trials), 3, 14),
    ]
    return [column for column in found if any(column.cells)], {"trial", "elapsed", title, "step"}


def _table(columns: Sequence[Column], width: int, right: set[str]) -> list[Line]:
    """Return a header and one line a row, in columns that fit."""
    shown, _ = fit(columns, width)
    lines = []
    for cells in zip(*((column.title, *column.cells) for column in shown), strict=True):
        texts = []
        for cell, column in zip(cells, shown, strict=True):
            gap = " " * (column.width - text_width(cell))
            texts.append(gap + cell if column.title in right else cell + gap)
        lines.append("  ".join(texts).rstrip())
    return [((lines[0], "dim"),), *(((line, ""),) for line in lines[1:])]


def _failures(state: LiveState, width: int) -> list[Line]:
    if not state.failures:
        return []
    last = f", the last {duration(state.failed)} ago" if state.failed is not None else ""
    total = sum(len(group.trials) for group in state.failures)
    reasons = len(state.failures)
    more = f", for {reasons} reasons (f)" if reasons > 1 else ""
    told = f"did not finish: {total}{more}"
    logs = f"slurmsweep logs {state.sweep} --failed" if any(group.log for group in state.failures) else ""
    room = width - text_width(logs) - 2
    if logs and text_width(told) <= room:  # how to read them says more than how old they are
        lines = [_sides(told + last if text_width(told + last) <= room else told, logs, width, "red")]
    else:
        lines = [((told + last, "red"),)]
    for place, group in enumerate(state.failures[:_GROUPS]):
        which = trials_text(group.trials, 3 if width < _WIDE else 8)
        if group.nodes:
            more_nodes = " ..." if len(group.nodes) > _NODES else ""
            which += f" on {', '.join(map(printable, group.nodes[:_NODES]))}{more_nodes}"
        which += f"; {printable(state.again[place])}" if state.again else ""
        lines.append(((f"{len(group.trials):>4} x {_why(group)}  ({which})", ""),))
    return lines


def _why(group: FailureGroup) -> str:
    cause = group.cause or group.state
    return printable(f"{cause}: {group.error}" if group.error else cause)


def _foot(state: LiveState, choice: LiveChoice, width: int) -> Line:
    """Return the keys, as many as fit, and how old the scheduler's answer is; while a person types, what was typed."""
    if choice.asks:
        return ((f"{choice.asks.value}: {printable(choice.typed)}_", "bold"),)
    queue = state.queue
    if queue.next_in is None:
        age = ""
    elif queue.age is None:
        age = "asking the queue" if queue.next_in <= 0 else f"queue: asked in {queue.next_in:.0f}s"
    else:
        age = f"queue as of {queue.age:.0f}s ago"
        age += f", next in {queue.next_in:.0f}s" if width >= _WIDE else ""
    keys, words = choice.keys(), ""
    for key in keys:
        if len(words) + len(key) + len(age) + 4 > width:
            break
        words += f"{key}  "
    return _sides(words or "q quit", age, width, "dim")


def _sides(left: str, right: str, width: int, style: str) -> Line:
    """Return a text on the left, cut where it must be, and one on the right where there is room for it."""
    room = width - text_width(right) - 2
    if room < 16:
        return ((shortened(left, width), style),)
    cut = shortened(left, room)
    return ((cut, style), (f"{'':{width - text_width(cut) - text_width(right)}}{right}", ""))


def _cropped(line: Line, width: int, *, is_ascii: bool) -> Line:
    """Return the part of a line that a terminal has room for, in characters that its locale has."""
    kept, left = [], max(1, width)
    for text, style in line:
        cut = shortened(text, left) if left else ""
        left -= text_width(cut)
        kept.append((cut.replace("…", "~").encode("ascii", "replace").decode() if is_ascii else cut, style))
        if cut != text:
            break
    return tuple(kept)
