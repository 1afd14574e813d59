"""What a process loads when it is first asked for it: until then it is small."""

from collections.abc import Callable
from importlib import import_module
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def late(module: str, name: str) -> Callable[..., Any]:
    """Return what stands for a function or a class of a module that is imported at its first call.

    Args:
        module: the whole name, such as `fieldfare.client.desk.deciding`.
        name: what stands in it.
    """

    def call(*given: Any, **named: Any) -> Any:
        """Import the module, and call what stands in it."""
        return getattr(import_module(module), name)(*given, **named)

    return call


class LateValue(Generic[T]):
    """Something that is made when it is first asked for, and once, whichever thread asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Make nothing yet."""
        self._make = make
        self._made: list[T] = []
        self._one = Lock()

    def __call__(self) -> T:
        """Return it."""
        with self._one:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
