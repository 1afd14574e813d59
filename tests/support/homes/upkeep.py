"""How a command is typed at a party's home: what both parties have stands without the party."""

from collections.abc import Sequence
from typing import Final

UPKEEP: Final = frozenset(
    {"backup", "console", "delete", "deletions", "notices", "recovery", "restore", "service"}
)


def at_party(party: str, words: Sequence[str]) -> list[str]:
    """The words of a command, which begin with the party where it has a command of its own."""
    return [*words] if words[0] in UPKEEP else [party, *words]
