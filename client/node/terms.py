"""What a node runs by: its settings with the files that they name, read and checked.

Apart from the settings, which notices and commands read too: no key and no TLS is loaded for them.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fieldfare.client.node.settings import (
    AUTHORITY_FILE,
    NODE_KEY,
    CustodianOverTls,
    NodeSettings,
)
from fieldfare.client.wire.tls import TlsFiles, TlsTarget
from fieldfare.shared.errors import KeysError
from fieldfare.shared.study.toml import load_toml
from fieldfare.shared.system.key_files import read_node_key
from fieldfare.shared.system.private_files import read_public


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
        _authority(folder / AUTHORITY_FILE),
        read_node_key(folder / NODE_KEY),
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
