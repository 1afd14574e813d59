"""`node.toml`: the settings of the outer zone's node, and nothing else.

    format = 1
    superlink = "coordinator.example.org:443"
    bundles = ["<sha256>"]       # runs of these bundles are answered, no others
    custodian = "run/custodian.sock"

or, where the custodian is on another machine, in place of the last line

    [custodian]
    host = "custodian.bank-a.example.org"
    port = 7443
    certificate = "link/link.pem"
    key = "link/link.pem"        # one file: the node renews it over the link
    authority = "link/link-authority.pem"

A file of its own: the node may run as another user, who cannot enter the home. Paths are
absolute, or below the file's folder; the node's key is keys/node
there, and authority.pem says who signed the SuperLink's certificate.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from fieldfare.shared.study.toml import PathText, RetiredKey, Section
from fieldfare.shared.system.addresses import Host, HostPort, Port

NODE_SETTINGS_FORMAT: Final = 1
MAX_BUNDLES: Final = 100
NODE_KEY: Final = "keys/node"  # NIST P-384, OpenSSH format
AUTHORITY_FILE: Final = "authority.pem"  # who signed the SuperLink's certificate

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
        bundles: sha256 of the bundles whose runs are answered, compared out of band.
        custodian: the custodian's socket, or where it is on another machine.
        state: where the node writes down how it stands, for `institution status`.
        watch: host:port where metrics and health are told (docs/watch.md); empty: nowhere.
    """

    format: Literal[1] = NODE_SETTINGS_FORMAT
    superlink: HostPort
    bundles: tuple[Sha256, ...] = Field(min_length=1, max_length=MAX_BUNDLES, strict=False)
    custodian: PathText | CustodianOverTls = "run/custodian.sock"
    state: PathText = "run/node.json"
    watch: HostPort | Literal[""] = ""

    RETIRED: ClassVar = {
        "key": RetiredKey(NODE_KEY, f"it is {NODE_KEY} below this file's folder: lay it there"),
        "authority": RetiredKey(
            AUTHORITY_FILE, f"it is {AUTHORITY_FILE} beside this file: lay it there"
        ),
    }
