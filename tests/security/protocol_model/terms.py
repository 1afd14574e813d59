"""Linear forms over secrets, and what an adversary who holds some of them can work out.

A masked vector is a sum of a signal, a noise draw, one mask for each pair and the stream of a
seed. Whoever adds and subtracts vectors learns exactly the combinations in which no unknown mask
and no unknown stream is left: linear algebra decides it. Numbers are taken modulo a prime, so a
combination that cancels by accident of the prime is one in 2^31.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

PRIME: Final = 2**31 - 1


class Symbol(NamedTuple):
    """One unknown vector: who it is about, and which one.

    Attributes:
        kind: signal, noise, mask or stream.
        owner: the institution; both of them, for a mask.
        which: what tells two of one owner apart.
    """

    kind: str
    owner: str
    which: tuple[object, ...]


Form = tuple[tuple[Symbol, int], ...]
Row = Mapping[Symbol, int]


def reduced(rows: Iterable[Row], first: Callable[[Symbol], bool]) -> tuple[Row, ...]:
    """Return the rows that remain when the columns `first` are eliminated, in echelon form.

    They span every combination of `rows` that holds none of those columns.
    """
    left = [dict(row) for row in rows]
    columns = sorted({symbol for row in left for symbol in row}, key=lambda s: (not first(s), s))
    kept: list[Row] = []
    for column in columns:
        pivot = next((row for row in left if row.get(column)), None)
        if pivot is None:
            continue
        left.remove(pivot)
        for row in left:
            _clear(row, pivot, column)
        if not first(column):
            kept.append(pivot)
    return tuple(kept)


def _clear(row: dict[Symbol, int], pivot: Row, column: Symbol) -> None:
    """Take a multiple of the pivot off a row, so that the column is gone from it."""
    if not row.get(column):
        return
    factor = row[column] * pow(pivot[column], -1, PRIME) % PRIME
    for symbol, value in pivot.items():
        rest = (row.get(symbol, 0) - factor * value) % PRIME
        if rest:
            row[symbol] = rest
        else:
            row.pop(symbol, None)


@lru_cache(maxsize=200_000)
def views(forms: tuple[Form, ...], known: frozenset[Symbol]) -> tuple[Row, ...]:
    """Return a basis of what can be worked out of masked vectors.

    Args:
        forms: the vectors that were seen.
        known: masks and streams that are known.
    """
    rows = [{s: v for s, v in form if s not in known} for form in forms]
    return reduced(rows, lambda symbol: symbol.kind in ("mask", "stream"))


def reads_alone(seen: Sequence[Row], owner: str) -> bool:
    """Tell whether a combination holds the signal of one institution and of nobody else."""
    others = reduced(seen, lambda symbol: symbol.kind == "signal" and symbol.owner != owner)
    return any(s.kind == "signal" and s.owner == owner for row in others for s in row)


def noise_views(seen: Sequence[Row], owner: str) -> int:
    """Return how many independent noise draws of an institution the combinations hold."""
    own = [{s: v for s, v in row.items() if (s.kind, s.owner) == ("noise", owner)} for row in seen]
    return len(reduced(own, lambda _: False))


def requests_seen(seen: Collection[Row], owner: str) -> frozenset[Any]:
    """Return the requests of whose answers by an institution something was worked out."""
    return frozenset(
        s.which[0] for row in seen for s in row if (s.kind, s.owner) == ("noise", owner)
    )
