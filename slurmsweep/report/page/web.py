"""A report as one HTML file: opened from a file share, by mail, offline; no network and no script but its own.

Summary, best trials, importances, failures and how to repeat it are plain HTML, so that they are there where scripts
are off. The panels that are drawn by the script read one packed text (:mod:`slurmsweep.report.page.packing`). A content
security policy in the page names the one script by its hash: a browser runs no other, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pkgutil
import re
from html import escape
from typing import TYPE_CHECKING, Any

from slurmsweep.report.base_point import base_document, base_text
from slurmsweep.report.code import code_words
from slurmsweep.report.efficiency import each_text
from slurmsweep.report.figures import counted, date_text, duration, figure, trials_text, value_text
from slurmsweep.report.importance import TELLING
from slurmsweep.report.page.charts import steps_chart
from slurmsweep.report.page.content import MARK
from slurmsweep.report.page.packing import pack
from slurmsweep.report.strict_json import strict
from slurmsweep.report.summary import DONE_WORDS
from slurmsweep.report.terminal import printable, printable_text
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slurmsweep.report.page.content import ReportContent

#: Parameters in the table of best trials, and trials named of those that failed alike.
_COLUMNS, _NAMED = 4, 12

#: What stands to the right in a column where all cells are so.
_FIGURE = re.compile(r"(-?\d[\d.]*(e[-+]\d+)?|-?inf|nan)?")

#: Characters of a cell.
_CELL = 60


def page(content: ReportContent) -> bytes:
    """Return the report as HTML."""
    data, document = pack(content)
    script = _resource("page.js")
    meta = json.dumps(strict(document), separators=(",", ":")).replace("<", "\\u003c")
    version = escape(content.summary.manifest.version)
    left_out = "".join(f"<p>{_text(one)}</p>" for one in content.left_out)
    mattered = "".join(map(_importance, content.importances)) or '<p class="hint">The sweep file names no metric.</p>'
    body = "\n".join(
        [
            _header(content),
            "<main>",
            _tiles(content),
            f'<div class="notes">{left_out}</div>' if left_out else "",
            _CONTROLS,
            _first(content),
            _PARALLEL,
            f'<div class="two"><section id="importance"><h2>What mattered</h2>{mattered}</section>{_CURVES}</div>',
            _SLICES,
            _PARETO if len(content.objectives) > 1 else "",
            _rungs(content),
            _TIMELINE,
            _efficiency(content),
            _failures(content),
            _TABLE,
            _configuration(content),
            "</main>",
            f"<footer>Made by slurmsweep {version} at {date_text(content.made)}.</footer>",
            '<aside id="detail" hidden></aside>',
            f'<script type="application/json" id="meta">{meta}</script>',
            f'<script type="text/plain" id="data">{data}</script>',
            f"<script>{script}</script>",
        ]
    )
    return document_of(content.title, body, script)


def document_of(title: str, body: str, script: str = "") -> bytes:
    """Return a whole page around its body; the policy in it allows this script and no other, and no network."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    policy = (
        f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{MARK}">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{_text(title)}</title><style>{_resource("page.css")}</style></head>
