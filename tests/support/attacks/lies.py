"""What a coordinator may tell one institution in place of what it tells the others."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fieldfare.server.run.record import DecodedSum
from fieldfare.server.run.rounds import SecureSums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    LastSum,
    Participant,
    Request,
    parameters_from_bytes,
    parameters_hash,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.run.state import RunState

STRANGER = Participant(institution="bank-x", answer="0" * 64)


@dataclass(frozen=True)
class Lie:
    """What one institution is asked in place of R.

    Attributes:
        change: fields of R that are other for it.
        parameters: what it is sent, from what the others are sent.
    """

    change: Callable[[Request], dict[str, object]] = lambda _: {}
    parameters: Callable[[bytes], bytes] = lambda content: content

    def told(self, request: Request, parameters: bytes) -> tuple[Request, bytes]:
        """What the institution is asked, and with which parameters."""
        content = self.parameters(parameters)
        changes = {"parameters": parameters_hash(content), **self.change(request)}
        return request.model_copy(update=changes), content


def nudged(content: bytes) -> bytes:
    """One parameter, one bit."""
    values = np.frombuffer(content, dtype="<f8").copy()
    values[0] = np.nextafter(values[0], np.inf)
    return values.tobytes()


def elsewhere(content: bytes) -> bytes:
    """A vector that would show one unit's features in the sum of the rest's zeros."""
    values = parameters_from_bytes(content, len(content) // 8, PARAMETER_LIMIT)
    return parameters_to_bytes(np.where(np.arange(len(values)) == 1, 50.0, -50.0))


def with_participants(change: Callable[[list[Participant]], list[Participant]]) -> Lie:
    """Others are said to take part."""

    def changes(request: Request) -> dict[str, object]:
        found = change(list(request.participants))
        return {"participants": tuple(found), "n": len(found)}

    return Lie(changes)


def without(*names: str) -> Lie:
    """Some are said to take no part."""
    return with_participants(lambda found: [p for p in found if p.institution not in names])


Telling = Callable[[Release, bytes, LastSum], tuple[bytes, LastSum]]


def let_coordinator_lie(patch: pytest.MonkeyPatch, lie: Telling) -> None:
    """Let a coordinator send something else than what follows, and write down that it did.

    Its own state would refuse the request: it believes itself. Custodians' states are as they are.
    """
    collect, bind = SecureSums.collect, RunState.bind

    def lying(
        sums: SecureSums, release: Release, content: bytes, last: LastSum = NO_LAST_SUM
    ) -> DecodedSum:
        return collect(sums, release, *lie(release, content, last))

    def believing(state: RunState, request: Request) -> RunState:
        if state.protection is Protection.EXACT:
            return bind(state, request)
        known = next(state.release.kind.contents(state.run.plan, state.results), None)
        results = state.results if known is None else known.results
        return replace(state, results=replace(results, bound=request.parameters))

    patch.setattr(SecureSums, "collect", lying)
    patch.setattr(RunState, "bind", believing)


def let_coordinator_change_last(
    patch: pytest.MonkeyPatch,
    lie: Callable[[LastSum], LastSum],
    when: Callable[[Release], bool],
) -> None:
    """Let a coordinator send another last sum, with the requests of some releases."""

    def changed(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
        return content, lie(last) if when(release) else last

    let_coordinator_lie(patch, changed)
