"""The masked vectors beside a transcript, found by the hashes that replies sign."""

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.misfit import Misfit, MisfitError
from fieldfare.shared.transcript import LeafKind
from fieldfare.shared.transcript_file import TranscriptFile
from fieldfare.shared.unverified import claimed


class KeptVectors:
    """Vectors by their hash; remembers which ones were asked for.

    Vectors are deleted after a date, all of a run at once, so either all of them are there or
    none (`kept`).
    """

    def __init__(self, transcript: TranscriptFile) -> None:
        """Find the vectors of a transcript in its file."""
        self._transcript = transcript
        self._places = {place.hash: place for place in transcript.vectors}
        self._used: set[str] = set()

    @property
    def kept(self) -> bool:
        """Whether there are vectors at all."""
        return bool(self._places)

    def vector(self, name: str) -> bytes:
        """Return the vector of this SHA-256.

        Raises:
            MisfitError: it is missing, and another one is there that no reply signs.
            ProtocolError: it is missing.
        """
        place = self._places.get(name)
        if place is None:
            self._check_signed()
            raise ProtocolError(f"expected the vector {name} that the reply signs, found none")
        self._used.add(name)
        return self._transcript.read_vector(place)

    def check_used(self) -> None:
        """Check that there is nothing but the vectors of sums, sorted and once each.

        Raises:
            MisfitError: the first line that is not.
        """
        before = ""
        for place in self._transcript.vectors:
            if place.hash not in self._used:
                raise _misfit(place.line, "expected a vector of a verified sum, found another")
            if place.hash <= before:
                raise _misfit(place.line, "expected vectors in the order of their hashes")
            before = place.hash

    def _check_signed(self) -> None:
        """Blame a vector that no reply names, where there is one: it was changed."""
        replies = (leaf for leaf in self._transcript.leaves if leaf.kind is LeafKind.REPLY)
        signed = {claimed(leaf.content, "vector") for leaf in replies}
        for place in self._transcript.vectors:
            if place.hash not in signed:
                raise _misfit(place.line, "expected a vector whose hash a reply signs")


def _misfit(line: int, reason: str) -> MisfitError:
    return MisfitError(Misfit(line=line, kind="blob", reason=reason))
