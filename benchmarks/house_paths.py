"""The names of a checkout, resolved, and the functions that a command's value is handed to: *paths* of `house.py`.

A walk begins at a command's handler with the handler's parameters as the value that is followed. It enters, in
the order of the text, each function that is handed that value: as the receiver or as an argument, itself or through
attributes (``sweep.layout.jobs``). The value also flows into names that are assigned from it and into results of
functions that were handed it, unless their return type is a plain one (``str``, ``int``, ``bool``, a container of
such) or the configuration (``SweepConfig``, ``Manifest``). Calls are resolved by imports (those inside functions, too)
and by annotations of parameters, attributes and results; a method that subclasses override, or that a protocol
declares, enters each of its implementations. Functions passed as values are not followed. A function counts once.
*Stays* are the runs of one file in that order of functions, *returns* are stays in a file that was left before, and
*climbs* are steps from one stay to the next that lead to a higher layer of the import contract.

The definition was calibrated once, on commit 2ec9dd7, against the review that asked for these figures. It counts there
59, 66, 55, 76 and 14 files for submit, resubmit, a mend round, run and the sweep file (the review: 53, 60, 55, 73, 14)
and 53, 60, 41 and 60 climbs for the first four (53, 64, 48, 67). For ``status`` and for an agent it counts more (28 and
37, not 17 and 29): it follows W&B-hosted sweeps and the search of points, too, which the review left out.
"""

from __future__ import annotations

