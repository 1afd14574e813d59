"""`node.toml`: the settings of the outer zone's node, and nothing else.

    format = 1
    superlink = "coordinator.example.org:443"
    authority = "authority.pem"  # who signed its certificate
    bundles = ["<sha256>"]       # runs of these bundles are answered, no others
    key = "keys/node"
    custodian = "run/custodian.sock"

or, where the custodian is on another machine, in place of the last line

    [custodian]
    host = "custodian.bank-a.example.org"
    port = 7443
    certificate = "link/link.pem"
    key = "link/link.pem"        # one file: the node renews it over the link
    authority = "link/link-authority.pem"

A file of its own: the node may run as another user, who cannot enter the home. Paths are
absolute, or below the file's folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from fieldfare.client.wire.tls import TlsFiles, TlsTarget
from fieldfare.shared.errors import KeysError
from fieldfare.shared.study.toml import PathText, Section, load_toml
from fieldfare.shared.system.addresses import Host, HostPort, Port
from fieldfare.shared.system.key_files import read_node_key
from fieldfare.shared.system.private_files import read_public

NODE_SETTINGS_FORMAT: Final = 1
MAX_BUNDLES: Final = 100

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CustodianOverTls(Section):
    """A custodian on another machine, over mutual TLS.

    Attributes:
        host: its name or address, as its certificate says it.
        port: where it listens.
        certificate: PEM file of this node's chain.
        key: PEM file of its key, mode 0600; the same file where the node renews both.
        authority: PEM file of the authority of the custodian's certificate.
    """

    host: Host
    port: Port
    certificate: PathText
    key: PathText
    authority: PathText


class NodeSettings(Section):
    """The whole file.

    Attributes:
        superlink: host:port of the coordinator's SuperLink.
        authority: PEM file of the authority that signed the SuperLink's certificate.
        bundles: sha256 of the bundles whose runs are answered, compared out of band.
        key: the node's key, NIST P-384, OpenSSH format.
        custodian: the custodian's socket, or where it is on another machine.
        state: where the node writes down how it stands, for `institution status`.
        watch: host:port where metrics and health are told (docs/watch.md); empty: nowhere.
    """

    format: Literal[1] = NODE_SETTINGS_FORMAT
    superlink: HostPort
    authority: PathText
    bundles: tuple[Sha256, ...] = Field(min_length=1, max_length=MAX_BUNDLES, strict=False)
    key: PathText = "keys/node"
    custodian: PathText | CustodianOverTls = "run/custodian.sock"
    state: PathText = "run/node.json"
    watch: HostPort | Literal[""] = ""


@dataclass(frozen=True)
class NodeTerms:
    """The settings and the files that they name, read and checked.

    Attributes:
        superlink: host:port.
        authority: PEM of the authority that signed its certificate.
        key: the key that the SuperLink knows this node by.
        bundles: sha256 of the bundles whose runs are answered.
        custodian: its socket, or its port.
        state: where the node writes down how it stands.
        watch: host:port where it tells how it is; empty: nowhere.
    """

    superlink: str
    authority: bytes
    key: ec.EllipticCurvePrivateKey
    bundles: frozenset[str]
    custodian: Path | TlsTarget
    state: Path
    watch: str = ""


def load_node_terms(path: Path) -> NodeTerms:
    """Read `node.toml`, the authority's certificate and the node's key.

    Raises:
        StudyError: the file is unreadable, or lists every mistake.
        KeysError: a key or certificate that cannot be used.
    """
    settings = load_toml(path, NodeSettings)
    folder = path.absolute().parent
    return NodeTerms(
        settings.superlink,
        _authority(folder / settings.authority),
        read_node_key(folder / settings.key),
        frozenset(settings.bundles),
        _custodian(folder, settings.custodian),
        folder / settings.state,
        settings.watch,
    )


def _custodian(folder: Path, found: str | CustodianOverTls) -> Path | TlsTarget:
    if isinstance(found, str):
        return folder / found
    names = (found.certificate, found.key, found.authority)
    return TlsTarget(found.host, found.port, TlsFiles(*(folder / name for name in names)))


def _authority(path: Path) -> bytes:
    content = read_public(path)
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise KeysError(
            f"{path}: expected a PEM file with an authority's certificate, found another form: ask "
            "the coordinator for it"
        ) from None
    return content
