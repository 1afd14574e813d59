"""What is kept of a customer with an alert: own entries, encrypted, until a day."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.client.alerts.test_alert_store import alert, decision
from tests.client.typologies.ledgers import AS_OF, FIRES, transaction_of
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert_queue import forget, open_queue, statement_of
from fieldfare.client.alerts.entries import MOST_KEPT, statements
from fieldfare.client.alerts.entry_keys import EntryKeys, keys_beside
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.keys import load_identity, public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.journal.deletions import deletion_statements
from fieldfare.client.journal.journal import Journal
from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.deletion import read_deletions
from fieldfare.shared.protocol.messages import IdentitySigner

DAY = date(2026, 9, 1)


def written(folder: Path, names: tuple[str, ...]) -> Path:
    """A folder of canonical records in which each customer is called after its ledger."""
    folder.mkdir()
    ledgers = {name: FIRES[name][0] for name in names}
    rows = [
        transaction_of(row, f"acc-{name}", at)
        for name, one in ledgers.items()
        for at, row in enumerate(one.rows)
    ]
    for at, row in enumerate(rows):
        row["txn_id"] = f"t{at}"
    held = [{"account_id": f"acc-{name}", "customer_id": name} for name in names]
    records = {
        "transactions": rows,
        "accounts": held,
        "customers": [{"customer_id": name, "kind": "person"} for name in names],
    }
    for name, model in TABLES.items():
        table = pa.Table.from_pylist(records[name], schema=arrow_schema(model))
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeptEntries]:
    folder = written(tmp_path_factory.mktemp("r") / "canonical", ("R01", "R13", "R22"))
    alerts = [
        alert("aaaa1111", "R01", fired=("R01",)),
        alert("bbbb2222", "R13", fired=("R13", "R02")),
        alert("cccc3333", "nobody", fired=("R01",)),
    ]
    return dict(statements(folder, alerts, last=AS_OF, today=AS_OF))


def test_a_statement_says_which_entries_fire_what(found: dict[str, KeptEntries]) -> None:
    senders = found["aaaa1111"].entries
    assert len(senders) == found["aaaa1111"].found == len(FIRES["R01"][0].rows)
    assert {one.counted for one in senders} == {("R01",)}
    assert not any(one.out for one in senders)
    assert {(one.channel, one.currency) for one in senders} == {("P2P", "XAC")}
    assert senders[0].amount * 100 == senders[0].minor == 6_100
    assert sorted((one.day for one in senders), reverse=True) == [one.day for one in senders]
    adverts = [one for one in found["bbbb2222"].entries if one.counted]
    assert {one.what for one in adverts} == {"ads"}


def test_of_nobody_without_an_alert_an_entry_is_kept(found: dict[str, KeptEntries]) -> None:
    assert set(found) == {"aaaa1111", "bbbb2222", "cccc3333"}
    assert found["cccc3333"].entries == ()


def test_a_statement_comes_back_as_it_was_kept(found: dict[str, KeptEntries]) -> None:
    for one in found.values():
        assert KeptEntries.unpacked(one.packed()) == one
        assert len(one.entries) <= MOST_KEPT


@pytest.fixture
def keys(tmp_path: Path) -> EntryKeys:
    return EntryKeys(tmp_path / "keys", 0o700, 0o600)


def open_log(home: Home) -> Journal:
    return Journal.open(home.log_folder, clock=lambda: NOW)


def test_entries_open_for_their_alert_and_day_and_no_other(keys: EntryKeys) -> None:
    closed = keys.close(b"entries", "aaaa1111", DAY)
    assert b"entries" not in closed
    assert keys.close(b"entries", "aaaa1111", DAY) != closed
    assert keys.open(closed, "aaaa1111", DAY) == b"entries"
    for name, day, content in (
        ("bbbb2222", DAY, closed),
        ("aaaa1111", DAY, closed[:-1] + bytes([closed[-1] ^ 1])),
    ):
        with pytest.raises(UsageError, match="score again"):
            keys.open(content, name, day)
    assert keys.open(closed, "aaaa1111", DAY + timedelta(days=1)) is None


def test_a_day_that_is_over_opens_nothing_in_any_copy(keys: EntryKeys) -> None:
    closed = keys.close(b"entries", "aaaa1111", DAY)
    assert keys.forget(DAY) == 0
    assert keys.open(closed, "aaaa1111", DAY) == b"entries"
    assert keys.forget(DAY + timedelta(days=1)) == 1
    assert keys.open(closed, "aaaa1111", DAY) is None


def test_a_key_that_others_can_read_is_refused(keys: EntryKeys) -> None:
    closed = keys.close(b"entries", "aaaa1111", DAY)
    (path,) = keys.folder.iterdir()
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        keys.open(closed, "aaaa1111", DAY)


def test_a_kill_while_a_key_is_made_leaves_none_that_the_group_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = EntryKeys(tmp_path / "keys", 0o750, 0o640)
    keys.close(b"entries", "aaaa1111", DAY - timedelta(days=1))  # makes the folder

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fieldfare.client.alerts.entry_keys.os.chown", killed)
        with pytest.raises(KeyboardInterrupt):
            keys.close(b"entries", "aaaa1111", DAY)
    closed = keys.close(b"entries", "aaaa1111", DAY)
    assert keys.open(closed, "aaaa1111", DAY) == b"entries"
    modes = {one.name: one.stat().st_mode & 0o777 for one in keys.folder.glob("2*")}
    assert set(modes.values()) == {0o640}, modes


def test_keys_lie_outside_of_what_is_backed_up(home: Home) -> None:
    folder = keys_beside(home.path)
    assert not folder.is_relative_to(home.path)
    assert open_queue(home.path).entry_keys.folder == folder


def kept_in(home: Home, statement: KeptEntries) -> None:
    keys = open_queue(home.path).entry_keys
    with open_store(home) as store:
        store.put([alert("aaaa1111", "customer-marker"), alert("bbbb2222", "other")])
        for name in ("aaaa1111", "bbbb2222"):
            store.keep_entries({name: keys.close(statement.packed(), name, DAY)}, DAY)


def test_what_is_kept_is_read_by_who_has_the_key(home: Home, found: dict[str, KeptEntries]) -> None:
    kept_in(home, found["aaaa1111"])
    queue = open_queue(home.path)
    with queue.store() as store:
        assert statement_of(queue, store, "aaaa1111") == found["aaaa1111"]
        assert statement_of(queue, store, "cccc3333") is None
    for path in home.path.rglob("*"):
        if path.is_file():
            assert b"acc-R01" not in path.read_bytes()
            assert b"6100" not in path.read_bytes()


def test_what_expires_leaves_no_byte_in_the_file(home: Home, found: dict[str, KeptEntries]) -> None:
    kept_in(home, found["aaaa1111"])
    with open_store(home) as store:
        said = decision("aaaa1111", Disposition.BENIGN_OTHER)
        store.add(said)
        note = "comment-marker"
        store.add(CaseAct("aaaa1111", NOW, "ana", CaseActKind.COMMENT, note))
        closed = store.entries("aaaa1111")
    assert closed is not None
    path = home.scoring / STORE
    before = path.read_bytes()
    assert b"customer-marker" in before
    assert b"comment-marker" in before
    assert closed[1][-40:] in before
    settings = load_settings(home)
    keys = open_queue(home.path).entry_keys
    days = settings.alerts.keep_days
    with open_log(home) as journal, open_store(home) as store:
        store.put([alert("bbbb2222", "other", scored=(NOW + timedelta(days=9)).isoformat())])
        assert forget(store, keys, settings, NOW + timedelta(days=days - 1), journal) == 0
        assert forget(store, keys, settings, NOW + timedelta(days=days), journal) == 1
        assert [one.alert.alert for one in store.all()] == ["bbbb2222"]
        assert store.entries("bbbb2222") is None  # past its own day
    found_bytes = b"".join(one.read_bytes() for one in home.scoring.iterdir())
    for marker in (b"customer-marker", b"comment-marker", b"because", closed[1][-40:]):
        assert marker not in found_bytes
    assert list(keys.folder.iterdir()) == []


def test_the_log_says_what_went_and_its_statements_are_signed(
    home: Home, found: dict[str, KeptEntries]
) -> None:
    kept_in(home, found["aaaa1111"])
    settings, keys = load_settings(home), open_queue(home.path).entry_keys
    ((day, fingerprint),) = keys.due(date.max)
    days = settings.alerts.keep_days
    with open_log(home) as journal, open_store(home) as store:
        for _ in range(2):  # the second time nothing is due
            forget(store, keys, settings, NOW + timedelta(days=days), journal)
    signer = IdentitySigner(load_identity(home, None))
    made = b"\n".join(deletion_statements(home.log_folder, settings.id, signer))
    entries, alerts = read_deletions(made, (), (public_identity(home),))
    assert (entries.kind, entries.subject, entries.hashes) == ("entries", day, (fingerprint,))
    assert (alerts.kind, alerts.subject, alerts.hashes) == ("alerts", NOW.date().isoformat(), ())
    assert f"keep_days = {days}" in alerts.rule
    assert b"aaaa1111" not in made
    assert b"customer-marker" not in made


def test_statements_are_the_same_whether_there_were_alerts_or_not(
    home: Home, found: dict[str, KeptEntries]
) -> None:
    settings, keys = load_settings(home), open_queue(home.path).entry_keys
    days = settings.alerts.keep_days
    with open_log(home) as journal, open_store(home) as store:
        assert forget(store, keys, settings, NOW + timedelta(days=days - 1), journal) == 0
    kept_in(home, found["aaaa1111"])
    keys.forget(date.max)
    with open_log(home) as journal, open_store(home) as store:
        for _ in range(2):
            forget(store, keys, settings, NOW + timedelta(days=days), journal)
    made = deletion_statements(
        home.log_folder, settings.id, IdentitySigner(load_identity(home, None))
    )
    none_yet, one = read_deletions(b"\n".join(made), (), (public_identity(home),))
    assert (none_yet.kind, one.kind) == ("alerts", "alerts")
    yesterday = NOW - timedelta(days=1)
    assert (none_yet.subject, one.subject) == (str(yesterday.date()), str(NOW.date()))


def test_keys_of_two_years_are_never_more_than_their_weeks(keys: EntryKeys) -> None:
    for number in range(0, 730, 7):
        today = DAY + timedelta(days=number)
        keys.close(b"entries", "aaaa1111", today + timedelta(days=180))
        keys.forget(today)
        assert len(list(keys.folder.iterdir())) <= 26


def test_decisions_go_in_no_other_way(home: Home) -> None:
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u")])
        store.add(decision("aaaa1111", Disposition.EDD))
        store.add(CaseAct("aaaa1111", NOW, "ana", CaseActKind.TAKE))
        for statement in ("DELETE FROM feedback", "DELETE FROM act", "UPDATE act SET user = 'b'"):
            with pytest.raises(UsageError, match="only added"):
                store._database.rows(statement)
