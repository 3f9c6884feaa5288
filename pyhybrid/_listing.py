"""The source of a function as statements: label, equation, what each reads and writes, and which bytecode is whose.

This is what the recorder in `trace` needs to know about a function before it runs; nothing here runs it.
"""

from __future__ import annotations

import ast
import inspect
import io
import linecache
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType

__all__ = ["Listing", "Statement", "equations", "labelled", "read"]

_LABEL = r"\(([FBC]\d+[a-z]?)\)"
# "(F1) …" at the start of a line, after a heading or after a gap: inside a sentence a label only refers
_DEFINED = re.compile(rf"(?m)(?:^[ \t]*(?:[A-Z]\w*[ \t]+)?|[ \t]{{2,}}){_LABEL}[ \t]*")
_ENDED = re.compile(r"(?m)^\s*$|^[A-Z]\w*[ \t]{2,}")  # a blank line or the next heading of the docstring


@dataclass(frozen=True)
class Statement:
    """One statement. `reads` are (local name, attribute or None) in source order, `loops` the loop variables."""

    kind: str  # "call" (binds the arguments), "assign", "return" or "" for headers and calls without a label
    label: str  # "F2"; "F1, F2" if the line carries two; "" if none
    lineno: int
    end_lineno: int
    source: str
    writes: tuple[str, ...]
    reads: tuple[tuple[str, str | None], ...]
    loops: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """A function's source: `lines[0]` is line `first` of its file; `equations` maps a label to its docstring text."""

    name: str
    first: int
    lines: tuple[str, ...]
    docstring: str
    equations: dict[str, str]
    head: Statement  # the arguments
    owners: tuple[Statement | None, ...] = field(repr=False)  # by bytecode offset // 2


def equations(docstring: str) -> dict[str, str]:
    """Label -> text, for every "(F1) …" that stands at the start of a line, after a heading or after a gap."""
    found = list(_DEFINED.finditer(docstring))
    table: dict[str, str] = {}
    for this, following in zip(found, [*found, None][1:], strict=True):
        text = docstring[this.end() : following.start() if following else None]
        table.setdefault(this[1], " ".join(_ENDED.split(text, maxsplit=1)[0].split()))
    return table


def read(code: CodeType) -> Listing:
    """The listing of a function's code object; ValueError if its source text cannot be found."""
    return _read(code, code.co_filename)


def labelled(code: CodeType) -> bool:
    """True if a statement of this function carries a label; False for what has no statements, as a comprehension."""
    if re.search(rf"#.*{_LABEL}", "".join(linecache.getlines(code.co_filename))) is None:  # spares parsing NumPy
        return False
    try:
        return any(statement.label for statement in read(code).owners if statement)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _read(code: CodeType, filename: str) -> Listing:  # the name is part of the key: equal code may have other comments
    text = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(text))
        function = next(node for node in ast.walk(tree) if _defines(node, code))
    except (SyntaxError, StopIteration):
        raise ValueError(f"the source of {code.co_qualname} is needed to trace it and cannot be read") from None
    assert isinstance(function, ast.FunctionDef) and function.end_lineno
    module, own = ast.get_docstring(tree) or "", ast.get_docstring(function) or ""
    labels = _labels(text)
    loops = _loops(function)
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and node is not function]
    statements = [(node, _statement(node, text, labels, loops.get(node, ()), code)) for node in nodes]
    owners = tuple(_owner(position, statements) for position in code.co_positions())
    starred = sum(bool(code.co_flags & flag) for flag in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS))
    count = code.co_argcount + code.co_kwonlyargcount + starred
    end = max(function.lineno, function.body[0].lineno - 1)
    signature = textwrap.dedent("".join(text[function.lineno - 1 : end])).rstrip()
    head = Statement("call", "", function.lineno, end, signature, code.co_varnames[:count], (), ())
    first, lines = code.co_firstlineno, text[code.co_firstlineno - 1 : function.end_lineno]
    name = f"{_module(code)}.{code.co_qualname.replace('<locals>.', '')}"
    shown = tuple(textwrap.dedent("".join(lines)).splitlines())
    return Listing(name, first, shown, f"{own}\n\n{module}", equations(module) | equations(own), head, owners)


def _defines(node: ast.AST, code: CodeType) -> bool:
    if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
        return False
    return code.co_firstlineno == min([node.lineno, *(d.lineno for d in node.decorator_list)])


def _module(code: CodeType) -> str:
    """The file's name without folder; a notebook cell has no name worth showing."""
    return inspect.getmodulename(code.co_filename) or "cell"


