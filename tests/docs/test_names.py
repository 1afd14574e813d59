"""The reference of the API has a page for each public name, with all that its docstring says."""

import enum
from dataclasses import dataclass
from types import ModuleType

from docs.site.names import markdown, pages


class Kind(enum.Enum):
    """Which one."""

    FIRST = "first"


@dataclass(frozen=True)
class Thing:
    """A thing.

    Attributes:
        size: How large, in units.
    """

    size: int

    @classmethod
    def read(cls, text: str) -> "Thing":
        """Read one."""
        return cls(int(text))

    @property
    def double(self) -> int:
        """Twice its size."""
        return 2 * self.size

    def _inner(self) -> None: ...


class BrokenError(Exception):
    """What is raised."""


def act(thing: Thing, *, kind: Kind = Kind.FIRST) -> "list[Thing]":
    """Act on a thing.

    Args:
        thing: What to act on,
            whatever it is.
        kind: How.

    Returns:
        Things, in order.

    Raises:
        ValueError: There are none.

    >>> 1 + 1
    2
    """
    return [thing] * len(kind.value)


def reference() -> dict[str, str]:
    module = ModuleType("some", "What it is for.")
    module.BrokenError = BrokenError  # type: ignore[attr-defined]
    module.__all__ = ["BrokenError", "Kind", "Thing", "__version__", "act"]  # type: ignore[attr-defined]
    module.Kind, module.Thing, module.act = Kind, Thing, act  # type: ignore[attr-defined]
    return {name.rpartition("/")[2]: text for name, text in pages(module)}


def test_every_public_name_has_a_page_and_a_line() -> None:
    found = reference()
    assert list(found) == ["index.md", "BrokenError.md", "Kind.md", "Thing.md", "act.md"]
    assert "- [`some.act`](act.md): Act on a thing." in found["index.md"]
    assert "What it is for." in found["index.md"]


def test_a_function_has_its_signature_and_sections() -> None:
    page = reference()["act.md"]
    assert "act(thing: Thing, *, kind: Kind = 'first') -> list[Thing]" in page
    assert "**Args**\n\n`thing`\n: What to act on, whatever it is.\n\n`kind`\n: How." in page
    assert "**Returns**\n\nThings, in order." in page
    assert "**Raises**\n\n`ValueError`\n: There are none." in page
    assert "```pycon\n>>> 1 + 1\n2\n```" in page


def test_a_class_is_called_by_its_public_name() -> None:
    module = ModuleType("some", "What it is for.")
    module.__all__, module.Item, module.act = ["Item", "act"], Thing, act  # type: ignore[attr-defined]
    found = dict(pages(module))
    assert "act(thing: Item, *, kind: Kind" in found["reference/api/act.md"]
    assert "Item(size: int)" in found["reference/api/Item.md"]


def test_a_module_has_the_functions_that_it_names() -> None:
    module, room = ModuleType("some", "What it is for."), ModuleType("room", "Several.")
    room.__all__, room.Thing, room.act = ["Thing", "act"], Thing, act  # type: ignore[attr-defined]
    module.__all__, module.room = ["room"], room  # type: ignore[attr-defined]
    page = dict(pages(module))["reference/api/room.md"]
    assert "Several." in page
    assert "## act\n\n```python\nact(thing: Thing, *" in page
    assert "## Thing" not in page


def test_a_class_has_its_own_members_and_no_private_ones() -> None:
    page = reference()["Thing.md"]
    assert "Thing(size: int)" in page
    assert "## read\n\nclass method" in page
    assert "read(text: str) -> Thing" in page
    assert "double: int" in page
    assert "_inner" not in page
    assert "FIRST = 'first'" in reference()["Kind.md"]


def test_tables_and_prose_of_a_docstring_stay_as_they_are() -> None:
    table = "| case | what |\n|---|---|\n| 0 | none |"
    assert markdown(f"One `line`.\n\n{table}\n\n*Formal Guarantees*: all.") == (
        f"One `line`.\n\n{table}\n\n*Formal Guarantees*: all."
    )
