"""What a process loads when it is first asked for it: until then it is small."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


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
