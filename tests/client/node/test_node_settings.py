"""node.toml: what a node may be told, and what is checked before it connects."""

import shutil
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.certificates import Authority

from fieldfare.client.home.keys import load_node_key
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.node.terms import load_node_terms
from fieldfare.client.wire.tls import TlsFiles, TlsTarget
from fieldfare.shared.errors import KeysError, StudyError

BUNDLE: Final = "ab" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = create_institution(tmp_path / "home", "bank-a")
    authority = Authority.make(tmp_path).folder / "authority.pem"
    shutil.copy(authority, made.path / "authority.pem")
    write(made)
    return made


def write(home: Home, **changes: str) -> Path:
    """Write node.toml into a home, with changed or added lines; an empty value leaves one out."""
    lines = {
        "superlink": '"hub.example.org:8000"',
        "bundles": f'["{BUNDLE}"]',
    } | changes
    path = home.path / "node.toml"
    path.write_text("".join(f"{name} = {value}\n" for name, value in lines.items() if value))
    return path


def test_a_file_in_a_home_finds_key_and_socket_there(home: Home) -> None:
    terms = load_node_terms(home.path / "node.toml")
    assert terms.superlink == "hub.example.org:8000"
    assert terms.authority == (home.path / "authority.pem").read_bytes()
    assert terms.bundles == {BUNDLE}
    assert terms.custodian == home.custodian_socket
    assert terms.key.private_numbers() == load_node_key(home).private_numbers()


def test_a_file_elsewhere_needs_no_home(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "keys").mkdir()
    shutil.copy(home.node_key, folder / "keys" / "node")
    shutil.copy(home.path / "authority.pem", folder)
    socket = '"/run/fieldfare/custodian.sock"'
    path = write(home, custodian=socket).rename(folder / "n.toml")
    shutil.rmtree(home.path)
    assert load_node_terms(path).custodian == Path("/run/fieldfare/custodian.sock")


TABLE: Final = (
    '{host = "c.example.org", port = 7443, certificate = "n.pem", key = "n.key", '
    'authority = "/etc/link.pem"}'
)


def test_a_custodian_on_another_machine(home: Home) -> None:
    files = TlsFiles(home.path / "n.pem", home.path / "n.key", Path("/etc/link.pem"))
    expected = TlsTarget("c.example.org", 7443, files)
    assert load_node_terms(write(home, custodian=TABLE)).custodian == expected
    at = TABLE.replace("c.example.org", "fd00::4")  # as `link` prints it
    found = load_node_terms(write(home, custodian=at)).custodian
    assert isinstance(found, TlsTarget)
    assert found.address == "[fd00::4]:7443"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("7443", "0"),
        ("7443", '"7443"'),
        (', authority = "/etc/link.pem"', ""),
        ('key = "n.key", ', ""),
        ("host", "insecure = true, host"),
        ("c.example.org", "unix:/x"),
    ],
)
def test_a_custodian_on_another_machine_that_is_none(old: str, new: str, home: Home) -> None:
    assert old in TABLE
    with pytest.raises(StudyError, match=r"node\.toml: custodian"):
        load_node_terms(write(home, custodian=TABLE.replace(old, new)))


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "hub:65535", "[::1]:8000", "a-b.example.org:443"]
)
def test_addresses(address: str, home: Home) -> None:
    assert load_node_terms(write(home, superlink=f'"{address}"')).superlink == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("superlink", ""),
        ("superlink", '"hub"'),
        ("superlink", '"hub:0"'),
        ("superlink", '"hub:65536"'),
        ("superlink", '"https://hub:1"'),
        ("superlink", '"user@hub:1"'),
        ("superlink", '"hub:1/path"'),
        ("bundles", ""),
        ("bundles", "[]"),
        ("bundles", '["*"]'),
        ("bundles", f'["{BUNDLE.upper()}"]'),
        ("bundles", f'"{BUNDLE}"'),
        ("insecure", "true"),
        ("format", "2"),
        ("key", '""'),
        ("key", '"keys/other"'),
        ("authority", '"other.pem"'),
    ],
)
def test_mistakes_are_named(name: str, value: str, home: Home) -> None:
    with pytest.raises(StudyError, match=rf"node\.toml: {name}"):
        load_node_terms(write(home, **{name: value}))


def test_what_earlier_files_said_of_key_and_authority_is_read_where_it_is_what_holds(
    home: Home,
) -> None:
    now = load_node_terms(home.path / "node.toml")
    found = load_node_terms(write(home, key='"keys/node"', authority='"authority.pem"'))
    assert (found.authority, found.custodian) == (now.authority, now.custodian)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="expected a readable file"):
        load_node_terms(tmp_path / "node.toml")


def test_a_key_that_others_may_read(home: Home) -> None:
    home.node_key.chmod(0o640)
    with pytest.raises(KeysError, match="expected mode 0600"):
        load_node_terms(home.path / "node.toml")


def test_another_kind_of_key(home: Home) -> None:
    shutil.copy(home.identity_key, home.node_key)
    with pytest.raises(KeysError, match="OpenSSH format"):
        load_node_terms(home.path / "node.toml")


@pytest.mark.parametrize("content", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_an_authority_that_is_none(content: str, home: Home) -> None:
    (home.path / "authority.pem").write_text(content)
    with pytest.raises(KeysError, match="authority's certificate, found"):
        load_node_terms(home.path / "node.toml")
