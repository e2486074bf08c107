"""Print figures of the code by its syntax tree, of one checkout or of several beside each other.

    python benchmarks/house.py                       # of this checkout
    python benchmarks/house.py ../old . --json       # of several, as JSON
    python benchmarks/house.py --since 6057399       # also: how many lines are older than later commits; takes minutes

*Code lines* of a function are the lines with a token that is no docstring, no comment and no blank, signature included.
A *one-caller helper* is a function or method with a leading underscore (no dunder) whose name is called or referred to
exactly once in the package, outside its own definition.

*Lines that were there at a commit* are those that ``git blame`` gives to it or to its ancestors, also where they moved
or were copied to another file, and where only their indentation changed.

*Paths* are those of `house_paths.py`.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a test loads this file by its path
from house_paths import PACKAGE, Function, Package, paths

PEOPLE = re.compile(r"\b(somebody|nobody|whoever|anybody)\b", re.IGNORECASE)


def code_lines(package: Package) -> dict[tuple[str, str, int], int]:
    """Code lines of each function, nested ones and methods included: by module, name and line."""
    found = {}
    for module, tree in package.trees.items():
        text = package.files[module].read_text()
        skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        used: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in skip:
                used.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(tree):
            if isinstance(node, Function):
                lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) & used
                if ast.get_docstring(node, clean=False) is not None:
                    lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
                found[module, node.name, node.lineno] = len(lines)
    return found


def one_caller_helpers(package: Package) -> list[tuple[str, str]]:
    """Private functions and methods that are called, or named, exactly once in the package."""
    uses: Counter[str] = Counter()
    helpers: list[tuple[str, str]] = []
    for module, tree in package.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                uses[node.attr] += 1
            elif isinstance(node, Function) and node.name.startswith("_") and not node.name.startswith("__"):
                helpers.append((module, node.name))
    twice = Counter(name for _, name in helpers)
    scoped = {module: _uses_in(tree) for module, tree in package.trees.items()}
    return [(m, name) for m, name in helpers if (uses[name] if twice[name] == 1 else scoped[m][name]) == 1]


def _uses_in(tree: ast.Module) -> Counter[str]:
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Attribute) and isinstance(n.ctx, ast.Load)]
    return Counter(n.id if isinstance(n, ast.Name) else n.attr for n in loads)


def imports(package: Package, *, inside_functions: bool, for_types: bool = False) -> dict[str, set[str]]:
    """Modules of the package that each module imports."""

    def visit(node: ast.AST, found: set[str]) -> None:
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, Function | ast.Lambda) and not inside_functions:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(
                {f"{node.module}.{alias.name}" for alias in node.names} & package.trees.keys() or {node.module}
            )
        for child in ast.iter_child_nodes(node):
            visit(child, found)

    graph: dict[str, set[str]] = {}
    for module, tree in package.trees.items():
        found: set[str] = set()
        visit(tree, found)
        graph[module] = (found & package.trees.keys()) - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of modules each of which imports, through others, all others of the group."""
    reach: dict[str, set[str]] = {}
    for start, first in graph.items():
        seen, waiting = set(), list(first)
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph[module]
        reach[start] = seen
    groups = {frozenset({m for m in reach[s] if s in reach[m]}) for s in graph if s in reach[s]}
    return sorted(sorted(group) for group in groups)


def docstring_findings(package: Package) -> int | None:
    """Docstrings that violate D401 (imperative mood), by ruff; None where ruff is not installed."""
    ruff = shutil.which("ruff") or str(Path(sys.executable).with_name("ruff"))
    if not Path(ruff).exists():
        return None
    asked = [ruff, "check", "--isolated", "--select", "D401", "--output-format", "json", "--exit-zero", "--no-cache"]
    done = subprocess.run([*asked, str(package.root / PACKAGE)], capture_output=True, text=True, check=True)
    return len(json.loads(done.stdout))


def people(package: Package) -> int:
    """Lines with somebody, nobody, whoever or anybody in the package's code and the documentation."""
    pages = [*(package.root / "docs").rglob("*.md"), package.root / "README.md", package.root / "CONTRIBUTING.md"]
    files = [*package.files.values(), *(page for page in pages if page.exists())]
    return sum(bool(PEOPLE.search(line)) for file in files for line in file.read_text().splitlines())


def lines_since(package: Package, commit: str) -> int:
    """Number of lines that were there at a commit, by ``git blame``."""
    asked = ["git", "-C", str(package.root), "blame", "-s", "-w", "-M", "-C", "-C", f"{commit}..HEAD", "--"]
    told = (
        subprocess.run([*asked, str(file.resolve())], capture_output=True, text=True, check=True).stdout
        for file in package.files.values()
    )
    return sum(line.startswith("^") for text in told for line in text.splitlines())  # ^: not after the commit


def figures(root: Path) -> dict[str, object]:
    """All figures of a checkout."""
    package = Package(root)
    texts = {module: file.read_text().splitlines() for module, file in package.files.items()}
    sizes = sorted(code_lines(package).values())
    helpers = one_caller_helpers(package)
    inside = [
        1
        for tree in package.trees.values()
        for function in ast.walk(tree)
        if isinstance(function, Function)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    longest = sorted(((len(lines), module) for module, lines in texts.items()), reverse=True)[:5]
    names = Counter(name for _, name in package.classes)
    result: dict[str, object] = {
        "files": len(texts),
        "lines": sum(map(len, texts.values())),
        "lines that are not blank": sum(bool(line.strip()) for lines in texts.values() for line in lines),
        "functions": len(sizes),
        "classes": len(package.classes),
        "class names defined twice": sorted(name for name, n in names.items() if n > 1),
        "code lines of a function, median": statistics.median(sizes),
        "code lines of a function, p90": sizes[int(len(sizes) * 0.9)],
        "code lines of a function, max": sizes[-1],
        "one-caller private helpers": len(helpers),
        "one-caller private helpers, % of functions": round(100 * len(helpers) / len(sizes), 1),
        "docstrings that violate D401": docstring_findings(package),
        "lines with somebody, nobody, whoever, anybody": people(package),
        "imports inside functions": len(inside),
        "import circles": len(circles(imports(package, inside_functions=False))),
        "import circles with imports inside functions": len(circles(imports(package, inside_functions=True))),
        "import circles with those for types": len(circles(imports(package, inside_functions=True, for_types=True))),
        "files over 450 lines": sum(len(lines) > 450 for lines in texts.values()),
        "longest files": [f"{module.removeprefix(PACKAGE + '.')} {lines}" for lines, module in longest],
    }
    for name, walk in paths(package).items():
        result[f"path of {name}: files/climbs/returns"] = f"{walk['files']}/{walk['climbs']}/{walk['returns']}"
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path(__file__).parent.parent])
    parser.add_argument("--json", action="store_true", help="print a JSON document by checkout")
    parser.add_argument("--since", metavar="COMMIT", help="count the lines that were there at this commit, too")
    args = parser.parse_args()
    sys.setrecursionlimit(20_000)
    found = {str(root): figures(root) for root in args.checkouts}
    if args.since:
        for root in args.checkouts:
            found[str(root)][f"lines that were there at {args.since}"] = lines_since(Package(root), args.since)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    rows = list(dict.fromkeys(name for each in found.values() for name in each))
    width = max(map(len, rows))
    for name in rows:
        cells = [each.get(name, "") for each in found.values()]
        texts = [", ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in cells]
        print(f"{name:{width}}", *(f"{text:>18}" for text in texts))


if __name__ == "__main__":
    main()