<body>{body}</body></html>
""".encode("utf-8", "backslashreplace")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return an HTML table of cells that are HTML already; a column whose cells are numbers stands to the right."""
    cells = [list(row) for row in rows]
    columns = [[row[place] for row in cells] for place in range(len(heads))]
    right = [any(column) and all(_FIGURE.fullmatch(one) for one in column) for column in columns]
    align = [' class="n"' if one else "" for one in right]
    top = "".join(f'<th scope="col"{a}>{_text(head)}</th>' for head, a in zip(heads, align, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{a}>{cell}</td>" for cell, a in zip(row, align, strict=True)) + "</tr>" for row in cells
    )
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(value: Any) -> str:
    """Return a value as the content of a cell, safe for HTML; long texts are cut, and whole in a tooltip."""
    if value is None:
        return ""
    text = printable(value_text(value))
    if len(text) <= _CELL:
        return escape(text)
    return f'<span title="{escape(text[:2000])}">{escape(text[: _CELL - 1])}…</span>'


def pill(state: str) -> str:
    """Return the word for a state in its colour."""
    return f'<span class="pill s-{escape(state.replace(" ", "-"))}">{escape(state)}</span>'


def _text(text: str) -> str:
    return escape(printable(text))


def _resource(name: str) -> str:
    return (pkgutil.get_data(__package__, name) or b"").decode()


def _header(content: ReportContent) -> str:
    manifest = content.summary.manifest
    first = content.objectives[0] if content.objectives else None
    summed = f" ({first.summary.words} of a trial)" if first and first.summary else ""
    goal = (
        f" · {_text(first.name)}{summed}, {'lower' if first.goal == 'minimize' else 'higher'} is better"
        if first and content.named
        else ""
    )
    told = f"<p>{_text(manifest.config.description)}</p>" if manifest.config.description else ""
    state = content.summary.state().value
    shown = {"idle": "pending", "canceled": "killed", "paused": "preempted", "stopped": "killed"}.get(state, state)
    return (
        f'<header class="top"><div><h1>{_text(content.title)}</h1>'
        f'<div class="sub">sweep {escape(manifest.sweep_id)} · {escape(manifest.config.method)} search{goal} · '
        f"as of {date_text(content.made)}</div>{told}</div>"
        f'<span class="pill big s-{escape(shown)}">{_text(content.summary.state_words())}</span></header>'
    )


def _tiles(content: ReportContent) -> str:
    summary = content.summary
    counts = {word: n for word, n in summary.words().items() if n}
    total = sum(counts.values())
    bar = "".join(
        f'<i class="s-{word.replace(" ", "-")}" style="flex:{n};background:var(--c)" title="{n} {word}"></i>'
        for word, n in counts.items()
    )
    words = ", ".join(f"{n} {word}" for word, n in counts.items()) or "none was started"
    done = sum(n for word, n in counts.items() if word in DONE_WORDS)
    tiles = [(f"{done} of {total}", f'<div class="bar">{bar}</div><span>{escape(words)}</span>')]
    if content.objectives and content.best:
        name, best = content.objectives[0].name, content.best[0]
        point, names = dict(flat(best.row.params)), content.by_importance()[:_COLUMNS]
        params = ", ".join(f"{key}={value_text(_rounded(point[key]))}" for key in names if key in point)
        shown = params if len(params) <= 120 else params[:119] + "…"
        told = f"best {_text(name)}, {_text(best.row.name)}<br>{_text(shown)}"
        tiles.insert(0, (_text(best.text_of(name)), f"<span>{told}</span>"))
    begun = min((t.row.started for t in content.trials if t.row.started), default=None)
    if begun is not None:
        end = max((t.ended or content.made for t in content.trials if t.row.started), default=content.made)
        hours = sum(t.row.seconds or 0.0 for t in content.trials)
        told = f"from {date_text(begun)} to {date_text(end)}<br>{duration(hours)} of trials in it"
        tiles.append((duration(end - begun), f"<span>{told}</span>"))
    failed = sum(len(one.group.trials) for one in content.failures)
    if failed:
        group = content.failures[0].group
        why = _text((group.error or group.cause)[:110])
        tiles.append((f"{failed} did not finish", f'<span>mostly: {why}<br><a href="#failures">why</a></span>'))
    shown = "".join(f'<div class="tile"><b>{value}</b>{below}</div>' for value, below in tiles)
    return f'<div class="tiles">{shown}</div>'


def _first(content: ReportContent) -> str:
    """Return best so far and the best trials: all that a reader without a script sees of the results."""
    if not content.objectives:
        return ""
    name = content.objectives[0].name
    lines = [("best so far", content.best_so_far(content.objectives[0]))]
    chart = steps_chart(lines, "trials in the order in which they ended", content.ends(name), lambda x: f"{x:.0f}")
    return (
        '<div class="two first"><section><h2>Best so far</h2><p class="hint">Each point is a trial that ended; '
        'the line is the best <span class="metric">' + _text(name) + "</span> until then, of the trials that finished "
        "or were stopped early.</p>"
        f'<div class="nojs">{chart}</div>'
        '<div class="js"><div class="panel" id="history" data-label="best value so far, over trials"></div></div>'
        "</section>"
        f"{_best(content)}</div>"
    )


def _best(content: ReportContent) -> str:
    names = content.by_importance()[:_COLUMNS]
    first = content.objectives[0].name
    kind = content.best[0].row.kind if content.best else "trial"
    states = {trial.row.state_words for trial in content.best}
    heads = [kind, first, *names, "took", *(["state"] if len(states) > 1 else [])]
    rows = []
    for trial in content.best:
        row, params = trial.row, dict(flat(trial.row.params))
        values = [cell(trial.text_of(first)), *(cell(_rounded(params.get(name))) for name in names)]
        rows.append([str(row.shown_number), *values, duration(row.seconds), pill(row.state_words)][: len(heads)])
    same = len(content.by_importance()) - len(names)
    more = f'<p class="hint">{same} more parameters differ: the table of all trials has them.</p>' if same > 0 else ""
    shown = table(heads, rows, "best") if rows else "<p>No trial has a value yet.</p>"
    return f"<section><h2>Best trials</h2>{shown}{more}</section>"


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _importance(document: Mapping[str, Any]) -> str:
    rows = []
    top = max([one["high"] for one in document["parameters"]] + [0.05])
    for one in document["parameters"][:24]:
        is_telling = one["low"] >= TELLING
        low, high, at = (100 * one[key] / top for key in ("low", "high", "importance"))
        better = f"{one['better']} is better" if one["better"] and is_telling else ""
        best = better or (f"best: {one['best']}" if is_telling and one["best"] else "")
        if one["trials"] < document["trials"]:
            best += f"{', ' if best else ''}in {one['trials']} of {document['trials']} trials"
        told = f"{one['importance']:.2f}, range {one['low']:.2f} to {one['high']:.2f}"
        rows.append(
            f'<span title="{_text(one["parameter"])}">{_text(one["parameter"])}</span>'
            f'<span class="whisk{"" if is_telling else " unsure"}" title="{told}"><b style="width:{at:.1f}%"></b>'
            f'<i style="left:{low:.1f}%;width:{max(0.4, high - low):.1f}%"></i>'
            f'</span><span class="sub" title="{_text(best)}"><b>{one["importance"]:.2f}</b> {_text(best)}</span>'
        )
    lines = [document["unclear"][:1].upper() + document["unclear"][1:]] if document["unclear"] else []
    for one in document["interactions"][:5]:
        first, second = one["parameters"]
        lines.append(f"{first} and {second} only together: {one['importance']:.2f}.")
    if document["explained"] is not None:
        share = max(0, round(100 * document["explained"]))
        lines.append(
            f"{share} % of the differences between trials is explained; the rest is noise, or more than this sees."
        )
    told = "".join(f"<p>{_text(line)}</p>" for line in lines)
    method = f"{document['method']}, {counted(document['trials'], 'trial')}" if document["method"] else ""
    range_ = f"; whiskers: 10 % to 90 % of {document['resamples']} resamples" if document["resamples"] else ""
    same = f" The same in all: {', '.join(document['same'])}." if document["same"] else ""
    return (
        f'<h3>for {_text(document["metric"] or "")}</h3><div class="imp">{"".join(rows)}</div>{told}'
        f'<p class="hint">{_text(method + range_ + ".") if method else ""}{_text(same)}</p>'
    )


def _rungs(content: ReportContent) -> str:
    if not content.rungs:
        return ""
    rows = [[str(step), str(ended + beyond), str(ended), str(beyond)] for step, ended, beyond in content.rungs]
    heads = ["until step", "trials that came so far", "ended here", "went on"]
    return f"<section><h2>Rungs</h2>{table(heads, rows)}</section>"


def _efficiency(content: ReportContent) -> str:
    document, rows = content.efficiency, []
    for name in ("time", "cpu", "memory"):
        one = document[name]
        asked, usual, most = (one[key] for key in ("each_asked", "each_used", "most_used"))
        if usual is None or most is None:
            continue
        of = f" of {each_text(name, asked)}" if asked is not None else ""
        bar = "<span></span>"  # without a length that means something
        if asked:
            full = max(asked, most)
            mark = f'<i style="left:calc({100 * most / full:.1f}% - 2px)"></i>'
            bar = f'<span class="track"><b style="width:{100 * usual / full:.1f}%"></b>{mark}</span>'
        told = f"{each_text(name, usual)}{of}, at most {each_text(name, most)}"
        rows.append(f'<span>{name}</span>{bar}<span class="sub">{told}</span>')
    if not rows:
        return ""
    hint = "Figures: what half of the attempts used at most, and the most that one used"
    if any('class="track"' in row for row in rows):
        hint = (
            "Bar: what half of the attempts used at most; mark: the most that one used; full width: what was asked "
            "for, or the mark where one used more; no bar: nothing was asked for"
        )
    sums = [
        f"{figure(document[key])} core-hours {word}"
        for key, word in (
            ("asked_core_hours", "asked for"),
            ("held_core_hours", "held"),
            ("used_core_hours", "computed"),
        )
        if document[key]
    ]
    lost = document["lost_core_hours"]
    sums += [f"{figure(lost)} held by attempts that did not finish"] if lost else []
    advice = "".join(
        f'<div class="ask"><code>{_text(one["option"])}</code> {_text(one["why"])}</div>' for one in document["advice"]
    )
    ask = f"<h3>Ask next time</h3>{advice}" if advice else ""
    return (
        f'<section id="used"><h2>Asked beside used</h2><p class="hint">{hint}.</p>'
        f'<div class="use">{"".join(rows)}</div>'
        f"<p>{_text(', '.join(sums))}</p>{ask}</section>"
    )


def _failures(content: ReportContent) -> str:
    if not content.failures:
        return ""
    shown = []
    for one in content.failures:
        group = one.group
        whose = f"end of the log of trial {group.trials[0]}: <code>{_text(group.log or '')}</code>"
        tail = f"<details><summary>{whose}</summary><pre>{escape(printable_text(one.tail))}</pre></details>"
        why = f"<code>{_text(group.error[:400])}</code>" if group.error else ""
        shown.append(
            f'<div class="fail"><b>{len(group.trials)}</b> {pill(group.state)} {_text(group.cause)} {why}'
            f'<div class="hint">{trials_text(group.trials, _NAMED)}</div>{tail if one.tail else ""}</div>'
        )
    return (
        '<section id="failures" class="long"><h2>Trials that did not finish</h2><p class="hint">Those that ended alike '
        f"stand together.</p>{''.join(shown)}</section>"
    )


def _configuration(content: ReportContent) -> str:
    manifest = content.summary.manifest
    rows = "".join(
        f"<h3>{_text(label)}</h3><pre>{escape(printable_text(text))}</pre>" for label, text in content.repeat
    )
    facts = [
        ("sweep file", manifest.source),
        ("trials run in", manifest.workdir),
        ("folder of the sweep", content.summary.layout.folder),
        *([("base", base_text(base))] if (base := base_document(manifest.config)) else []),
        ("made", date_text(manifest.created)),
        ("by", f"slurmsweep {manifest.version}"),
    ]
    code = code_words(manifest.snapshot, content.summary.view.trials.code_versions())
    facts += [("code", code)] if code else []
    known = table(["", ""], [[_text(name), f"<code>{_text(value)}</code>"] for name, value in facts])
    return (
        f'<section id="repeat" class="long"><h2>How to repeat it</h2>{known}{rows}</section>'
        '<section id="configuration" class="long"><h2>Configuration</h2>'
        f"<pre>{escape(printable_text(content.config))}</pre></section>"
    )


_CONTROLS = """<noscript><div class="notes"><p>Scripts are off here: summary, best trials, importance and failures are
below; in a browser that runs scripts there are also charts, a filter and the table of all trials.</p></div></noscript>
<div id="old" class="notes" hidden><p>This browser cannot unpack the data of the charts (it has no DecompressionStream):
use Chrome 80, Firefox 113, Safari 16.4 or newer.</p></div>
<div class="controls js"><div><input type="search" id="filter" spellcheck="false" autocomplete="off"
placeholder="filter all panels: lr>1e-3 optimizer=sgd state:failed" aria-label="filter trials" aria-describedby="said">
<label class="hint">metric <select id="metric"></select></label><button type="button" id="clear">clear</button>
<span id="said" role="status" aria-live="polite"></span></div>
<div style="margin-top:8px"><span id="states" role="group" aria-label="states"></span>
<span class="legend">worst <span class="ramp"><i class="r0"></i><i class="r1"></i><i class="r2"></i><i class="r3"></i><i
class="r4"></i><i class="r5"></i><i class="r6"></i><i class="r7"></i><i class="r8"></i></span> best
by rank</span></div></div>"""

_PARALLEL = """<section class="js" id="parallel-section"><h2>Parameters and <span class="metric"></span></h2>
<p class="hint">Each line is a trial. Drag along an axis to choose; drag again to change it, click it to
clear it.
With the keyboard: ←→ axis, ↑↓ upper end, Shift+↑↓ lower end, Escape clears.</p>
<details class="noprint"><summary>axes</summary><div id="axes"></div></details>
<div class="panel" id="parallel" data-label="parallel coordinates of parameters and metric"></div></section>"""

_CURVES = """<section class="js"><h2><span class="metric"></span> over steps</h2><p class="hint">Light band: 90 % of the
chosen trials; darker: half of them; dashed: median. Lines: the 12 best, the very best on top.</p>
<div class="panel" id="curves" data-label="metric over steps"></div></section>"""

_SLICES = """<section class="js"><h2>Each parameter against <span class="metric"></span></h2>
<p class="hint">The most important first.</p>
<div class="panel" id="slices" data-label="each parameter against the metric"></div></section>"""

_PARETO = """<section class="js"><h2><span class="metric"></span> against <select id="second"
aria-label="second metric"></select></h2><p class="hint" id="front"></p>
<div class="panel" id="pareto" data-label="two metrics, and the trials that no other one beats in both"></div>
</section>"""

_TIMELINE = """<section class="js"><h2>When trials ran, by node</h2>
<div class="panel" id="timeline" data-label="trials over time by node"></div></section>"""

_TABLE = """<section class="js" id="all-trials"><h2>All trials</h2><p class="hint">The filter above holds here, too.
Click a title to sort; ↑↓ go from trial to trial.</p>
<div id="view" tabindex="0" role="region" aria-label="table of trials">
<table id="table"><thead><tr id="heads"></tr></thead><tbody id="rows"></tbody></table></div></section>"""
