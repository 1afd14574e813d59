"""Whether one value can make a SQLite view or query fail, told from what SQLite compiles it to.

Casts and comparisons never fail there (https://sqlite.org/datatype3.html, section 3). Functions
may, and so does `sum` beyond 63 bits: a closed list says which do not.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

Run = Callable[[str], Sequence[Sequence[Any]]]
_OPCODE, _P4 = 1, 5  # columns of EXPLAIN (https://sqlite.org/opcode.html)
_CALLS: Final = frozenset({"Function", "PureFunc", "AggStep", "AggStep1", "AggInverse"})
_TABLES_OF_CODE: Final = frozenset({"VOpen", "VFilter", "VColumn"})
_SAFE: Final = frozenset({
    "lower", "upper", "trim", "ltrim", "rtrim", "length", "substr", "substring", "instr", "typeof",
    "ifnull", "coalesce", "nullif", "iif", "min", "max", "count", "total", "avg", "round", "hex",
    "quote", "unicode", "date", "time", "datetime", "julianday", "strftime", "row_number", "rank",
    "dense_rank", "like",
})  # fmt: skip


def failing_parts(run: Run, relation: str) -> tuple[str, ...]:
    """Return the names of what one value may make fail in SQL for rows; empty where nothing can.

    Args:
        run: runs a statement and returns its rows.
        relation: SQL for the rows.
    """
    found = set[str]()
    for row in run(f"EXPLAIN SELECT * FROM {relation}"):
        if row[_OPCODE] in _TABLES_OF_CODE:
            found.add("a table that is computed")
        if row[_OPCODE] in _CALLS:
            name = str(row[_P4]).partition("(")[0].lower()
            found |= set() if name in _SAFE else {name}
    return tuple(sorted(found))