def _labels(text: list[str]) -> dict[int, list[str]]:
    """Line -> labels of its comment: those in the brackets that open it, so `# (B2) adjoint of (F1)` is B2 alone."""
    table = {}
    for token in tokenize.generate_tokens(io.StringIO("".join(text)).readline):
        if token.type == tokenize.COMMENT and (opening := re.match(r"#\s*((?:\([^)]*\)[\s,]*)+)", token.string)):
            table[token.start[0]] = re.findall(_LABEL, opening[1])
    return table


def _loops(function: ast.FunctionDef) -> dict[ast.AST, tuple[str, ...]]:
    table: dict[ast.AST, tuple[str, ...]] = {}
    for loop in (node for node in ast.walk(function) if isinstance(node, ast.For)):  # outer loops come first
        for inner in (node for statement in loop.body for node in ast.walk(statement)):
            table[inner] = table.get(inner, ()) + tuple(
                n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name) and n.id != "_"
            )
    return table


def _statement(
    node: ast.stmt, text: list[str], labels: dict[int, list[str]], loops: tuple[str, ...], code: CodeType
) -> Statement:
    simple = not hasattr(node, "body")
    last = node if simple else getattr(node, "test", node)  # of a loop or branch only the header
    lineno, end = node.lineno, (last.end_lineno if simple or last is not node else node.lineno) or node.lineno
    label = ", ".join(name for line in range(lineno, end + 1) for name in labels.get(line, ())) if simple else ""
    local = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    writes = tuple(_writes(node, bool(label), local))
    kind = "return" if isinstance(node, ast.Return) else "assign" if writes else ""
    source = textwrap.dedent("".join(text[lineno - 1 : end])).rstrip()
    return Statement(kind, label, lineno, end, source, writes, tuple(dict.fromkeys(_reads(node, local))), loops)


def _writes(node: ast.stmt, labelled: bool, local: set[str]) -> Iterator[str]:
    match node:
        case ast.Assign(targets=targets):
            for target in targets:
                yield from _roots(target, local)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target, value=ast.expr()):
            yield from _roots(target, local)
        case ast.Return(value=ast.Tuple(elts=parts)) if not any(isinstance(part, ast.Starred) for part in parts):
            yield from map(_returned, parts)
        case ast.Return(value=value):
            yield "return" if value is None else _returned(value)
        case ast.Expr(value=ast.Call() as call) if labelled:  # np.add.at(dx, …): an equation that writes in place
            yield from _roots(call, local)
    header = [node] if not hasattr(node, "body") else [getattr(node, "test", None)]
    for part in filter(None, header):
        yield from (n.target.id for n in ast.walk(part) if isinstance(n, ast.NamedExpr))


def _returned(value: ast.expr) -> str:
    """What to call a returned value: its text, or the class if one is made: `Cache` for `Cache(weight, n, r)`."""
    match value:
        case ast.Call(func=ast.Name(id=name)) if name[0].isupper():
            return name
    return ast.unparse(value)


def _roots(target: ast.expr | None, local: set[str]) -> Iterator[str]:
    """The local names that a store to `target` changes: `y` for `y[i]`, `padded` for `tap(padded, p, q)[...]`."""
    match target:
        case ast.Name(id=name):
            yield from [name] if name in local and name != "_" else []
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _roots(part, local)
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            yield from _roots(value, local)
        case ast.Call(func=function, args=args, keywords=keywords):
            out = [k.value for k in keywords if k.arg == "out"]
            receiver = [function.value] if isinstance(function, ast.Attribute) else []
            yield from next(filter(None, ([*_roots(e, local)] for e in out + receiver + args[:1])), [])


def _reads(node: ast.stmt, local: set[str]) -> Iterator[tuple[str, str | None]]:
    value = getattr(node, "value", None)
    nodes = [*ast.walk(value)] if isinstance(value, ast.expr) else []
    fields = {id(n.value): n.attr for n in nodes if isinstance(n, ast.Attribute)}
    names = [n for n in nodes if isinstance(n, ast.Name) and n.id in local]
    if isinstance(node, ast.AugAssign):
        yield from ((name, None) for name in _roots(node.target, local))
    yield from ((n.id, fields.get(id(n))) for n in sorted(names, key=lambda n: (n.lineno, n.col_offset)))


def _owner(position: tuple[int | None, ...], statements: list[tuple[ast.stmt, Statement]]) -> Statement | None:
    """The innermost statement around a bytecode's place in the source."""
    line, _, column, _ = position
    owner = None
    for node, statement in statements:  # outer statements come first
        start, end = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        if column is None:  # Python can be told to keep no columns: then lines must do
            start, end = (start[0], 0), (end[0], 1)
        if start <= (line or 0, column or 0) < end:
            owner = statement
    return owner
