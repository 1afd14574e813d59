import base64
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import NOOP_FLWR_AID

from fieldfare.server.superlink.node_keys import (
    FRESH_SECONDS,
    header_in,
    openssh_of,
    signer_of,
    spki_of,
)
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.server.superlink.superlink import SuperlinkApp
from fieldfare.shared.errors import RunError, UsageError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP384R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
LINE = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
ED25519 = Ed25519PrivateKey.generate().public_key()

TAKEN = 14  # connections by calls that wait, all but the short way's own: the next waits 30 s

Headers = list[tuple[bytes, bytes]]


def signed(stamp: str, *, over: str | None = None, key: bytes = PEM) -> Headers:
    signature = KEY.sign((stamp if over is None else over).encode(), ec.ECDSA(hashes.SHA256()))
    return [
        (b"flwr-public-key", base64.b64encode(key)),
        (b"flwr-signature", base64.b64encode(signature)),
        (b"flwr-timestamp", stamp.encode()),
    ]


def test_a_key_passes_both_ways_and_loses_its_comment() -> None:
    assert spki_of(LINE + b" somebody@somewhere") == PEM
    assert openssh_of(PEM) == LINE


@pytest.mark.parametrize("line", [b"", b"ssh-ed25519 AAAA", b"nonsense", PEM])
def test_what_is_no_key_is_said_so(line: bytes) -> None:
    with pytest.raises(UsageError, match="OpenSSH line, found"):
        spki_of(line)


def test_a_key_of_another_kind_is_refused_both_ways() -> None:
    with pytest.raises(UsageError, match="NIST"):
        spki_of(ED25519.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    with pytest.raises(RunError, match="NIST"):
        openssh_of(ED25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("age", [0.0, FRESH_SECONDS - 1, 1 - FRESH_SECONDS])
def test_a_fresh_signature_names_its_key(age: float) -> None:
    stamp = (NOW - timedelta(seconds=age)).isoformat()
    assert signer_of(signed(stamp), NOW) == PEM


STAMP = NOW.isoformat()
OTHER = ec.generate_private_key(ec.SECP384R1()).public_key()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        signed((NOW - timedelta(seconds=FRESH_SECONDS)).isoformat()),
        signed((NOW + timedelta(seconds=FRESH_SECONDS)).isoformat()),
        signed(STAMP, over="something else"),
        signed(STAMP, key=OTHER.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        signed(STAMP, key=ED25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        signed(STAMP, key=b"no key"),
        signed(NOW.replace(tzinfo=None).isoformat()),
        signed("yesterday"),
        signed(STAMP) + signed(STAMP),
        signed(STAMP)[:2],
        [(name, b"***") for name, _ in signed(STAMP)],
        [(name, b"\xff") for name, _ in signed(STAMP)],
    ],
)
def test_anything_else_names_nobody(headers: Any) -> None:
    assert signer_of(headers, NOW) is None


def test_a_header_counts_if_it_is_there_once() -> None:
    assert header_in([(b"a", b"1"), (b"b", b"2")], "a") == b"1"
    assert header_in([(b"a", b"1"), (b"a", b"1")], "a") == b""
    assert header_in([], "a") == b""


def state_of(app: SuperlinkApp) -> Any:
    return app.flower.state.linkstate_factory.state()


def test_a_node_is_named_from_its_first_call_on(tmp_path: Path) -> None:
    """Also in the second after a stranger's key had the names read."""
    app = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret")
    headers = signed(datetime.now(UTC).isoformat())
    assert app.name_of(headers) is None
    state_of(app).create_node(NOOP_FLWR_AID, "", PEM, 60.0, name="bank-a")
    stale = signed((datetime.now(UTC) - timedelta(seconds=FRESH_SECONDS)).isoformat())
    assert app.name_of(stale) is None
    assert app.name_of(headers) == "bank-a"


def test_a_caller_without_a_signature_costs_no_read(tmp_path: Path) -> None:
    """A stranger had all nodes read, call after call; of the folder here every read fails."""
    app = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret")
    app._view = SuperlinkView(tmp_path, lambda: NOW)
    assert not app.vouched([])
    with pytest.raises(RunError, match="look again"):
        app.vouched(signed(datetime.now(UTC).isoformat()))


def test_names_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    """In the event loop: Flower marks nodes that are silent as it reads, and waits 5 s to do so."""
    database = tmp_path / "superlink.sqlite"
    app = SuperlinkApp(database, b"secret")
    node = state_of(app).create_node(NOOP_FLWR_AID, "", PEM, 60.0, name="bank-a")
    assert state_of(app).activate_node(node, 30.0)
    headers = signed(datetime.now(UTC).isoformat())
    with ExitStack() as stack:
        lock = stack.enter_context(closing(sqlite3.connect(database)))
        with lock:
            lock.execute("UPDATE node SET online_until = 1.0")
        lock.execute("BEGIN IMMEDIATE")
        for _ in range(TAKEN):
            stack.enter_context(state_of(app)._engine.connect())
        begun = time.monotonic()
        assert app.vouched(headers)
        assert app.name_of(headers) == "bank-a"
        assert time.monotonic() - begun < 4.0  # less than Flower waits
        assert [*lock.execute("SELECT status FROM node")] == [("online",)]
    with closing(sqlite3.connect(database)) as lock, lock:
        lock.execute("UPDATE node SET status = 'unregistered'")
    assert not app.vouched(headers)
