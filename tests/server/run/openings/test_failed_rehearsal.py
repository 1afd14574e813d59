"""A member lies in a rehearsal: the run ends with its name, and an audit comes to the same one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from flwr.app import Message
from tests.server.run.openings.test_opened_rounds import assert_audited, opened
from tests.support.federations.settings import BANKS, Book, MakeSetting, Setting, to_bank

from fieldfare.server.run.blame import UNKNOWN
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol import plan
from fieldfare.shared.protocol.messages import KeyOffer, Refusal, RehearsalKeys, open_envelope
from fieldfare.shared.protocol.secure_sum import EphemeralKeys, encapsulate
from fieldfare.shared.ring import add
from fieldfare.shared.run.blame import Blame, Lie
from fieldfare.shared.transcript.leaves import LeafKind

LIAR, SILENT = BANKS[-1], BANKS[1]
NAMED: Final = f"rehearsal failed: {LIAR}'s masked zeros do not follow from its keys"


class Killed(Exception):  # noqa: N818 -- the coordinator's process, not an error of its own
    """The coordinator's process ends."""


def let_lie(setting: Setting, name: str) -> None:
    """Let a member add one to everything that it masks."""
    door = setting.federation.custodians[name]._door
    masked = door._masked

    def lying(vector: Any, keys: Any, request: Any, terms: Any) -> Any:
        honest = masked(vector, keys, request, terms)
        return add(honest, np.ones(len(honest), dtype=np.uint64), terms.word_bits)

    door._masked = lying  # type: ignore[method-assign]


@pytest.fixture
def book(make_setting: MakeSetting, tmp_path: Path) -> Book:
    setting = make_setting(opened(), Protection.EXACT)
    let_lie(setting, LIAR)
    return Book.begin(setting, tmp_path / "runs.sqlite")


def failure(book: Book, drop: Callable[[Message], bool] | None = None) -> str:
    with pytest.raises(RunError) as found:
        book.carry_on(drop)
    return str(found.value)


def blamed(book: Book) -> Blame:
    """Whom an audit names."""
    found = assert_audited(book).blame
    assert found is not None
    return found


def kinds(book: Book) -> list[LeafKind]:
    with run_store(book.path) as store:
        return [leaf.kind for leaf in store.leaves(book.run)]


def test_who_lied_is_named_by_the_coordinator_and_by_an_audit(book: Book) -> None:
    assert failure(book) == f"{NAMED}; no budget was spent; start another run"
    assert kinds(book)[-5:] == [LeafKind.SUM, *[LeafKind.KEYS] * 4]
    assert blamed(book) == Blame({LIAR: Lie.MASKS})
    assert set(book.setting.debits().values()) == {0}
    purged = assert_audited(book, purged=True)
    assert purged.blame is None
    assert purged.recomputed == 0


def test_the_run_never_goes_on_and_another_one_does(book: Book) -> None:
    first = failure(book)
    assert failure(book) == first
    assert kinds(book).count(LeafKind.KEYS) == len(BANKS)
    for name in BANKS:
        found = book.setting.federation.custodians[name].describe(
            book.setting.federation.study.id, run=book.run, nonce="7" * 64
        )
        assert isinstance(found, Refusal)
    del book.setting.federation.custodians[LIAR]._door._masked  # it repents
    another = Book(book.setting, book.path, run="another")
    with run_store(book.path) as store:
        store.set_state(book.run, RunStatus.FAILED, first, book.now)
        store.create(another.run, book.setting.federation.study.id, book.now)
    another.carry_on()
    assert_audited(another)


@pytest.mark.parametrize("after", [0, 2])
def test_a_coordinator_that_dies_asks_again(book: Book, after: int) -> None:
    """Some had published, and their run is dead; the same bytes come again."""
    seen = 0

    def killed(message: Message) -> bool:
        nonlocal seen
        seen += message.metadata.message_type == "query.publish"
        if seen > after:
            raise Killed
        return False

    with pytest.raises(Killed):
        book.carry_on(killed)
    assert kinds(book)[-1] is LeafKind.SUM
    assert failure(book).startswith(NAMED)
    assert blamed(book).named == {LIAR: Lie.MASKS}


