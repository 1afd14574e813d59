"""The first thing in a transcript that does not fit: where it stands, and what was expected."""

from dataclasses import dataclass
from typing import Any

from fieldfare.shared.errors import ProtocolError


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Where something does not fit, and why.

    Attributes:
        line: of the file, from 1.
        leaf: of the log, from 0; None for other lines.
        kind: of the leaf or line, such as "reply" or "head".
        institution: whose it is, where that is known.
        step: of the run, where that is known.
        reason: what was expected and what was found.
    """

    line: int
    kind: str
    reason: str
    leaf: int | None = None
    institution: str | None = None
    step: int | None = None

    @property
    def place(self) -> str:
        """Where, in words."""
        parts = [f"line {self.line}: {self.kind}"]
        if self.institution is not None:
            parts.append(f"of {self.institution}")
        inside = [] if self.leaf is None else [f"leaf {self.leaf}"]
        if self.step is not None:
            inside.append(f"step {self.step}")
        if inside:
            parts.append(f"({', '.join(inside)})")
        return " ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "line": self.line,
            "leaf": self.leaf,
            "kind": self.kind,
            "institution": self.institution,
            "step": self.step,
            "reason": self.reason,
        }


class MisfitError(ProtocolError):
    """A transcript does not fit; carries the place."""

    def __init__(self, misfit: Misfit) -> None:
        """Say where and why."""
        self.misfit = misfit
        super().__init__(f"{misfit.place}: {misfit.reason}")


def expect(what: str, expected: object, found: object) -> None:
    """Compare two values of one kind.

    Raises:
        ProtocolError: they differ; says both.
    """
    if expected != found:
        raise ProtocolError(f"expected {what}: {expected}; found: {found}")
