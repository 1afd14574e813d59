"""An institution's home: one folder, and a property for every path in it.

institution.toml  policy.toml  coordinator.pub  roster.signed  comparisons.json  notices.toml
keys/             identity.pem (or identity.uri)  identity.pub  node  node.pub  holdout  rotations/
                  recovery.pub, for which backups are encrypted
keys/link/        authority.pem  trusted.pem  custodian.pem; made by `link`
studies/          signed study offers that arrived
rosters/          every roster that was pinned here; made with the first; proofs/ of refused ones
ledger/           ledger.sqlite and its witness
log/              log.sqlite
models/           <study>/<run>/ of each finished model that arrived; made when the first does
scoring/          alerts.sqlite and models tuned here; made when the first is; never leaves
notices/          outbox.sqlite; made when somebody is told
records-health.json  counts of rows by column; made when records are checked or scored; never leaves
desk/             desk.sqlite; made when somebody may decide in a browser
run/              custodian.sock  admin.sock  desk.sock
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.shared.party.known_home import KnownHome
from fieldfare.shared.system.home_folder import hex32, run_id

DELIVERY_FILE: Final = "delivery.signed"  # of a model that arrived; its folder appears whole

# The node's user reaches the socket through its group (docs/design.md, "Processes and zones").
RUN_FOLDER: Final = 0o750
BY_GROUP_AND_OTHERS: Final = 0o027  # of run/: the group may not write, others nothing
NODE_FILE: Final = "node.toml"


@dataclass(frozen=True)
class Home(KnownHome):
    """An institution's folder; relative paths in its settings are below it."""

    OF: ClassVar = "an institution's"
    INIT: ClassVar = "institution init"
    FILES: ClassVar = INSTITUTION_FILES

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder inside, outer ones first."""
        return (
            self.keys,
            self.rotations,
            self.studies,
            self.ledger.parent,
            self.log_folder,
            self.run,
        )

    @property
    def spill(self) -> Path:
        """Folder on whose disk large records lie while they are added up; absent before."""
        return self.path / "spill"

    @property
    def settings(self) -> Path:
        """The institution's name, records and sockets (settings.py); written last by `init`."""
        return self.path / "institution.toml"

    @property
    def policy(self) -> Path:
        """The limits that the institution sets (policy.py)."""
        return self.path / "policy.toml"

    @property
    def coordinator_key(self) -> Path:
        """The coordinator's Ed25519 public key, hex, compared out of band."""
        return self.path / "coordinator.pub"

    @property
    def roster(self) -> Path:
        """The signed roster that was accepted."""
        return self.path / "roster.signed"

    @property
    def rosters(self) -> Path:
        """Folder of every roster that was pinned here; absent before the first."""
        return self.path / "rosters"

    @property
    def roster_proofs(self) -> Path:
        """Folder of refused rosters, with the proofs that they contradict a pinned one."""
        return self.rosters / "proofs"

    @property
    def comparisons(self) -> Path:
        """Comparisons of keys, own and members'; absent before the first."""
        return self.path / "comparisons.json"

    @property
    def keys(self) -> Path:
        """Folder of keys."""
        return self.path / "keys"

    @property
    def identity_key(self) -> Path:
        """Ed25519 private key, PKCS8 PEM, with or without a passphrase."""
        return self.keys / "identity.pem"

    @property
    def identity_uri(self) -> Path:
        """Where the identity is instead if it is in a token: a PKCS#11 URI, without a PIN."""
        return self.keys / "identity.uri"

    @property
    def identity_public(self) -> Path:
        """Its public half, hex."""
        return self.keys / "identity.pub"

    @property
    def node_key(self) -> Path:
        """NIST P-384 private key in OpenSSH format, by which Flower authenticates a node."""
        return self.keys / "node"

    @property
    def node_public(self) -> Path:
        """Its public half, in OpenSSH format."""
        return self.keys / "node.pub"

    @property
    def holdout_key(self) -> Path:
        """32 bytes that decide, with a unit's id, which units are held out."""
        return self.keys / "holdout"

    @property
    def recovery_public(self) -> Path:
        """The public half of the recovery key, which backups are encrypted to."""
        return self.keys / "recovery.pub"

    @property
    def rotations(self) -> Path:
        """Folder of the identity's former public keys and the statements that replaced them."""
        return self.keys / "rotations"

    @property
    def link(self) -> Path:
        """Folder of the link to a node on another machine; absent where the node is on this one."""
        return self.keys / "link"

    @property
    def link_authority(self) -> Path:
        """The link's authority: its key and certificate, PEM, in one file."""
        return self.link / "authority.pem"

    @property
    def link_trusted(self) -> Path:
        """The certificates of the authorities that count, PEM, the newest first."""
        return self.link / "trusted.pem"

    @property
    def link_custodian(self) -> Path:
        """The custodian's own key and certificate of the link, PEM, in one file."""
        return self.link / "custodian.pem"

    @property
    def studies(self) -> Path:
        """Folder of the signed study offers that arrived."""
        return self.path / "studies"

    def study(self, study_id: str) -> Path:
        """Return where a study's signed offer is kept.

        Raises:
            UsageError: no study id; a name from outside never becomes a path.
        """
        return self.studies / f"{hex32(study_id, 'a study id')}.signed"

    @property
    def models(self) -> Path:
        """Folder of the finished models that arrived; absent until one does."""
        return self.path / "models"

    def model(self, study_id: str, run: str) -> Path:
        """Return the folder of one run's model.

        Raises:
            UsageError: no study id, or a run id that is no plain name; a name from outside
                never becomes a path.
        """
        return self.models / hex32(study_id, "a study id") / run_id(run)

    @property
    def scoring(self) -> Path:
        """Folder of alerts, labels and tuned models (client/scoring); absent until one is made."""
        return self.path / "scoring"

    @property
    def suppression(self) -> Path:
        """The suppression list: who is never alerted; absent where it is empty."""
        return self.path / "suppression.csv"

    @property
    def health(self) -> Path:
        """Counts of rows by column, of the last times that records were read."""
        return self.path / "records-health.json"

    @property
    def notices(self) -> Path:
        """Who is told, and over which servers (shared/watch); absent where nobody is."""
        return self.path / "notices.toml"

    @property
    def outbox(self) -> Path:
        """Notices that were made, and who was told; its folder is made with the first."""
        return self.path / "notices" / "outbox.sqlite"

    @property
    def console(self) -> Path:
        """The console's own folder, unless it has one elsewhere; absent without accounts."""
        return self.path / "console"

    @property
    def desk(self) -> Path:
        """Folder of those who may decide in a browser; absent where nobody may."""
        return self.path / "desk"

    @property
    def ledger(self) -> Path:
        """The ledger; its witness lies beside it."""
        return self.path / "ledger" / "ledger.sqlite"

    @property
    def log_folder(self) -> Path:
        """Folder of the log; also of its files from before it was rows."""
        return self.path / "log"

    @property
    def log(self) -> Path:
        """The hash-chained log of requests and decisions."""
        return self.log_folder / "log.sqlite"

    @property
    def run(self) -> Path:
        """Folder of the sockets."""
        return self.path / "run"

    @property
    def custodian_socket(self) -> Path:
        """The data plane's socket, unless the settings name another."""
        return self.run / "custodian.sock"

    @property
    def admin_socket(self) -> Path:
        """The administration's socket, for the home's user alone."""
        return self.run / "admin.sock"

    def resolve(self, path: str) -> Path:
        """Return a path from the settings: absolute, or below the home."""
        return self.path / path

    @property
    def secret(self) -> tuple[Path, ...]:
        """Keys, and whose alerts nobody opens; folders that are made later."""
        keys = (self.identity_key, self.node_key, self.holdout_key)
        own = (self.models, self.scoring, self.rosters, self.outbox.parent, self.desk)
        link = (self.link, self.link_authority, self.link_custodian)
        return (*own, *keys, *link, self.suppression, self.health)

    @property
    def trusted(self) -> tuple[Path, ...]:
        """Files that decide on releases: nobody else may write them."""
        papers = (self.settings, self.policy, self.coordinator_key, self.roster, self.comparisons)
        public = (self.identity_public, self.identity_uri, self.node_public, self.link_trusted)
        return (*papers, self.notices, *public)

    def access(self, folder: Path) -> tuple[int, int]:
        """Return the rights that no folder may have, and its mode."""
        return (BY_GROUP_AND_OTHERS, RUN_FOLDER) if folder == self.run else super().access(folder)
