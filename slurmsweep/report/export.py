"""Write rows as CSV, JSON, JSON lines or parquet, for programs that draw and compute."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.report.strict_json import strict
from slurmsweep.sweepfile.plain import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

    Row = dict[str, Any]

#: Columns of times, in seconds since the epoch.
_TIMES = ("started", "ended", "time")

#: A spreadsheet takes a text that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_INT64 = 2**63


def as_csv(rows: Sequence[Row]) -> Iterator[bytes]:
    """Yield a table: what is missing is empty, times are ISO 8601 in UTC, and no text is a formula of a spreadsheet."""
    names = columns(rows)
    for cells in (names, *([_csv_cell(name, row.get(name)) for name in names] for row in rows)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        yield line.getvalue().encode("utf-8", "backslashreplace")


def as_json(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield a list with an object for each row; NaN and infinity, which JSON does not have, are null."""
    between = b"[\n"
    for row in rows:
        yield between + _json(row)
        between = b",\n"
    yield (b"[" if between == b"[\n" else b"\n") + b"]\n"


def as_json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield an object in a line for each row, as :func:`as_json` writes it."""
    return (_json(row) + b"\n" for row in rows)


def as_parquet(rows: Sequence[Row]) -> Iterator[bytes]:
    """Yield a parquet file, compressed by zstd. A column with texts beside numbers is of texts; times are timestamps.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError("parquet needs pyarrow: `pip install 'slurmsweep[parquet]'`, or use --format csv") from error
    table = pa.table({name: _parquet_column(name, [row.get(name) for row in rows]) for name in columns(rows)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    yield sink.getvalue()


FORMATS: dict[str, Callable[[Sequence[Row]], Iterator[bytes]]] = {
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_json_lines,
    "parquet": as_parquet,
}


def columns(rows: Iterable[Row]) -> list[str]:
    """Return the names in all rows: each kind in its place (``params.`` with ``params.``), in the order of rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    order = list(dict.fromkeys(name.partition(".")[0] for name in names))
    return sorted(names, key=lambda name: order.index(name.partition(".")[0]))


def _csv_cell(name: str, value: Any) -> Any:
    if name in _TIMES and is_number(value):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    if not isinstance(value, (str, list, dict)):
        return value
    text = _text(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(row: Row) -> bytes:
    return json.dumps(strict(row)).encode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(strict(value))


def _parquet_column(name: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    known = [value for value in values if value is not None]
    if name in _TIMES and all(map(is_number, known)):
        return pa.array([None if v is None else round(v * 1e6) for v in values], pa.timestamp("us", tz="UTC"))
    if all(isinstance(value, bool) for value in known):
        return pa.array(values, pa.bool_() if known else pa.null())
    if all(type(value) is int and -_INT64 <= value < _INT64 for value in known):
        return pa.array(values, pa.int64())
    if all(map(is_number, known)):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array([None if v is None else _text(v) for v in values], pa.string())
