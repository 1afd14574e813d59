"""Statements are fixed by the chain, come back as written, and never carry too little."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.ledger.budget import MAX_PICOMU2, Debit, LedgerEntry, Position
from fieldfare.client.ledger.chain import (
    ChainCheck,
    Statement,
    StatementDraft,
    StatementKind,
    Tip,
    check_chain,
    covered,
    from_text,
    genesis,
    lost_cost,
    next_entry,
    next_statement,
    to_micros,
    to_text,
)
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import SideCosts

START = datetime(2026, 1, 1, tzinfo=UTC)
LOST = Position(sequence=9, head="c" * 64, cumulative=50, debited=50, epoch=1)
EPOCH = StatementDraft(
    kind=StatementKind.EPOCH, user="ines", reason="disk lost", carried=50, kept=0, lost=(LOST,)
)
SPLIT = StatementDraft(
    kind=StatementKind.SPLIT, user="ines", reason="two systems", population="cases"
)


def tip_of(entry: LedgerEntry | Statement) -> Tip:
    return Tip(position=entry.position, time=entry.time)


def debit(step: int, study: str = "s") -> Debit:
    return Debit(
        study=study,
        run="r",
        step=step,
        attempt=0,
        kind="training",
        request=hashlib.sha256(f"{study} {step}".encode()).hexdigest(),
        cost=10,
    )


def history() -> list[LedgerEntry | Statement]:
    """A debit, a new epoch that counts against every study, a split, a debit, an epoch of s."""
    first = next_entry(
        genesis("units", START), debit(0), vector="a" * 64, before=SideCosts(all=0), time=START
    )
    epoch = next_statement(tip_of(first), EPOCH, before=SideCosts(all=0), time=START)
    split = next_statement(tip_of(epoch), SPLIT, before=SideCosts(all=50), time=START)
    second = next_entry(
        tip_of(split),
        debit(1),
        vector="a" * 64,
        before=SideCosts(all=60),
        time=START + timedelta(1),
    )
    named = replace(EPOCH, study="s", carried=7, lost=())
    last = next_statement(tip_of(second), named, before=SideCosts(all=70), time=second.time)
    return [first, epoch, split, second, last]


def test_a_head_can_be_recomputed_by_hand() -> None:
    start = genesis("units", START)
    found = next_statement(start, EPOCH, before=SideCosts(all=0), time=START)
    content = {
        "carried": 50,
        "cumulative": 50,
        "epoch": 2,
        "format": 1,
        "kept": 0,
        "lost": [{"cumulative": 50, "epoch": 1, "head": "c" * 64, "sequence": 9}],
        "population": "",
        "reason": "disk lost",
        "sequence": 1,
        "study": "",
        "study_total": 50,
        "time": to_micros(START),
        "type": "epoch",
        "user": "ines",
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    head = hashlib.sha256(bytes.fromhex(start.position.head) + text).hexdigest()
    assert found.position == Position(sequence=1, head=head, cumulative=50, debited=50, epoch=2)


def test_a_history_with_statements_is_accepted_with_its_totals() -> None:
    check = ChainCheck(genesis("units", START))
    for entry in history():
        check.add(entry)
    assert [entry.position.epoch for entry in history()] == [1, 2, 2, 2, 3]
    assert [entry.position.cumulative for entry in history()] == [10, 60, 60, 70, 77]
    assert [entry.study_total for entry in history()] == [10, 50, 50, 70, 77]
    assert check.tip == tip_of(history()[-1])


CHANGES: dict[str, Callable[[Statement], Statement]] = {
    "reason": lambda s: replace(s, stated=replace(s.stated, reason="another")),
    "user": lambda s: replace(s, stated=replace(s.stated, user="another")),
    "carried": lambda s: replace(s, stated=replace(s.stated, carried=51)),
    "study": lambda s: replace(s, stated=replace(s.stated, study="t")),
    "kept": lambda s: replace(s, stated=replace(s.stated, kept=1)),
    "lost": lambda s: replace(s, stated=replace(s.stated, lost=())),
    "epoch": lambda s: replace(s, position=replace(s.position, epoch=1)),
    "total": lambda s: replace(s, position=replace(s.position, cumulative=10)),
    "debited": lambda s: replace(s, position=replace(s.position, debited=61)),
    "study_total": lambda s: replace(s, study_total=0),
    "time": lambda s: replace(s, time=s.time + timedelta(1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_changed_field_of_a_statement_is_found(change: str) -> None:
    entries = history()
    epoch = entries[1]
    assert isinstance(epoch, Statement)
    entries[1] = CHANGES[change](epoch)
    with pytest.raises(LedgerError, match="expected"):
        check_chain(genesis("units", START), entries)


def test_an_epoch_below_what_was_seen_has_no_place_in_the_chain() -> None:
    start = genesis("units", START)
    with pytest.raises(LedgerError, match="carry over what was lost, up to a sum of 50"):
        next_statement(start, replace(EPOCH, carried=49), before=SideCosts(all=0), time=START)
    with pytest.raises(LedgerError, match="carry over"):
        next_statement(start, replace(EPOCH, kept=1), before=SideCosts(all=0), time=START)
    with pytest.raises(LedgerError, match="debits after a statement"):
        next_statement(
            tip_of(history()[0]),
            replace(EPOCH, carried=MAX_PICOMU2),
            before=SideCosts(all=0),
            time=START,
        )


def test_a_new_epoch_follows_every_one_that_was_seen() -> None:
    seen = replace(EPOCH, lost=(LOST, replace(LOST, epoch=7)))
    found = next_statement(genesis("units", START), seen, before=SideCosts(all=0), time=START)
    assert found.position.epoch == 8


def texts(most: int) -> st.SearchStrategy[str]:
    return st.text(min_size=1, max_size=most).filter(str.isprintable)


positions = st.builds(
    Position,
    sequence=st.integers(0, 2**40),
    head=st.text("0123456789abcdef", min_size=64, max_size=64),
    cumulative=st.integers(0, 50),
    debited=st.integers(50, 52),
    epoch=st.integers(1, 9),
)


@given(texts(40), texts(80), st.lists(positions, max_size=3), st.integers(0, 99))
def test_statements_come_back_as_written(
    user: str, reason: str, lost: list[Position], carried: int
) -> None:
    stated = StatementDraft(
        kind=StatementKind.EPOCH, user=user, reason=reason, lost=tuple(lost), carried=carried
    )
    text = to_text(stated)
    assert from_text(text, kind="epoch", study="", carried=carried) == stated


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"{}",
        "",
        "{",
        "[]",
        "{}",
        to_text(EPOCH).replace('"lost":[{', '"lost":[{"more":1,'),
        to_text(EPOCH).replace('"lost":[{', '"lost":[{"lost":[],'),
        to_text(EPOCH).replace('"kept":0', '"kept":"0"'),
        to_text(EPOCH).replace('"head":"c', '"head":"C'),
        to_text(EPOCH).replace("ines", ""),
        "[" * 100_000,
    ],
)
def test_a_damaged_statement_is_refused(text: object) -> None:
    with pytest.raises(LedgerError, match="expected"):
        from_text(text, kind="epoch", study="", carried=50)


def test_a_statement_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(LedgerError, match="of kind 'debit'"):
        from_text(to_text(EPOCH), kind="debit", study="", carried=50)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": ""},
        {"reason": "two\nlines"},
        {"reason": "x" * 501},
        {"carried": -1},
        {"carried": 1.0},
        {"kept": -1},
        {"population": "units"},
        {"study": "a\x00"},
        {"lost": (replace(LOST, epoch=0),)},
    ],
)
def test_what_cannot_stand_in_the_ledger_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(LedgerError, match="expected"):
        replace(EPOCH, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"population": ""}, {"carried": 1}, {"study": "s"}, {"kept": 1}, {"lost": (LOST,)}]
)
def test_a_split_carries_nothing(changes: dict[str, object]) -> None:
    with pytest.raises(LedgerError, match="expected"):
        replace(SPLIT, **changes)  # type: ignore[arg-type]


def at(debited: int, epoch: int) -> Position:
    # What a limit counts may have stood still: the plain sum of debits is what is compared.
    return replace(LOST, cumulative=debited // 2, debited=debited, epoch=epoch)


def test_lost_cost_counts_from_what_is_known_to_be_common() -> None:
    assert lost_cost([at(50, 1)], [], epoch=1, kept=20) == 30
    assert lost_cost([at(50, 1), at(60, 1)], [], epoch=1, kept=20) == 70  # maybe two branches
    assert lost_cost([at(50, 3)], [], epoch=1, kept=0) == 50
    assert lost_cost([at(10, 1)], [], epoch=1, kept=20) == 0


def test_what_an_ended_epoch_lost_is_covered_up_to_what_was_carried() -> None:
    statements = [entry for entry in history() if isinstance(entry, Statement)]
    assert covered(statements, 1) == 50
    assert covered(statements, 2) == 77  # it was ended with a stated total
    assert covered(statements, 3) == -1
    assert lost_cost([at(55, 1)], statements, epoch=3, kept=0) == 5
    assert lost_cost([at(50, 1)], statements, epoch=3, kept=0) == 0
