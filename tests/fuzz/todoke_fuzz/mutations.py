"""The small changes that a test of a module should notice: a module's tree -> its mutants.

Each is one node put in the place of another. Docstrings, annotations and what only a type
checker reads are left alone; so are the words of error messages, unless asked for.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from typing import NamedTuple

Path = tuple[tuple[str, int | None], ...]
"""The way down from a module to a node: names of fields, and places in those that are lists."""


class Mutant(NamedTuple):
    """A module with one change: `new` at `path`. `function` is the outermost function around it
    (name, first line), None if the change acts when the module is imported.
    """

    line: int
    kind: str
    before: str
    after: str
    module: ast.Module
    path: Path
    new: ast.AST
    function: tuple[str, int] | None

    @property
    def statement(self) -> int:
        """Its place in the module's body."""
        return self.path[0][1] or 0

    def tree(self, *, whole: bool = True) -> ast.Module:
        """The changed module; or only the changed one of its statements."""
        changed = copy.deepcopy(self.module) if whole else self._piece()
        _put(changed, self.path if whole else (("body", 0), *self.path[1:]), self.new)
        return ast.fix_missing_locations(changed)

    def _piece(self) -> ast.Module:
        return ast.Module([copy.deepcopy(self.module.body[self.statement])], [])

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind}: {self.before}  ->  {self.after}"


_BOUNDARY: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_NAMES = {
    a: b
    for one, other in (
        ("min", "max"),
        ("any", "all"),
        ("lstrip", "rstrip"),
        ("startswith", "endswith"),
        ("find", "rfind"),
        ("index", "rindex"),
        ("partition", "rpartition"),
        ("upper", "lower"),
        ("fullmatch", "match"),
        ("append", "count"),
    )
    for a, b in ((one, other), (other, one))
    if (a, b) not in (("match", "fullmatch"), ("count", "append"))
}
_PATTERN_EDITS = (
    (re.compile(r"(?<=[{,])\d+(?=[,}])"), lambda match: str(int(match[0]) + 1)),
    (re.compile(r"(?<=[\])\w}])\+(?!\+)"), lambda match: "*"),
    (re.compile(r"(?<=[\])\w])\*"), lambda match: "+"),
    (re.compile(r"(?<=[\])\w])\?"), lambda match: ""),
    (re.compile(r"\[\^"), lambda match: "["),
)


def mutants(source: str, *, texts: bool = False) -> Iterator[Mutant]:
    """Every mutant of a module's source. `texts`: those of error messages too."""
    tree = ast.parse(source)
    skipped = _skipped(tree, texts)
    for path, function in list(_places(tree, (), None)):
        node = _at(tree, path)
        if id(node) in skipped:
            continue
        for kind, new in _changes(node):
            if isinstance(new, ast.expr | ast.stmt):
                ast.copy_location(new, node)
            line = getattr(node, "lineno", 0)
            yield Mutant(line, kind, _shown(node), _shown(new), tree, path, new, function)


def _places(
    node: ast.AST, path: Path, function: tuple[str, int] | None, at_import: bool = False
) -> Iterator[tuple[Path, tuple[str, int] | None]]:
    """Every node's way down from the module, and the outermost function whose body it is in."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "ctx"):
            continue
        inside = function
        if isinstance(node, ast.FunctionDef) and function is None and name == "body":
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            inside = (node.name, first)
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST):
                yield (*path, (name, index)), inside
                yield from _places(child, (*path, (name, index)), inside)


def _at(tree: ast.AST, path: Path) -> ast.AST:
    for name, index in path:
        value = getattr(tree, name)
        tree = value if index is None else value[index]
    return tree


def _put(tree: ast.AST, path: Path, new: ast.AST) -> None:
    parent = _at(tree, path[:-1])
    name, index = path[-1]
    if index is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[index] = new


def _skipped(tree: ast.Module, texts: bool) -> set[int]:
    """Docstrings, `__all__`, what is under TYPE_CHECKING, and the words that an error is raised with."""
    skipped: set[int] = set()

    def skip(node: ast.AST) -> None:
        skipped.update(id(inner) for inner in ast.walk(node))

    for node in ast.walk(tree):
        if _is_for_readers(node):
            skip(node)
        elif not texts and isinstance(node, ast.JoinedStr | ast.Raise):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    skip(inner)
    return skipped


def _is_for_readers(node: ast.AST) -> bool:
    """A docstring, `__all__`, a type under a name, an import for the type checker."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        is_all = isinstance(target, ast.Name) and target.id == "__all__"
        return is_all or (isinstance(node.value, ast.Subscript) and _is_type(node.value))
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast"


def _is_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in (
        "tuple",
        "list",
        "dict",
        "Callable",
        "Literal",
    )


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in a node's place."""
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for other in _BOUNDARY[type(op)]:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                yield "comparison", ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield "boolean", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for index in range(len(node.values)):
            left = node.values[:index] + node.values[index + 1 :]
            yield "operand left out", left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "operator left out", node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "arithmetic", ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.IfExp):
        yield "choice", node.body
        yield "choice", node.orelse
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NAMES:
        yield "name", ast.Name(_NAMES[node.id], node.ctx)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in _NAMES:
        yield "name", ast.Attribute(node.value, _NAMES[node.attr], node.ctx)
    elif isinstance(node, ast.Slice):
        if node.lower is not None:
            yield "slice", ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield "slice", ast.Slice(node.lower, None, node.step)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile":
        yield from _patterns(node)
    elif isinstance(node, ast.stmt):
        yield from _statements(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int | float):
        yield "constant", ast.Constant(value + 1)
        if value:
            yield "constant", ast.Constant(value - 1)
    elif isinstance(value, str):
        yield "constant", ast.Constant(value + "XX" if value else "XX")
    elif isinstance(value, bytes):
        yield "constant", ast.Constant(value + b"XX")


def _patterns(call: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """One quantifier or class of a regular expression changed."""
    if not call.args or not isinstance(call.args[0], ast.Constant):
        return
    value = call.args[0].value
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    for pattern, change in _PATTERN_EDITS:
        for match in pattern.finditer(text):
            new = text[: match.start()] + change(match) + text[match.end() :]
            constant = ast.Constant(new.encode("latin-1") if isinstance(value, bytes) else new)
            yield "pattern", ast.Call(call.func, [constant, *call.args[1:]], call.keywords)


def _statements(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.If | ast.While):
        kind = type(node)
        yield "never", kind(ast.Constant(False), node.body, node.orelse)
        if isinstance(node, ast.If):
            yield "always", kind(ast.Constant(True), node.body, node.orelse)
    elif isinstance(node, ast.Return):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "return", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.AugAssign):
        yield "left out", ast.Pass()
        if type(node.op) in _ARITHMETIC:
            yield "arithmetic", ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
    elif isinstance(node, ast.Break):
        yield "break", ast.Continue()
    elif isinstance(node, ast.Continue):
        yield "break", ast.Break()
        yield "left out", ast.Pass()
    elif isinstance(node, ast.Expr | ast.Raise | ast.Delete | ast.Assert | ast.Assign):
        yield "left out", ast.Pass()


def _shown(node: ast.AST) -> str:
    try:
        text = ast.unparse(ast.fix_missing_locations(node))
    except Exception:
        return type(node).__name__
    first, _, more = text.partition("\n")
    return first[:160] + (" ..." if more else "")