def test_who_publishes_nothing_is_said_to_and_may_do_so_later(book: Book) -> None:
    """It is the coordinator's word, and no proof: so the next try asks those who are missing."""
    found = failure(book, to_bank(SILENT, call="publish"))
    assert found.startswith(f"{NAMED}; {SILENT} published no keys; not checked for want of these")
    assert blamed(book).named == {LIAR: Lie.MASKS, SILENT: Lie.SILENT}
    assert failure(book).startswith(f"{NAMED}; no budget")
    assert blamed(book).named == {LIAR: Lie.MASKS}


def test_who_publishes_other_keys_is_named(book: Book) -> None:
    party = book.setting.federation.custodians[LIAR]._party
    x25519, mlkem768 = EphemeralKeys.generate().private

    def others(answer: Any) -> bytes:
        body = open_envelope(answer, RehearsalKeys, party.roster, party.protection).body
        return party.sign(body.model_copy(update={"x25519": x25519, "mlkem768": mlkem768}))

    book.setting.bend(LIAR, publish=others)
    assert failure(book).startswith(
        f"rehearsal failed: {LIAR} published keys that are not those of its answer"
    )
    assert blamed(book).named == {LIAR: Lie.KEYS}


def test_keys_that_another_signed_are_none(book: Book) -> None:
    honest = book.setting.federation.custodians[SILENT]
    book.setting.bend(LIAR, publish=lambda answer: honest._party.sign(_body(honest, answer)))
    assert f"{LIAR} published no keys" in failure(book)
    assert blamed(book).named[LIAR] is Lie.SILENT


def _body(custodian: Any, answer: bytes) -> RehearsalKeys:
    party = custodian._party
    return open_envelope(answer, RehearsalKeys, party.roster, party.protection).body


def test_a_vector_that_the_coordinator_changed_is_no_lie_of_a_member(book: Book) -> None:
    """Statements are signed over hash(y): what is held against a member is what it signed."""
    failure(book)
    report = book.audited(change=lambda blob: bytes([blob[0] ^ 1]) + blob[1:])
    assert report.misfit is not None
    assert report.misfit.institution is None
    assert report.blame is None


def test_two_offers_of_one_member_prove_nothing_against_who_was_shown_one(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """The first bank and the coordinator: one ciphertext for their victim, another for the log."""
    setting = make_setting(opened(), Protection.EXACT)
    victim, liar = (setting.federation.custodians[name] for name in (SILENT, BANKS[0]))
    agree = victim.agree

    def shown_another(study: str, run: str, offers: Sequence[bytes]) -> Any:
        party = liar._party
        kept = open_envelope(offers[0], KeyOffer, party.roster, party.protection).body
        _, other = encapsulate(victim._held._opened[study].own.answer)
        sent = kept.model_copy(update={"ciphertexts": {**kept.ciphertexts, SILENT: other}})
        return agree(study, run, [party.sign(sent), *offers[1:]])

    victim.agree = shown_another  # type: ignore[method-assign]
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    assert f"{SILENT} says that it was shown other key offers" in failure(book)
    assert blamed(book) == Blame({SILENT: Lie.OFFERS})


def test_nobody_is_silent_who_was_not_asked(make_setting: MakeSetting, tmp_path: Path) -> None:
    """A rehearsal without one of those who opened the run: no custodian publishes keys of it."""
    setting = make_setting(opened("any"), Protection.EXACT)
    let_lie(setting, LIAR)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    assert failure(book, to_bank(SILENT, call="release")).startswith(UNKNOWN)
    assert assert_audited(book).blame is None


def test_nobody_is_silent_of_vectors_that_do_not_travel(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MOST_WORDS", 1)
    assert failure(book).startswith(UNKNOWN)
    assert assert_audited(book).blame is None
