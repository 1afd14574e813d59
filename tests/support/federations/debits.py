"""A debit as the door writes it: an answer that waits is opened, in two transactions."""

from collections.abc import Callable, Mapping

from fieldfare.client.ledger.budget import Debit, Portion, Position, StoredReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.pending import NO_SPLIT, PendingAnswer, Split
from fieldfare.shared.privacy.sides import Side


def waiting_answer(debit: Debit, vector: bytes) -> PendingAnswer:
    """The answer of a debit, as it waits for its opening."""
    return PendingAnswer(
        study=debit.study,
        run=debit.run,
        step=debit.step,
        attempt=debit.attempt,
        request=debit.request,
        cost=debit.cost,
        commitment=b"commitment",
        vector=vector,
        seed=bytes(32),
    )


def commit_release(
    ledger: Ledger,
    debit: Debit,
    *,
    vector: bytes,
    study_limit: int,
    max_attempts: int,
    sign: Callable[[Position], bytes],
    run_states: Mapping[str, bytes],
    max_tries: int | None = None,
    portion: Portion | None = None,
    participants: tuple[str, ...] = (),
    split: Split = NO_SPLIT,
    asked: bytes = b"",
) -> StoredReply:
    """Admit a release, keep its answer, and debit it when it is opened.

    A repeat gets what is stored. `sign` signs the reply that states the new position.
    """
    ledger.admit(
        debit,
        study_limit=study_limit,
        max_attempts=max_attempts,
        max_tries=max_tries,
        portion=portion,
        participants=participants,
        split=split,
    )
    stored = ledger.stored(debit.request)
    if stored is not None:
        return stored
    answer = waiting_answer(debit, vector)
    by = NO_SPLIT if debit.side is Side.ALL else split
    ledger.keep_waiting(answer, check=lambda _: None, run_states=run_states, split=by)
    return ledger.commit_waiting(
        debit,
        study_limit=study_limit,
        max_attempts=max_attempts,
        sign=lambda _, position: sign(position),
        max_tries=max_tries,
        portion=portion,
        participants=participants,
        split=split,
        asked=asked,
    )