import ast
import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "slurmsweep"
COMMANDS = ("run", "submit", "resubmit", "status", "mend", "agent", "reconcile", "trials")
#: Walks that begin elsewhere: the first of these functions that the checkout has.
ENTRANCES = {
    "mend round": ["supervisor.rounds:mend", "mend.rounds:mend"],
    "agent, claim to outcome": ["agents.agent:run_agent", "agent.agent:run_agent"],
    "sweep file": ["control.creation.create:read_draft", "control.create:read_draft", "launch.create:read_draft"],
}
_PLAIN = {"str", "int", "bool", "float", "bytes", "list", "dict", "set", "frozenset", "tuple"}
_PLAIN |= {"Any", "Iterator", "Sequence", "Mapping", "Iterable", "Collection"}
_MANY = {"Iterator", "Sequence", "Iterable", "Collection", "Generator", "list", "tuple", "set", "frozenset"}
_NOT_FOLLOWED = {"SweepConfig", "Manifest"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Thing(NamedTuple):
    """What a name stands for: a ``module``, ``class``, ``func`` or ``method``; or ``many`` of a class."""

    kind: str
    module: str
    name: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Module and qualified name."""
        return self.module, self.name


class Package:
    """The syntax trees of a checkout, with the names of its modules resolved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self.trees: dict[str, ast.Module] = {}
        for file in sorted((root / PACKAGE).rglob("*.py")):
            parts = list(file.relative_to(root).with_suffix("").parts)
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.files[module], self.trees[module] = file, ast.parse(file.read_text())
        self.names: dict[str, dict[str, Thing]] = {module: {} for module in self.trees}
        self.functions: dict[tuple[str, str], Function] = {}
        self.classes: dict[tuple[str, str], ast.ClassDef] = {}
        for module, tree in self.trees.items():
            self._define(module, tree.body)
        self.subclasses = self._subclasses()
        contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
        self._rows = [re.split(r"[\s|:]+", row) for row in rows]

    def _define(self, module: str, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.names[module] |= self.imported(node)
            elif isinstance(node, ast.If | ast.Try):
                self._define(module, [*node.body, *node.orelse])
            elif isinstance(node, Function):
                self.functions[module, node.name] = node
                self.names[module][node.name] = Thing("func", module, node.name)
            elif isinstance(node, ast.ClassDef):
                self.classes[module, node.name] = node
                self.names[module][node.name] = Thing("class", module, node.name)
                methods = {f"{node.name}.{m.name}": m for m in node.body if isinstance(m, Function)}
                self.functions |= {(module, name): method for name, method in methods.items()}

    def imported(self, node: ast.Import | ast.ImportFrom) -> dict[str, Thing]:
        """Names of the package that an import brings."""
        found = {}
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    found[alias.asname or PACKAGE] = Thing("module", alias.name if alias.asname else PACKAGE)
        elif node.module and node.module.split(".")[0] == PACKAGE:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = full in self.trees
                found[alias.asname or alias.name] = (
                    Thing("module", full) if is_module else Thing("from", node.module, alias.name)
                )
        return found

    def follow(self, thing: Thing | None) -> Thing | None:
        """Return the thing itself, past any number of re-exports."""
        for _ in range(9):
            if thing is None or thing.kind != "from":
                break
            thing = self.names.get(thing.module, {}).get(thing.name)
        return thing

    def lookup(self, module: str, name: str) -> Thing | None:
        """Return the thing of that name in a module's own scope."""
        return self.follow(self.names.get(module, {}).get(name))

    def _subclasses(self) -> dict[tuple[str, str], list[Thing]]:
        found: dict[tuple[str, str], list[Thing]] = {}
        members = {key: {m.name for m in c.body if isinstance(m, Function)} for key, c in self.classes.items()}
        for key, node in self.classes.items():
            bases = [self.lookup(key[0], base.id) for base in node.bases if isinstance(base, ast.Name)]
            for base in bases:
                if base and base.kind == "class":
                    found.setdefault(base.key, []).append(Thing("class", *key))
            if any(_word(base) == "Protocol" for base in node.bases):
                wanted = {name for name in members[key] if not name.startswith("__")}
                likes = [other for other in members if other != key and wanted and wanted <= members[other]]
                found.setdefault(key, []).extend(Thing("class", *other) for other in likes)
        return found

    def member(self, of: Thing, name: str, depth: int = 0) -> Thing | None:
        """Return a method of a class, or the class of one of its attributes."""
        node = self.classes.get(of.key)
        if node is None or depth > 6:
            return None
        for item in node.body:
            if isinstance(item, Function) and item.name == name:
                return Thing("method", of.module, f"{of.name}.{name}")
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id == name:
                return self.annotated(of.module, item.annotation, {})
        return self._set_in_init(of, name) or self._inherited(of, node, name, depth)

    def _inherited(self, of: Thing, node: ast.ClassDef, name: str, depth: int) -> Thing | None:
        for base in node.bases:
            parent = self.annotated(of.module, base, {})
            found = self.member(parent, name, depth + 1) if parent else None
            if found:
                return found
        return None

    def _set_in_init(self, of: Thing, name: str) -> Thing | None:
        init = self.functions.get((of.module, f"{of.name}.__init__"))
        for node in ast.walk(init) if init else ():
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if not any(isinstance(t, ast.Attribute) and t.attr == name and _word(t.value) == "self" for t in targets):
                continue
            if isinstance(node, ast.AnnAssign):
                return self.annotated(of.module, node.annotation, {})
            scope = Scope(self, of.module)
            for arg in _parameters(init):
                scope.types[arg.arg] = self.annotated(of.module, arg.annotation, {})
            return scope.type_of(node.value) if isinstance(node, ast.Assign) else None
        return None

    def annotated(self, module: str, node: ast.expr | None, local: dict[str, Thing]) -> Thing | None:
        """Return the package's class that an annotation names; ``many`` for a container of them."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.BinOp):
            return self.annotated(module, node.left, local) or self.annotated(module, node.right, local)
        if isinstance(node, ast.Subscript):
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            if _word(node.value) == "Optional":
                return self.annotated(module, inner, local)
            found = self.annotated(module, inner, local) if _word(node.value) in _MANY else None
            return Thing("many", *found.key) if found else None
        found = None
        if isinstance(node, ast.Name):
            found = self.follow(local.get(node.id)) or self.lookup(module, node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = local.get(node.value.id) or self.lookup(module, node.value.id)
            found = self.lookup(owner.module, node.attr) if owner and owner.kind == "module" else None
        return found if found and found.kind == "class" else None

    def layer(self, module: str) -> int | None:
        """Return the row of the import contract, 0 for the highest; None for a module that has none."""
        for number, row in enumerate(self._rows):
            if any(module == room or module.startswith(f"{room}.") for room in row):
                return number
        return None


class Scope:
    """Names of one function: their types, and which of them hold the value that is followed."""

    def __init__(self, package: Package, module: str) -> None:
        self.package, self.module = package, module
        self.types: dict[str, Thing | None] = {}
        self.local: dict[str, Thing] = {}
        self.held: set[str] = set()

    def named(self, node: ast.expr) -> Thing | None:
        """Return the function, method, class or module that an expression names."""
        package = self.package
        if isinstance(node, ast.Name):
            if node.id in self.types:
                return None
            return package.follow(self.local.get(node.id)) or package.lookup(self.module, node.id)
        if not isinstance(node, ast.Attribute):
            return None
        owner = self.named(node.value)
        if owner and owner.kind == "module":
            full = f"{owner.module}.{node.attr}"
            return Thing("module", full) if full in package.trees else package.lookup(owner.module, node.attr)
        owner = owner if owner and owner.kind == "class" else self.type_of(node.value)
        found = package.member(owner, node.attr) if owner and owner.kind == "class" else None
        return found if found and found.kind == "method" else None

    def type_of(self, node: ast.expr) -> Thing | None:  # noqa: PLR0911 - one branch a kind of expression
        """Return the package's class of an expression's value."""
        if isinstance(node, ast.Name):
            return self.types.get(node.id)
        if isinstance(node, ast.Await | ast.NamedExpr):
            return self.type_of(node.value)
        if isinstance(node, ast.IfExp):
            return self.type_of(node.body) or self.type_of(node.orelse)
        if isinstance(node, ast.BoolOp):
            return next((found for value in node.values if (found := self.type_of(value))), None)
        if isinstance(node, ast.Subscript):
            return _one(self.type_of(node.value))
        if isinstance(node, ast.Attribute):
            owner = self.type_of(node.value)
            found = self.package.member(owner, node.attr) if owner and owner.kind == "class" else None
            if found and found.kind == "method":
                return self._result(found) if _is_property(self.package.functions[found.key]) else None
            return found
        if isinstance(node, ast.Call):
            called = self.named(node.func)
            if called and called.kind in ("func", "method"):
                return self._result(called)
            return called if called and called.kind == "class" else None
        return None

    def _result(self, called: Thing) -> Thing | None:
        function = self.package.functions[called.key]
        if _word(function.returns) == "Self":
            return Thing("class", called.module, called.name.split(".")[0])
        found = self.package.annotated(called.module, function.returns, {})
        gives_one = any("contextmanager" in ast.dump(mark) for mark in function.decorator_list)
        return _one(found) if gives_one and found and found.kind == "many" else found

    def holds(self, node: ast.expr) -> bool:
        """Whether an expression is the followed value, or something in it."""
        node = node.value if isinstance(node, ast.Starred) else node
        found = self.type_of(node)
        if found and found.name in _NOT_FOLLOWED:
            return False
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Call):
            return self.gives(node)
        return isinstance(node, ast.Name) and node.id in self.held

    def gives(self, node: ast.expr) -> bool:
        """Whether what is assigned from an expression holds the value."""
        if not isinstance(node, ast.Call):
            return self.holds(node)
        called = self.named(node.func)
        if called is None or called.kind == "module" or not any(self.holds(part) for part in _handed(node)):
            return False
        return called.kind == "class" or not _is_plain(self.package.functions[called.key].returns)

    def bind(self, target: ast.expr, value: Thing | None, *, holds: bool) -> None:
        """Take note of what an assigned name is, and whether it holds the value."""
        if isinstance(target, ast.Name):
            self.types[target.id] = value or self.types.get(target.id)
            if holds:
                self.held.add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.bind(part.value if isinstance(part, ast.Starred) else part, None, holds=holds)


class Walk:
    """The functions that are handed the value, in the order in which a reader comes to them."""

    def __init__(self, package: Package, start: tuple[str, str]) -> None:
        self.package = package
        self.entered: dict[tuple[str, str], set[str]] = {}
        self.enter(start, {arg.arg for arg in _parameters(package.functions[start])})

    def figures(self) -> dict[str, int]:
        """Files, functions, stays, climbs and returns of the walk."""
        stays: list[str] = []
        for module, _ in self.entered:
            if stays[-1:] != [module]:
                stays.append(module)
        layers = [self.package.layer(module) for module in stays]
        steps = [(a, b) for a, b in itertools.pairwise(layers) if a is not None and b is not None]
        files = len(set(stays))
        return {
            "files": files,
            "functions": len(self.entered),
            "stays": len(stays),
            "climbs": sum(b < a for a, b in steps),
            "returns": len(stays) - files,
        }

    def enter(self, key: tuple[str, str], handed: set[str]) -> None:
        """Go through a function, unless it was handed the value in these parameters before."""
        function = self.package.functions.get(key)
        if function is None or not handed or handed <= self.entered.get(key, set()):
            return
        self.entered.setdefault(key, set()).update(handed)
        scope = Scope(self.package, key[0])
        scope.held = set(self.entered[key])
        for place, arg in enumerate(_parameters(function)):
            scope.types[arg.arg] = self.package.annotated(key[0], arg.annotation, {})
            if place == 0 and "." in key[1] and arg.arg in ("self", "cls"):
                scope.types[arg.arg] = Thing("class", key[0], key[1].split(".")[0])
        for statement in function.body:
            self._visit(statement, scope)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            scope.local |= self.package.imported(node)
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            for arg in _parameters(node):
                scope.types.setdefault(arg.arg, self.package.annotated(scope.module, arg.annotation, scope.local))
        # what a comprehension goes through comes before what it makes
        for child in sorted(ast.iter_child_nodes(node), key=lambda child: not isinstance(child, ast.comprehension)):
            self._visit(child, scope)
        self._assign(node, scope)
        if isinstance(node, ast.Call):
            self._call(node, scope)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = scope.type_of(node.value)
            found = self.package.member(owner, node.attr) if owner and owner.kind == "class" else None
            if found and found.kind == "method" and _is_property(self.package.functions[found.key]):
                self._enter_all(found, {"self"} if scope.holds(node.value) else set())

    @staticmethod
    def _assign(node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                if both and len(target.elts) == len(node.value.elts):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    scope.bind(name, scope.type_of(value), holds=scope.gives(value))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            value = scope.package.annotated(scope.module, node.annotation, scope.local)
            scope.bind(node.target, value, holds=scope.gives(node.value))
        elif isinstance(node, ast.NamedExpr):
            scope.bind(node.target, scope.type_of(node.value), holds=scope.gives(node.value))
        elif isinstance(node, ast.For | ast.comprehension):
            scope.bind(node.target, _one(scope.type_of(node.iter)), holds=scope.gives(node.iter))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            value = scope.type_of(node.context_expr)
            scope.bind(node.optional_vars, value, holds=scope.gives(node.context_expr))

    def _call(self, node: ast.Call, scope: Scope) -> None:
        called = scope.named(node.func)
        if called is None or called.kind == "module":
            return
        if called.kind == "class":
            for name in ("__init__", "__post_init__", "__new__"):
                made = self.package.member(called, name)
                if made and made.kind == "method":
                    self.enter(made.key, self._handed_to(node, made, scope))
        elif called.key in self.package.functions:
            self._enter_all(called, self._handed_to(node, called, scope))

    def _enter_all(self, called: Thing, handed: set[str]) -> None:
        """Return the function and, of a method, what subclasses have in its place."""
        self.enter(called.key, handed)
        if called.kind == "method":
            owner, name = called.name.split(".")
            for below in self.package.subclasses.get((called.module, owner), ()):
                self._enter_all(Thing("method", below.module, f"{below.name}.{name}"), handed)

    def _handed_to(self, node: ast.Call, called: Thing, scope: Scope) -> set[str]:
        """Parameters that get the value."""
        function = self.package.functions[called.key]
        names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
        handed = {word.arg for word in node.keywords if word.arg and scope.holds(word.value)}
        if called.kind == "method" and names and not any(_word(m) == "staticmethod" for m in function.decorator_list):
            if isinstance(node.func, ast.Attribute) and scope.holds(node.func.value):
                handed.add(names[0])
            names = names[1:]
        rest = function.args.vararg.arg if function.args.vararg else (names[-1] if names else None)
        for place, arg in enumerate(node.args):
            if scope.holds(arg):
                is_named = place < len(names) and not isinstance(arg, ast.Starred)
                handed.add(names[place] if is_named else rest)
        return {name for name in handed if name}


def _word(node: ast.AST | None) -> str:
    return getattr(node, "id", getattr(node, "attr", getattr(node, "value", ""))) if node is not None else ""


def _one(found: Thing | None) -> Thing | None:
    return Thing("class", *found.key) if found and found.kind == "many" else None


def _parameters(function: Function | ast.Lambda) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _handed(call: ast.Call) -> list[ast.expr]:
    receiver = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    return [*call.args, *(word.value for word in call.keywords), *receiver]


def _is_property(function: Function) -> bool:
    return any(_word(mark) in ("property", "cached_property") for mark in function.decorator_list)


def _is_plain(returns: ast.expr | None) -> bool:
    return returns is None or {n.id for n in ast.walk(returns) if isinstance(n, ast.Name)} <= _PLAIN


def handlers(package: Package, command: str) -> list[tuple[str, str]]:
    """Functions of a command: ``run`` in a module of that name, or those of that name that take a Namespace."""
    own = (f"{PACKAGE}.cli.commands.{command}", "run")
    if own in package.functions:
        return [own]
    found = []
    for (module, name), function in package.functions.items():
        first = function.args.args[:1]
        if module.startswith(f"{PACKAGE}.cli") and name == command and first:
            found += [(module, name)] if _word(first[0].annotation) == "Namespace" else []
    return found


def paths(package: Package) -> dict[str, dict[str, int]]:
    """Files, functions, stays, climbs and returns of each walk; of several handlers the one that leads furthest."""
    starts = {command: handlers(package, command) for command in COMMANDS}
    for name, places in ENTRANCES.items():
        keys = [(f"{PACKAGE}.{module}", function) for module, _, function in (place.partition(":") for place in places)]
        starts[name] = [key for key in keys if key in package.functions]
    walks = {name: [Walk(package, key).figures() for key in keys] for name, keys in starts.items()}
    return {name: max(found, key=lambda walk: walk["files"]) for name, found in walks.items() if found}
