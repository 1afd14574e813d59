"""What the rooms below say of options of a command, in the words of Python's arguments."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from fieldfare.shared.errors import FieldfareError, StudyError

_ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        name: name.replace("-", "_")
        for name in (
            "audit-column", "baselines", "engine", "exclude", "institution-column", "institutions",
            "keep", "noise", "partition", "positive", "ray-address", "seed", "unit",
        )
    }
    | {"holdout-file": "holdout", "records": "data", "out": ""}
)  # fmt: skip
# A whole command, which stays; or an option, and what stands for its value.
_OPTION: Final = re.compile(
    r"(?P<command>(?:fieldfare|typologies|coordinator)(?: [a-z]+)+ --\S+)"
    r"|--(?P<name>[a-z][a-z-]*)(?: NAME=FILE)?(?P<value> (?=[\"A-Z]|[^\s:]\S*: ))?"
)
_PLACE: Final = re.compile(r"^(?:axes\.(\w+)|(seeds)|(beside))\.(\d+)(?=:)", re.MULTILINE)


def in_python(text: str) -> str:
    """Return words about options as words about arguments: `--unit COL` is `unit=COL`."""
    said = _OPTION.sub(_argument, text).replace("by this command", "here")
    return _PLACE.sub(_place, said)


def _place(found: re.Match[str]) -> str:
    axis, seeds, beside, place = found.groups()
    return f"{axis or seeds or f'{beside}_it'}[{place}]"


def _argument(found: re.Match[str]) -> str:
    argument = _ARGUMENTS.get(found["name"] or "")
    if argument is None:
        return found[0]
    return f"{argument}=" if found["value"] and argument else argument


@contextmanager
def python_words() -> Iterator[None]:
    """Let errors of the block, or of a function under it, speak of arguments.

    Raises:
        FieldfareError: the same one, in other words.
    """
    try:
        yield
    except FieldfareError as error:
        error.args = (in_python(str(error)),)
        if isinstance(error, StudyError):
            error.problems = [in_python(line) for line in error.problems]
        raise
