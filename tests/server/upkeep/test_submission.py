"""A witness is asked for what it lacks, as C2SP tlog-witness says; its word alone is nothing."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.receivers import web_server
from tests.support.network.witnesses import SpecWitness

from fieldfare.server.home.settings import WitnessSection
from fieldfare.server.store.store import RunStore
from fieldfare.server.upkeep.publication import log_key, witnessed_heads
from fieldfare.server.upkeep.submission import (
    WitnessAnswer,
    WitnessUnreachableError,
    ask_witness,
    poster,
    standing,
)
from fieldfare.shared.errors import RunError
from fieldfare.shared.transcript.notes import Note, cosigners_of

Grow = Callable[..., None]


@pytest.fixture
def origin(keyed: KeyedCoordinator) -> str:
    return log_key(keyed.home).name


@pytest.fixture
def witness(keyed: KeyedCoordinator) -> SpecWitness:
    return SpecWitness().knows(log_key(keyed.home))


def test_a_log_that_grows_is_signed_as_it_grows(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    for size in range(1, 18):
        grow(f"run-{size % 3}")
        found = ask_witness(store, origin, witness.section, witness.post)
        assert (found.cosigned, found.size, found.trouble) == (size, size, "")
        heads, count = witnessed_heads(store, origin, f"run-{size % 3}")
        assert (len(heads.entries), count) == (size, 1)
        times = cosigners_of(Note.from_bytes(heads.note.encode()), [witness.key])
        assert times == {witness.name: witness.now}
    asked = len(witness.bodies)
    ask_witness(store, origin, witness.section, witness.post)
    assert len(witness.bodies) == asked == 17  # who signed everything is left alone


def test_a_witness_learns_sizes_and_hashes_and_nothing_else(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    for run in ("run-of-bank-a", "run-of-bank-a", "another"):
        grow(run)
        ask_witness(store, origin, witness.section, witness.post)
    told = b"".join(witness.bodies)
    for private in (b"run-of-bank-a", keyed.study.id.encode(), b"bank-a", b"payments"):
        assert private not in told


def test_a_witness_that_was_away_is_given_all_at_once(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    grow()
    ask_witness(store, origin, witness.section, witness.post)
    witness.down = True
    for _ in range(5):
        grow()
        found = ask_witness(store, origin, witness.section, witness.post)
        assert "no answer" in found.trouble
    witness.down = False
    assert ask_witness(store, origin, witness.section, witness.post).cosigned == 6


def test_a_conflict_is_followed_to_the_size_that_the_witness_knows(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    for _ in range(3):
        grow()
    ask_witness(store, origin, witness.section, witness.post)
    store._database.rows("DELETE FROM cosigned_heads")  # its answer was lost
    for _ in range(2):
        grow()
    found = ask_witness(store, origin, witness.section, witness.post)
    assert (found.cosigned, found.trouble) == (5, "")
    assert [body.split(b"\n")[0] for body in witness.bodies] == [b"old 0", b"old 0", b"old 3"]


def test_a_home_that_is_behind_is_told_so(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    grow()
    witness.seen[origin] = (7, bytes(32))
    found = ask_witness(store, origin, witness.section, witness.post)
    assert "it signed 7 heads, this home has 1: the home is behind" in found.trouble
    assert found.cosigned == 0


def test_another_log_of_the_same_name_is_not_signed(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    grow()
    witness.seen[origin] = (1, bytes(32))
    found = ask_witness(store, origin, witness.section, witness.post)
    assert "422: it says that the log did not grow" in found.trouble


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (200, b"", "signature lines"),
        (200, b"\xff\n", "other bytes"),
        (200, "\u2014 someone.else AAAAAAAAAAAA\n".encode(), "found none"),
        (409, b"x\n", "another text"),
        (409, b"1", "another text"),
        (409, b"0\n", "it answered 409"),
        (404, b"", "does not know the log"),
        (403, b"", "does not know this key"),
        (500, b"<html>", "it answered 500"),
        (302, b"", "it answered 302"),
    ],
)
def test_any_other_answer_is_no_signature(
    store: RunStore, grow: Grow, origin: str, status: int, content: bytes, said: str
) -> None:
    grow()
    answer = WitnessAnswer(status, content)
    found = ask_witness(store, origin, SpecWitness().section, lambda *_: answer)
    assert said in found.trouble
    assert store.cosigned_sizes(origin) == {}


def test_a_signature_on_another_checkpoint_is_not_kept(
    store: RunStore, grow: Grow, origin: str, witness: SpecWitness
) -> None:
    grow()
    wrong = witness.cosigned(f"{origin}\n1\n{'A' * 43}=\n").encode()
    found = ask_witness(store, origin, witness.section, lambda *_: WitnessAnswer(200, wrong))
    assert "valid signature" in found.trouble
    assert store.cosigned_sizes(origin) == {}


def test_a_log_of_heads_only_grows(store: RunStore, grow: Grow, origin: str) -> None:
    grow()
    for statement in ("DELETE FROM head_log", "UPDATE head_log SET size = 0"):
        with pytest.raises(RunError, match="append-only"):
            store._database.rows(statement)
    grow("run-1", leaves=0)  # the same head once more
    assert standing(store, origin, SpecWitness().section).size == 1


def test_requests_go_to_the_url_alone() -> None:
    post = poster()
    with web_server() as hook:
        hook.body = b"signed"
        url = f"http://127.0.0.1:{hook.port}/add-checkpoint"
        assert post(url, b"body") == WitnessAnswer(200, b"signed")
        assert hook.posted[0][0] == "/add-checkpoint"
        hook.status, hook.headers = 302, {"location": "/elsewhere"}
        assert post(url, b"body").status == 302
        assert [path for path, *_ in hook.posted] == ["/add-checkpoint"] * 2
        hook.body = b"x" * 100_000
        with pytest.raises(WitnessUnreachableError, match="too long"):
            post(url, b"body")
    with pytest.raises(WitnessUnreachableError, match="no connection"):
        post(url, b"body")


def test_an_answer_that_drips_ends_in_time() -> None:
    """A head that came byte by byte was read for as long as the witness liked."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        drip = Thread(target=_drip, args=(place,))
        drip.start()
        url = f"http://127.0.0.1:{place.getsockname()[1]}/add-checkpoint"
        with pytest.raises(WitnessUnreachableError, match="in time"):
            poster(0.3)(url, b"body")
        drip.join()


def _drip(place: socket.socket) -> None:
    caller, _ = place.accept()
    with caller, suppress(OSError):
        caller.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(200):  # it hangs up before
            caller.sendall(b"a")
            time.sleep(0.02)
        caller.sendall(b"\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "url", ["http://witness.example/", "ftp://x/", "https://u:p@witness.example/", "file:///x"]
)
def test_a_witness_is_asked_over_https_or_here(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        WitnessSection(url=url, key=SpecWitness().key.text)
