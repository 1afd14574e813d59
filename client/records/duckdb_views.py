"""Whether one value can make a DuckDB view or query fail, told from its text and its tables.

What fails for one value keeps all rows from being read. A list of what can fail would never be
whole, so this is a closed list of what cannot; the engine's own parser reads the text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import duckdb

from fieldfare.client.records.sources.sql import literal

# What takes values of any kind, or of whatever its first argument is, and fails for none.
_SAFE: Final = frozenset({
    "lower", "upper", "trim", "ltrim", "rtrim", "length", "strlen", "contains", "starts_with",
    "prefix", "suffix", "ends_with", "replace", "substring", "substr", "left", "right", "concat",
    "||", "~~", "!~~", "~~*", "!~~*", "md5", "sha256", "regexp_matches", "regexp_full_match",
    "regexp_replace", "regexp_extract", "try_strptime", "isnan", "isfinite", "count",
    "count_star", "min", "max", "first", "last", "any_value", "row_number", "rank", "dense_rank",
})  # fmt: skip
_ANY: Final = frozenset({"concat", "||"})  # take further arguments of any kind
# Of doubles these come to a number, infinity or nothing; whole numbers and decimals overflow.
_OF_DOUBLES: Final = frozenset({"+", "-", "*", "/", "sum", "avg", "abs"})
_OPERATORS: Final = frozenset({
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "COMPARE_IN",
    "COMPARE_NOT_IN",
})  # fmt: skip
_COMPARED: Final = frozenset({"OPERATOR_COALESCE", "COMPARE_IN", "COMPARE_NOT_IN"})
_PLAIN: Final = frozenset({"COLUMN_REF", "CONSTANT", "STAR", "CONJUNCTION", "DEFAULT"})
_RELATIONS: Final = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY"})
_NODES: Final = frozenset({"SELECT_NODE", "CTE_NODE"})  # two in one may be of different types
_NUMBER: Final = re.compile(r"U?(TINY|SMALL|BIG)?INT(EGER)?|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*")
_DOUBLE: Final = re.compile(r"FLOAT|DOUBLE")
_VIEW: Final = re.compile(r"\s*CREATE\s+VIEW\s.*?\sAS\s+(.*)", re.DOTALL | re.IGNORECASE)
Kinds = Mapping[str, frozenset[str]]


def failing_parts(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[str, ...]:
    """Return the names of what one value may make fail in SQL for rows; empty where nothing can.

    Raises:
        duckdb.Error: the database cannot be read.
    """
    return tuple(sorted(_ViewText(connection).parts(f"SELECT * FROM {relation}")))


class _ViewText:
    """One query and the views behind it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection, self._seen = connection, set[str]()
        found: dict[str, set[str]] = {}
        query = "SELECT column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        for name, kind in connection.execute(query).fetchall():
            found.setdefault(name.casefold(), set()).add(kind)
        self._kinds: Kinds = {name: frozenset(kinds) for name, kinds in found.items()}
        views = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal"
        self._views = {name.casefold(): sql for name, sql in connection.execute(views).fetchall()}
        own = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"  # macros
        self._own = {name for (name,) in connection.execute(own).fetchall()}
        tables = "SELECT table_name, sql FROM duckdb_tables() WHERE NOT internal"
        self._tables = {name.casefold(): sql for name, sql in connection.execute(tables).fetchall()}

    def parts(self, sql: str) -> set[str]:
        """Return what may fail at a value in a statement; empty where nothing may."""
        parsed = self._connection.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchone()
        tree: dict[str, Any] = json.loads(parsed[0]) if parsed else {"error": True}
        if tree["error"] or len(tree["statements"]) != 1:
            return {"what the parser does not know"}
        return set(self._of(tree["statements"][0]["node"]))

    def _of(self, node: Any) -> Iterator[str]:
        """Yield what may fail in a node of the parser's and below it."""
        if isinstance(node, list):
            for one in node:
                yield from self._of(one)
        if not isinstance(node, dict) or node.get("type") == "OPERATOR_TRY":
            return
        yield from self._own_parts(node)
        if node.get("class") != "CONSTANT":
            for key, one in node.items():
                yield from self._of(one) if key != "cast_type" else ()

    def _own_parts(self, node: Mapping[str, Any]) -> Iterator[str]:
        if "class" in node:
            yield from self._expression(node)
        elif node.get("type") in _RELATIONS:
            yield from self._rows(node)
        elif str(node.get("type", "")).endswith("_NODE"):
            yield from () if node["type"] in _NODES else (_named(node),)
        elif "table_name" in node or "function" in node:  # a function that gives rows, PIVOT, ...
            yield _named(node)

    def _rows(self, node: Mapping[str, Any]) -> Iterator[str]:
        if node["type"] == "JOIN":
            if node.get("ref_type") not in {"REGULAR", "CROSS"}:
                yield "such a join"
            for name in node.get("using_columns", ()):
                yield from _mixed([self._kinds.get(name.casefold(), frozenset({"?"}))])
        if node["type"] != "BASE_TABLE":
            return
        name = node["table_name"].casefold()
        if "GENERATED ALWAYS" in self._tables.get(name, "").upper():
            yield "a generated column"
        view = self._views.get(name)
        if view is not None and name not in self._seen:
            self._seen.add(name)
            text = _VIEW.fullmatch(view)
            yield from self.parts(text[1].rstrip().rstrip(";")) if text else {"such a view"}

    def _expression(self, node: Mapping[str, Any]) -> Iterator[str]:
        kind, form = node["class"], node["type"]
        if kind == "CAST":
            target = node["cast_type"]["id"]
            yield from () if node["try_cast"] or target == "VARCHAR" else ("cast",)
        elif kind == "COMPARISON":
            yield from self._alike([node["left"], node["right"]])
        elif kind == "BETWEEN":
            yield from self._alike([node["input"], node["lower"], node["upper"]])
        elif kind == "CASE":
            results = [check["then_expr"] for check in node["case_checks"]]
            yield from self._alike([*results, node["else_expr"]])
        elif kind == "OPERATOR":
            yield from () if form in _OPERATORS else (_named(node),)
            yield from self._alike(node["children"]) if form in _COMPARED else ()
        elif kind in {"FUNCTION", "WINDOW"}:
            yield from self._function(node)
        elif kind not in _PLAIN:
            yield _named(node)

    def _function(self, node: Mapping[str, Any]) -> Iterator[str]:
        name, arguments = node["function_name"], node["children"]
        if name in self._own:
            yield name
        elif name in _OF_DOUBLES:
            doubles = all(self._is_double(one) for one in arguments)
            yield from () if doubles else (name,)
        elif name not in _SAFE:
            yield name
        elif name not in _ANY and any(one["class"] != "CONSTANT" for one in arguments[1:]):
            yield name  # a text might be taken for a number

    def _is_double(self, node: Mapping[str, Any]) -> bool:
        found = self._kind_of(node)
        constant = node["class"] == "CONSTANT" and found != {"VARCHAR"}
        return constant or all(_DOUBLE.fullmatch(kind) for kind in found or {"?"})

    def _alike(self, nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Yield where values of different kinds meet: the engine would convert one of them."""
        plain = {"VARCHAR", "NULL"}  # such a constant is converted once, whatever the records hold
        kept = (one for one in nodes if one["class"] != "CONSTANT" or _constant(one) not in plain)
        yield from _mixed([self._kind_of(one) for one in kept])

    def _kind_of(self, node: Mapping[str, Any]) -> frozenset[str]:
        """Return the types that an expression may have; `?` where nobody knows."""
        kind = node["class"]
        if kind == "CONSTANT":
            return frozenset({_constant(node)})
        if kind == "CAST":
            return frozenset({node["cast_type"]["id"]})
        if kind == "COLUMN_REF":
            return self._kinds.get(node["column_names"][-1].casefold(), frozenset({"?"}))
        if kind == "FUNCTION" and node["function_name"] in _OF_DOUBLES:
            return frozenset({"DOUBLE"})
        if kind in {"COMPARISON", "CONJUNCTION", "BETWEEN"}:
            return frozenset({"BOOLEAN"})
        texts = {"lower", "upper", "trim", "ltrim", "rtrim", "concat", "||", "replace", "substring"}
        return frozenset({"VARCHAR" if node.get("function_name") in texts else "?"})


def _constant(node: Mapping[str, Any]) -> str:
    return "NULL" if node["value"]["is_null"] else str(node["value"]["type"]["id"])


def _mixed(kinds: Sequence[frozenset[str]]) -> Iterator[str]:
    """Yield a complaint unless all these types are one, or all are of numbers."""
    together = {kind for one in kinds for kind in one}
    numbers = all(_NUMBER.fullmatch(kind) for kind in together)
    if "?" in together or not (numbers or len(together) <= 1):
        yield "a comparison of different types"


def _named(node: Mapping[str, Any]) -> str:
    return str(node.get("function_name") or node.get("type")).lower().replace("_", " ")
