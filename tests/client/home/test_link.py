"""The link's certificates over two years of a given clock, without a restart and without a gap."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import (
    first_node_pair,
    link_days,
    look_after_link,
    make_link,
    sign_for_node,
)
from fieldfare.client.wire import link
from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.system.certificates import known_as, new_request, valid_until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("custodian.bank-a.example.org", "10.1.0.4")
DAY = timedelta(days=1)
LONG = bool(os.environ.get("FIELDFARE_OPERATE_LONG"))
STEP = 1 if LONG else 4  # days between two looks


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.create(tmp_path / "home")
    make_link(made, NAMES, NOW)
    return made


def certificates(content: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(content)


def good(content: bytes, trusted: bytes, now: datetime, *, name: str = "") -> bool:
    """Whether an independent verifier takes a server by this name; without, any client."""
    roots = PolicyBuilder().store(Store(certificates(trusted))).time(now)
    leaf = certificates(content)[0]
    try:
        if name:
            roots.build_server_verifier(x509.DNSName(name)).verify(leaf, [])
        else:
            roots.build_client_verifier().verify(leaf, [])
    except VerificationError:
        return False
    return True


@dataclass
class FarNode:
    """A node as it lives far away: what it holds, and what it was told."""

    pair: bytes
    trusted: bytes
    renewed: list[int] = field(default_factory=list)

    def ask(self, home: Home, now: datetime, day: int) -> None:
        due = valid_until(self.pair) - now < link.RENEW_BEFORE
        request = new_request(link.NODE_NAME) if due else None
        told = sign_for_node(home, request.certificate if request else b"", now)
        self.trusted = told.trusted.encode()
        if request:
            self.pair = request.key + told.certificate.encode()
            self.renewed.append(day)


def days() -> Iterator[tuple[int, datetime]]:
    return ((day, NOW + day * DAY) for day in range(0, 760, STEP))


@pytest.mark.parametrize("every", [1, 44] if LONG else [44])
def test_two_years_without_a_gap(home: Home, every: int) -> None:
    """A node that asks every day (at night), and one that is there a day in 44."""
    node = FarNode(*first_node_pair(home, NOW))
    first_pair, first_own = node.pair, home.link_custodian.read_bytes()
    authorities, own = [home.link_authority.read_bytes()], {first_own}
    for day, now in days():
        look_after_link(home, NAMES, now)
        if day % every == 0:
            # What each side shows is good for the other, by what that one was told so far.
            assert good(home.link_custodian.read_bytes(), node.trusted, now, name=NAMES[0]), day
            assert good(node.pair, home.link_trusted.read_bytes(), now), day
            node.ask(home, now, day)
        own.add(home.link_custodian.read_bytes())
        if home.link_authority.read_bytes() != authorities[-1]:
            authorities.append(home.link_authority.read_bytes())
        ends = link_days(home)
        assert ends.custodian - now > 45 * DAY - STEP * DAY
        assert ends.authority - now > 190 * DAY - STEP * DAY
        assert len(certificates(home.link_trusted.read_bytes())) <= 2
    assert len(authorities) == 3  # a new one after some 360 days, and another after some 720
    assert len(own) >= 15
    assert len(node.renewed) >= 8
    old_trusted = authorities[0]
    assert not good(first_own, old_trusted, NOW + 91 * DAY, name=NAMES[0])  # old ones run out
    assert not good(first_pair, old_trusted, NOW + 91 * DAY)
    # and the first authority is trusted no more, by either side
    first = certificates(authorities[0])[0]
    assert first not in certificates(home.link_trusted.read_bytes())
    assert first not in certificates(node.trusted)


def test_neither_pair_is_good_for_the_other_side(home: Home) -> None:
    pair, trusted = first_node_pair(home, NOW)
    own = home.link_custodian.read_bytes()
    assert good(own, trusted, NOW, name=NAMES[0])
    assert not good(own, trusted, NOW)
    assert good(pair, trusted, NOW)
    assert not good(pair, trusted, NOW, name=link.NODE_NAME)
    assert not good(own, trusted, NOW, name="other.example.org")


def test_the_node_gets_no_key_but_its_own(home: Home) -> None:
    pair, trusted = first_node_pair(home, NOW)
    assert pair.count(b"PRIVATE KEY-----") == 2  # begins and ends once
    assert b"PRIVATE KEY" not in trusted
    told = sign_for_node(home, new_request("x").certificate, NOW)
    assert b"PRIVATE KEY" not in told.to_bytes()
    assert known_as(told.certificate.encode()) == {link.NODE_NAME}  # whatever was asked for


def test_a_failed_renewal_leaves_what_there_is(home: Home) -> None:
    before = home.link_custodian.read_bytes()
    late = NOW + 60 * DAY
    kept = home.link_authority.read_bytes()
    home.link_authority.write_bytes(b"junk")
    with pytest.raises(KeysError):
        look_after_link(home, NAMES, late)
    assert home.link_custodian.read_bytes() == before
    home.link_authority.write_bytes(kept)
    assert look_after_link(home, NAMES, late)
    assert home.link_custodian.read_bytes() != before
    assert not look_after_link(home, NAMES, late)


def test_a_damaged_or_renamed_pair_is_made_anew(home: Home) -> None:
    home.link_custodian.write_bytes(b"junk")
    assert look_after_link(home, NAMES, NOW)
    assert look_after_link(home, ("new.example.org",), NOW)
    assert known_as(home.link_custodian.read_bytes()) == {"new.example.org"}


def test_a_replaced_authority_leaves_nothing_of_the_former(home: Home) -> None:
    pair, trusted = first_node_pair(home, NOW)
    with pytest.raises(UsageError, match="--replace"):
        make_link(home, NAMES, NOW)
    make_link(home, NAMES, NOW, replace=True)
    assert not good(pair, home.link_trusted.read_bytes(), NOW)
    assert not good(home.link_custodian.read_bytes(), trusted, NOW, name=NAMES[0])


def test_without_an_authority_nothing_is_opened(tmp_path: Path) -> None:
    empty = Home.create(tmp_path / "empty")
    with pytest.raises(UsageError, match="mutual TLS or not at all"):
        look_after_link(empty, NAMES, NOW)
    with pytest.raises(UsageError, match="listen under"):
        make_link(empty, (), NOW)


def test_after_a_crash_between_two_files_the_next_look_mends(home: Home) -> None:
    former = certificates(home.link_authority.read_bytes())
    home.link_trusted.write_bytes(b"")  # as one that never came to the disk
    with pytest.raises(KeysError):
        look_after_link(home, NAMES, NOW)
    make_link(home, NAMES, NOW, replace=True)
    other = home.link_trusted.read_bytes()
    home.link_trusted.write_bytes(former[0].public_bytes(Encoding.PEM))
    look_after_link(home, NAMES, NOW)
    assert certificates(home.link_trusted.read_bytes())[0] == certificates(other)[0]
