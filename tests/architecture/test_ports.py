"""A port with two implementations or more has one suite, which every one of them runs through.

A port is a public `Protocol` or abstract base with a method that takes something. Its suite is the
file `test_port_*.py` that names it; the suite names each class of the source that keeps to it.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("shared", "client", "server", "simulations")


@dataclass(frozen=True)
class Declared:
    """A class of the source: its bases, and its public methods with the names that they take."""

    bases: frozenset[str]
    methods: dict[str, tuple[str, ...]]
    public: bool

    @property
    def is_port(self) -> bool:
        return bool(self.bases & {"Protocol", "ABC"}) and self.public


def name_of(node: ast.expr) -> str:
    inner = node.value if isinstance(node, ast.Subscript) else node
    return inner.id if isinstance(inner, ast.Name) else getattr(inner, "attr", "")


def declared(node: ast.ClassDef) -> Declared:
    methods = {
        one.name: tuple(a.arg for a in (*one.args.args, *one.args.kwonlyargs))
        for one in node.body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
        if "property" not in map(name_of, one.decorator_list)  # a field may stand for it
    }
    bases = frozenset(map(name_of, node.bases))
    return Declared(bases, methods, public=not node.name.startswith("_"))


def classes() -> Iterator[tuple[str, Declared]]:
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            if not path.stem.endswith("_pb2"):
                tree = ast.parse(path.read_text("utf-8"))
                yield from (
                    (one.name, declared(one)) for one in tree.body if isinstance(one, ast.ClassDef)
                )


def keeps_to(found: Declared, port: str, known: dict[str, Declared]) -> bool:
    """A subclass keeps to its base, and any class to a protocol of whose methods it has all."""
    if port in found.bases:
        return True
    wanted = known[port].methods
    return "ABC" not in known[port].bases and all(
        found.methods.get(name) == taken for name, taken in wanted.items()
    )


def ports() -> dict[str, set[str]]:
    known = dict(classes())
    takes = {
        name: one
        for name, one in known.items()
        if one.is_port and any(len(taken) > 1 for taken in one.methods.values())
    }
    return {
        port: {
            name for name, one in known.items() if not one.is_port and keeps_to(one, port, known)
        }
        for port in takes
    }


def test_ports_with_several_implementations_have_a_suite_for_all() -> None:
    suites = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_port_*.py")]
    several = {port: kept for port, kept in ports().items() if len(kept) > 1}
    assert len(several) >= len(suites) > 9
    for port, kept in several.items():
        fits = [text for text in suites if f"`{port}`" in text.split('"""')[1]]
        assert len(fits) == 1, f"{port}: expected one suite test_port_*.py, found {len(fits)}"
        missing = sorted(name for name in kept if name not in fits[0])
        assert not missing, f"{port}: expected {missing} in its suite, found it without"
