"""The error of a run that differs from its plan: expected X, found Y, and the refusal code."""

from typing import Self

from fieldfare.shared.errors import ProtocolError, RefusalCode


class MismatchError(ProtocolError):
    """A request, a reply or a record is not the one that has to come.

    Attributes:
        code: what a custodian answers in its place.
        institution: whose part does not fit, where it is one institution's.
    """

    def __init__(
        self,
        what: str,
        expected: object = None,
        found: object = None,
        *,
        code: RefusalCode = RefusalCode.MALFORMED,
        institution: str | None = None,
    ) -> None:
        """Take the expected and the found value, where they may be shown."""
        text = f"expected {what}"
        if expected is not None:
            text += f": {expected}; found: {found}"
        elif found is not None:
            text += f", found {found}"
        self.institution = institution
        super().__init__(text, code)

    @classmethod
    def because(cls, error: Exception, code: RefusalCode, institution: str | None = None) -> Self:
        """Return the mismatch that an error found, in the error's own words."""
        found = cls("", code=code, institution=institution)
        found.args = (str(error),)
        return found


def expect(
    what: str, expected: object, found: object, code: RefusalCode = RefusalCode.MALFORMED
) -> None:
    """Compare two values of one kind.

    Raises:
        MismatchError: they differ; says both.
    """
    if expected != found:
        raise MismatchError(what, expected, found, code=code)
