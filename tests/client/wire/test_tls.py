"""Over TCP there is TLS with a certificate on both sides, or there is nothing."""

import ast
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import grpc
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from tests.support.federations.bench import Bench
from tests.support.network.calling import connected
from tests.support.network.certificates import Authority
from tests.support.network.served import raw, serving, status_of
from tests.support.system.processes import until

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import first_node_pair, link_files, make_link, node_files
from fieldfare.client.wire import tls
from fieldfare.client.wire.calls import path_of
from fieldfare.client.wire.link import NODE_NAME
from fieldfare.client.wire.service import ServiceLimits
from fieldfare.client.wire.tls import TlsFiles, TlsPort, TlsTarget
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.system.clock import utc_now

CLIENT: Final = Path(__file__).parents[3] / "client"
HOST: Final = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


@contextmanager
def serve(bench: Bench, files: TlsFiles) -> Iterator[int]:
    with serving(bench.custodian("bank-b"), TlsPort(HOST, 0, files, "node.bank-b")) as at:
        yield at.port


def ask(bench: Bench, port: int, files: TlsFiles, host: str = HOST) -> bytes | None:
    """What a client with these certificates gets; None where it is not let in."""
    with connected(TlsTarget(host, port, files)) as remote:
        try:
            answer = remote.describe(bench.study.id)
        except RunError:
            return None
    assert isinstance(answer, HelloAnswer)
    return answer.approval


def test_the_node_is_let_in(bench: Bench, authority: Authority) -> None:
    with serve(bench, authority.issue("custodian")) as port:
        answer = ask(bench, port, authority.issue("node.bank-b"))
    assert HelloAnswer(answer or b"") == bench.custodian("bank-b").describe(bench.study.id)


