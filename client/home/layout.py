"""An institution's home: one folder, and a name for every path in it.

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
from fieldfare.shared.system.home_folder import HomePath, hex32, run_id

DELIVERY_FILE: Final = "delivery.signed"  # of a model that arrived; its folder appears whole

# The node's user reaches the socket through its group (docs/design.md, "Processes and zones").
RUN_FOLDER: Final = 0o750
BY_GROUP_AND_OTHERS: Final = 0o027  # of run/: the group may not write, others nothing
NODE_FILE: Final = "node.toml"
INVENTED: Final = "invented"  # a file in the home of a bank that nobody runs: what made it


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

    # Folder on whose disk large records lie while they are added up; absent before.
    spill = HomePath("spill")
    # The institution's name, records and sockets (settings.py); written last by `init`.
    settings = HomePath("institution.toml")
    policy = HomePath("policy.toml")  # the limits that the institution sets (policy.py)
    # The coordinator's Ed25519 public key, hex, compared out of band.
    coordinator_key = HomePath("coordinator.pub")
    roster = HomePath("roster.signed")  # the signed roster that was accepted
    # Folder of every roster that was pinned here; absent before the first.
    rosters = HomePath("rosters")
    # Folder of refused rosters, with the proofs that they contradict a pinned one.
    roster_proofs = HomePath("rosters/proofs")
    # Comparisons of keys, own and members'; absent before the first.
    comparisons = HomePath("comparisons.json")
    keys = HomePath("keys")  # folder of keys
    # Ed25519 private key, PKCS8 PEM, with or without a passphrase.
    identity_key = HomePath("keys/identity.pem")
    # Where the identity is instead if it is in a token: a PKCS#11 URI, without a PIN.
    identity_uri = HomePath("keys/identity.uri")
    identity_public = HomePath("keys/identity.pub")  # its public half, hex
    # NIST P-384 private key in OpenSSH format, by which Flower authenticates a node.
    node_key = HomePath("keys/node")
    node_public = HomePath("keys/node.pub")  # its public half, in OpenSSH format
    # 32 bytes that decide, with a unit's id, which units are held out.
    holdout_key = HomePath("keys/holdout")
    # The public half of the recovery key, which backups are encrypted to.
    recovery_public = HomePath("keys/recovery.pub")
    # Folder of the identity's former public keys and the statements that replaced them.
    rotations = HomePath("keys/rotations")
    # Folder of the link to a node on another machine; absent where the node is on this one.
    link = HomePath("keys/link")
    # The link's authority: its key and certificate, PEM, in one file.
    link_authority = HomePath("keys/link/authority.pem")
    # The certificates of the authorities that count, PEM, the newest first.
    link_trusted = HomePath("keys/link/trusted.pem")
    # The custodian's own key and certificate of the link, PEM, in one file.
    link_custodian = HomePath("keys/link/custodian.pem")
    studies = HomePath("studies")  # folder of the signed study offers that arrived

    def study(self, study_id: str) -> Path:
        """Return where a study's signed offer is kept.

        Raises:
            UsageError: no study id; a name from outside never becomes a path.
        """
        return self.studies / f"{hex32(study_id, 'a study id')}.signed"

    models = HomePath("models")  # folder of the finished models that arrived; absent until one does

    def model(self, study_id: str, run: str) -> Path:
        """Return the folder of one run's model.

        Raises:
            UsageError: no study id, or a run id that is no plain name; a name from outside
                never becomes a path.
        """
        return self.models / hex32(study_id, "a study id") / run_id(run)

    # Folder of alerts, labels and tuned models (client/scoring); absent until one is made.
    scoring = HomePath("scoring")
    # The suppression list: who is never alerted; absent where it is empty.
    suppression = HomePath("suppression.csv")
    # Counts of rows by column, of the last times that records were read.
    health = HomePath("records-health.json")
    # Who is told, and over which servers (shared/watch); absent where nobody is.
    notices = HomePath("notices.toml")
    # Notices that were made, and who was told; its folder is made with the first.
    outbox = HomePath("notices/outbox.sqlite")
    # The console's own folder, unless it has one elsewhere; absent without accounts.
    console = HomePath("console")
    desk = HomePath("desk")  # folder of those who may decide in a browser; absent where nobody may
    ledger = HomePath("ledger/ledger.sqlite")  # the ledger; its witness lies beside it
    log_folder = HomePath("log")  # folder of the log; also of its files from before it was rows
    log = HomePath("log/log.sqlite")  # the hash-chained log of requests and decisions
    run = HomePath("run")  # folder of the sockets
    # The data plane's socket, unless the settings name another.
    custodian_socket = HomePath("run/custodian.sock")
    # The administration's socket, for the home's user alone.
    admin_socket = HomePath("run/admin.sock")

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
