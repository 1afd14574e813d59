"""Custodian and node over TCP: both renew their pairs while calls go on, and nothing restarts."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError
from tests.support.federations.bench import Bench
from tests.support.network.calling import connected

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.daemon.link import LinkKeeper
from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import first_node_pair, link_days, make_link, node_files
from fieldfare.client.home.settings import CustodianSection
from fieldfare.client.node.link_renewal import NodeLink, renewing
from fieldfare.client.node.watching import link_samples
from fieldfare.client.wire.link import (
    ASK_EVERY,
    LINK_SERVICE,
    RENEW_CALL,
    RenewalAnswer,
    RenewalQuestion,
)
from fieldfare.client.wire.service import data_plane, serving_calls
from fieldfare.client.wire.tls import TlsPort, TlsTarget
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
from fieldfare.shared.system.certificates import new_request, valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch.metrics import MetricSample

SETTINGS = CustodianSection(listen="127.0.0.1:7443")
OLD = timedelta(days=60)  # 30 of 90 days are left


def days(samples: Iterator[MetricSample]) -> dict[str, int]:
    return {one.labels[0]: round(one.value) for one in samples}


@dataclass(frozen=True)
class _Told(TlsPort):
    """A port that tells when it admits a call."""

    admitted: Event = field(default_factory=Event)

    def admits(self, peer: Mapping[str, Iterable[bytes]]) -> bool:
        found = super().admits(peer)
        self.admitted.set()
        return found


@contextmanager
def served(bench: Bench, keeper: LinkKeeper, admitted: Event | None = None) -> Iterator[int]:
    at = keeper.begin()
    place = _Told(at.host, 0, at.files, at.node, at.clock, admitted or Event())
    plane = data_plane(lambda call, frame: answer(bench.custodian("bank-b"), call, frame))
    with serving_calls(plane, place, beside=[keeper.service()]) as serving:
        yield serving.port


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.create(tmp_path / "home")
    make_link(made, SETTINGS.known_as, utc_now() - OLD)
    (tmp_path / "node").mkdir()
    return made


def test_both_pairs_are_renewed_while_calls_go_on(
    bench: Bench, home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now() - OLD))
    before, own = files.certificate.read_bytes(), home.link_custodian.read_bytes()
    keeper = LinkKeeper(home, SETTINGS, utc_now)
    caplog.set_level("INFO")
    with served(bench, keeper) as port:
        target = TlsTarget("127.0.0.1", port, files)
        assert days(link_samples(target, utc_now())) == {"link": 30, "link_authority": 490}
        with connected(target) as remote:
            assert isinstance(remote.describe(bench.study.id), HelloAnswer)
            with renewing(target):
                pass  # it asks at once, and is waited for
            assert files.certificate.read_bytes() != before
            assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        assert days(link_samples(target, utc_now())) == {"link": 90, "link_authority": 490}
        assert files.certificate.stat().st_mode & 0o077 == 0
        assert [path.name for path in (tmp_path / "node").iterdir()].count("link.pem.asked") == 0
    assert home.link_custodian.read_bytes() != own  # renewed by `begin`
    assert days(keeper.samples()) == {"link": 90, "link_authority": 490}
    assert "a new certificate was signed for the node" in caplog.text


def test_a_node_whose_custodian_is_gone_keeps_its_pair_and_says_so_once(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now() - OLD))
    before = files.certificate.read_bytes()
    keeper = NodeLink(TlsTarget("127.0.0.1", 9, files), utc_now)
    keeper.look()
    keeper.look()
    assert files.certificate.read_bytes() == before
    assert caplog.text.count("was not renewed") == 1


def test_a_custodian_that_cannot_renew_goes_on_and_says_so_once(
    bench: Bench, home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [utc_now() - OLD]
    keeper = LinkKeeper(home, SETTINGS, lambda: now[0])
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now()))
    with served(bench, keeper) as port:
        now[0], kept = utc_now(), home.link_authority.read_bytes()
        home.link_authority.write_bytes(b"junk")
        keeper.look()
        now[0] += timedelta(hours=2)
        keeper.look()
        assert caplog.text.count("was not renewed") == 1
        with connected(TlsTarget("127.0.0.1", port, files)) as remote:
            assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        home.link_authority.write_bytes(kept)
        assert days(keeper.samples())["link"] == 30  # an alert is raised below that
        now[0] += timedelta(hours=2)
        keeper.look()
        assert days(keeper.samples())["link"] == 90


def test_a_port_needs_an_authority(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mutual TLS or not at all"):
        LinkKeeper(Home.create(tmp_path / "home"), SETTINGS, utc_now).begin()


def asked(request: bytes) -> bytes:
    return RenewalQuestion(request=request.decode()).to_bytes()


def test_one_certificate_a_day_is_signed(home: Home) -> None:
    now = [utc_now()]
    keeper = LinkKeeper(home, SETTINGS, lambda: now[0])
    request = new_request("whoever").certificate
    told = [RenewalAnswer.from_bytes(keeper.answer(asked(request))) for _ in range(2)]
    assert [bool(one.certificate) for one in told] == [True, False]
    assert all(one.trusted for one in told)
    now[0] += ASK_EVERY
    later = RenewalAnswer.from_bytes(keeper.answer(asked(request)))
    assert valid_until(later.certificate.encode()) < link_days(home).authority


def test_a_call_that_waits_while_the_authority_is_replaced_gets_nothing(
    bench: Bench, home: Home, tmp_path: Path
) -> None:
    """A node that was taken over begins its call before, and sends its question after."""
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now()))
    admitted, replaced = Event(), Event()

    def held() -> Iterator[bytes]:
        assert replaced.wait(60)
        yield asked(new_request("node").certificate)

    with served(bench, LinkKeeper(home, SETTINGS, utc_now), admitted) as port:
        credentials = files.channel_credentials()
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            call: Any = channel.stream_unary(f"/{LINK_SERVICE}/{RENEW_CALL}")
            waiting = call.future(held(), timeout=60)
            assert admitted.wait(60)
            make_link(home, SETTINGS.known_as, utc_now(), replace=True)
            replaced.set()
            assert waiting.exception().code() is grpc.StatusCode.PERMISSION_DENIED


def test_what_is_signed_while_the_authority_is_replaced_is_not_given_out(
    bench: Bench, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now() - OLD))
    keeper, before = LinkKeeper(home, SETTINGS, utc_now), files.certificate.read_bytes()
    real: Callable[[bytes], bytes] = keeper.answer

    def meanwhile(frame: bytes) -> bytes:
        make_link(home, SETTINGS.known_as, utc_now(), replace=True)
        return real(frame)

    monkeypatch.setattr(keeper, "answer", meanwhile)
    with served(bench, keeper) as port:
        NodeLink(TlsTarget("127.0.0.1", port, files), utc_now).look()
    assert files.certificate.read_bytes() == before


def p256() -> bytes:
    return _request(ec.generate_private_key(ec.SECP256R1()))


def ed25519() -> bytes:
    return _request(Ed25519PrivateKey.generate())


def unproved() -> bytes:
    """A request whose signature another key made."""
    one, other = (x509.load_pem_x509_csr(new_request("x").certificate) for _ in range(2))
    der = one.public_bytes(Encoding.DER)[: -len(other.signature)] + other.signature
    middle = base64.encodebytes(der).decode()
    return (
        f"-----BEGIN CERTIFICATE REQUEST-----\n{middle}-----END CERTIFICATE REQUEST-----\n".encode()
    )


def _request(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    kind = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, kind).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "make", [p256, ed25519, unproved, lambda: b"junk"], ids=["P-256", "Ed25519", "unproved", "junk"]
)
def test_other_requests_are_refused(home: Home, make: Callable[[], bytes]) -> None:
    with pytest.raises(KeysError, match="expected a"):
        LinkKeeper(home, SETTINGS, utc_now).answer(asked(make()))


@pytest.mark.parametrize("frame", [b"", b"{}x", b'{"request": 1}', b'{"format": 2}'])
def test_other_frames_are_refused(home: Home, frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        LinkKeeper(home, SETTINGS, utc_now).answer(frame)


def test_a_node_takes_no_certificate_for_another_key(
    bench: Bench, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = node_files(tmp_path / "node", *first_node_pair(home, utc_now() - OLD))
    before = files.certificate.read_bytes()
    keeper = LinkKeeper(home, SETTINGS, utc_now)
    real: Callable[[bytes], bytes] = keeper.answer

    def another(frame: bytes) -> bytes:
        del frame
        return real(asked(new_request("x").certificate))

    monkeypatch.setattr(keeper, "answer", another)
    with served(bench, keeper) as port:
        NodeLink(TlsTarget("127.0.0.1", port, files), utc_now).look()
    assert files.certificate.read_bytes() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"listen": "0.0.0.0:7443"},
        {"listen": "127.0.0.1:7443", "socket": "x.sock"},
        {"listen": "127.0.0.1:7443", "group": "x"},
        {"listen": "127.0.0.1"},
        {"listen": "127.0.0.1:7443", "names": ("no name",)},
    ],
    ids=["no name", "socket too", "group too", "no port", "bad name"],
)
def test_a_port_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CustodianSection.model_validate(fields)


def test_the_names_of_a_port() -> None:
    def known(**fields: object) -> tuple[str, ...]:
        return CustodianSection.model_validate(fields).known_as

    assert known(listen="[::1]:7443") == ("::1",)
    assert known(listen="0.0.0.0:7443", names=("custodian",)) == ("custodian",)
    assert known(listen="c.example.org:7443", names=("10.0.0.1",)) == ("10.0.0.1", "c.example.org")
    assert known(listen="10.0.0.1:7443", names=("0:0::1", "10.0.0.1")) == ("::1", "10.0.0.1")
    assert known() == ()


def test_time_is_injected(home: Home) -> None:
    def at(days_on: int) -> Callable[[], datetime]:
        return lambda: utc_now() + timedelta(days=days_on)

    assert days(LinkKeeper(home, SETTINGS, at(40)).samples()) == {
        "link": -10,
        "link_authority": 450,
    }