def test_nobody_else_is(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    server, node = authority.issue("custodian"), authority.issue("node.bank-b")
    stranger = Authority.make(tmp_path, "stranger").issue("node.bank-b")
    others = {
        "another name of the same authority": authority.issue("node.bank-c"),
        "the name as a common name only": authority.issue("x", common_name="node.bank-b"),
        "another authority's certificate": replace(stranger, authority=node.authority),
        "a certificate without its key": replace(node, key=server.key),
        "the custodian's own certificate": server,
    }
    with serve(bench, server) as port:
        let_in = [what for what, files in others.items() if ask(bench, port, files)]
        assert not let_in
        expired = authority.issue("node.bank-b", expired=True)
        assert ask(bench, port, expired) is None
        assert ask(bench, port, authority.issue("node.bank-b")) is not None


def test_the_name_is_asked_for_before_anything_is_read(bench: Bench, authority: Authority) -> None:
    with serve(bench, authority.issue("custodian")) as port:
        credentials = authority.issue("node.bank-c").channel_credentials()
        with grpc.secure_channel(f"{HOST}:{port}", credentials) as channel:
            ended = status_of(raw(channel, path_of(Call.HELLO)).future(b"\xff"))
    assert ended is grpc.StatusCode.PERMISSION_DENIED


def test_nobody_is_let_in_without_a_certificate(bench: Bench, authority: Authority) -> None:
    server = authority.issue("custodian")
    bare = grpc.ssl_channel_credentials(server.authority.read_bytes())
    with serve(bench, server) as port:
        for channel in (
            grpc.secure_channel(f"{HOST}:{port}", bare),
            grpc.insecure_channel(f"{HOST}:{port}"),
        ):
            with channel:
                ended = status_of(raw(channel, path_of(Call.HELLO)).future(b"", timeout=60))
            assert ended is grpc.StatusCode.UNAVAILABLE


def test_a_node_asks_nobody_but_its_custodian(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    node = authority.issue("node.bank-b")
    stranger = Authority.make(tmp_path, "stranger").issue("custodian")
    with serve(bench, replace(stranger, authority=node.authority)) as port:
        assert ask(bench, port, node) is None
    with serve(bench, authority.issue("custodian")) as port:
        assert ask(bench, port, node, host="localhost") is None  # a name it does not have


def test_renewed_certificates_are_shown_without_a_restart(
    bench: Bench, authority: Authority
) -> None:
    """Twice, one side after the other; between a new key and its certificate the old pair stays."""
    server, node = authority.issue("custodian"), authority.issue("node.bank-b")
    seen = []
    with serve(bench, server) as port, connected(TlsTarget(HOST, port, node)) as remote:
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        for _ in range(2):
            seen.append(ssl.get_server_certificate((HOST, port)))
            former = server.certificate.read_bytes()
            authority.issue("custodian")  # writes over the files
            renewed = server.certificate.read_bytes()
            server.certificate.write_bytes(former)  # as one that is written after its key
            assert ask(bench, port, node) is not None
            server.certificate.write_bytes(renewed)
            assert isinstance(remote.describe(bench.study.id), HelloAnswer)
            assert ask(bench, port, node) is not None
            authority.issue("node.bank-b")
            assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        seen.append(ssl.get_server_certificate((HOST, port)))
    assert len(set(seen)) == 3


def test_a_node_whose_certificate_ended_is_let_in_once_it_is_renewed(
    bench: Bench, authority: Authority
) -> None:
    """As one that was away for long: the same process, as soon as its files are replaced."""
    node = authority.issue("node.bank-b", expired=True)
    with (
        serve(bench, authority.issue("custodian")) as port,
        connected(TlsTarget(HOST, port, node)) as remote,
    ):
        with pytest.raises(RunError):
            remote.describe(bench.study.id)
        authority.issue("node.bank-b")

        def answered() -> bool:
            try:
                return isinstance(remote.describe(bench.study.id), HelloAnswer)
            except RunError:  # one call that the former connection's end took along
                return False

        until(answered)


def own_link(folder: Path) -> tuple[TlsFiles, TlsFiles, Home]:
    """The custodian's files and its node's, as an institution's own authority signed them."""
    home = Home.create(folder / "home")
    make_link(home, (HOST,), utc_now())
    (folder / "node").mkdir()
    node = node_files(folder / "node", *first_node_pair(home, utc_now()))
    return link_files(home), node, home


@contextmanager
def linked(bench: Bench, files: TlsFiles, clock: Callable[[], datetime] = utc_now) -> Iterator[int]:
    place = TlsPort(HOST, 0, files, NODE_NAME, clock)
    with serving(bench.custodian("bank-b"), place) as at:
        yield at.port


def test_one_side_of_an_own_link_does_not_stand_in_for_the_other(
    bench: Bench, tmp_path: Path
) -> None:
    server, node, _ = own_link(tmp_path)
    with linked(bench, server) as port:
        assert ask(bench, port, node) is not None
        assert ask(bench, port, server) is None  # the custodian's as a node's
        assert ask(bench, port, node, host="localhost") is None  # a name it does not have
    with linked(bench, replace(node, authority=server.authority)) as port:
        assert ask(bench, port, node) is None  # the node's as a custodian's


def test_an_open_connection_ends_with_what_opened_it(bench: Bench, tmp_path: Path) -> None:
    """Once its certificate has ended, or its authority was replaced: the next call is refused."""
    server, node, home = own_link(tmp_path)
    now = [utc_now()]
    with (
        linked(bench, server, lambda: now[0]) as port,
        connected(TlsTarget(HOST, port, node)) as remote,
    ):
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        now[0] += timedelta(days=91)
        with pytest.raises(RunError, match="PERMISSION_DENIED"):
            remote.describe(bench.study.id)
        now[0] = utc_now()
        assert isinstance(remote.describe(bench.study.id), HelloAnswer)
        make_link(home, (HOST,), utc_now(), replace=True)
        with pytest.raises(RunError, match="PERMISSION_DENIED"):
            remote.describe(bench.study.id)
        assert ask(bench, port, node) is None


@pytest.mark.parametrize(
    ("least", "most", "ciphers", "good"),
    [
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, "", True),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384", True),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA", False),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", False),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES256-GCM-SHA384", False),
        (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
    ],
    ids=["1.3", "1.2 with AEAD", "1.2 with CBC", "1.2 without DH", "1.2 with DHE", "1.1"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_weak_cipher_is_agreed(
    bench: Bench,
    tmp_path: Path,
    least: ssl.TLSVersion,
    most: ssl.TLSVersion,
    ciphers: str,
    good: bool,
) -> None:
    server, node, _ = own_link(tmp_path)
    context = ssl.create_default_context(cafile=str(node.authority))
    context.load_cert_chain(node.certificate)
    context.minimum_version, context.maximum_version = least, most
    context.set_alpn_protocols(["h2"])
    if ciphers:
        context.set_ciphers(ciphers)
    with linked(bench, server) as port, socket.create_connection((HOST, port), 10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=HOST) as agreed:
                agreed.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                found = bool(agreed.recv(1))
        except OSError:  # ssl.SSLError is one
            found = False
    assert found is good


def test_half_open_connections_keep_no_node_out(bench: Bench, tmp_path: Path) -> None:
    """As many as are let in, each silent or in the middle of a first message."""
    server, node, _ = own_link(tmp_path)
    limits = ServiceLimits(arrive_seconds=0.5)
    place = TlsPort(HOST, 0, server, NODE_NAME)
    with ExitStack() as stack:
        at = stack.enter_context(serving(bench.custodian("bank-b"), place, limits))
        for number in range(80):
            with suppress(OSError):
                plain = stack.enter_context(socket.create_connection((HOST, at.port), 10))
                plain.sendall(b"\x16\x03\x01\x02"[: number % 5])
        until(lambda: ask(bench, at.port, node) is not None)


def test_a_pair_is_handed_over_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each handshake ended the process, while many half-open ones came to their limit."""
    given: list[Callable[[], object]] = []

    def record(first: object, renewed: Callable[[], object], **_: object) -> None:
        del first
        given.append(renewed)

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", record)
    files = authority.issue("custodian")
    files.server_credentials()
    (renewed,) = given
    assert [renewed() for _ in range(3)] == [None] * 3
    authority.issue("custodian")
    assert [renewed() is None for _ in range(3)] == [False, True, True]


def test_a_port_in_use_is_refused(bench: Bench, authority: Authority) -> None:
    files = authority.issue("custodian")
    with (
        serve(bench, files) as port,
        pytest.raises(UsageError, match="can be bound"),
        serving(bench.custodian("bank-b"), TlsPort(HOST, port, files, "node")),
    ):
        pass


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_that_others_may_read_is_refused(mode: int, authority: Authority) -> None:
    files = authority.issue("custodian")
    files.key.chmod(mode)
    for use in (files.server_credentials, files.channel_credentials):
        with pytest.raises(UsageError, match="chmod 600"):
            use()


@pytest.mark.parametrize("name", ["certificate", "key", "authority"])
def test_a_missing_file_is_named(name: str, authority: Authority, tmp_path: Path) -> None:
    files = replace(authority.issue("custodian"), **{name: tmp_path / "no.pem"})
    for use in (files.server_credentials, files.channel_credentials):
        with pytest.raises(UsageError, match=r"no\.pem: expected a readable PEM file"):
            use()


def test_a_key_that_is_replaced_while_it_is_read_is_read_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = authority.issue("custodian")

    def gone(path: Path, **_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "stat", gone)
    assert files.newest() == files.content()


def test_a_key_of_an_unknown_kind_leaves_the_former_in_use(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise UnsupportedAlgorithm("this build knows no such curve")

    monkeypatch.setattr(tls, "load_pem_private_key", unknown)
    assert authority.issue("custodian").newest() is None


def test_nothing_can_be_plaintext() -> None:
    """gRPC's two plaintext doors are not named anywhere on the institution's side."""
    for path in sorted(CLIENT.rglob("*.py")):
        named = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not named & {"insecure_channel", "add_insecure_port"}, path
