"""A coordinator's home: one folder, and a property for every path in it.

coordinator.toml  roster.signed  invitation.json  bundle.sha256  notices.toml
keys/             signing.pem  signing.pub: the online key
                  roster.pem  roster.pub: the roster key, of which the first may lie elsewhere
                  recovery.pub, for which backups are encrypted
tls/              authority.pem  authority.key  server.pem  server.key
tokens/           control  runtime
members/          enrolments, statements about their keys, and every published roster
studies/          signed studies
bundle/           what runs are started with
state/            superlink.sqlite  runs.sqlite  notices.sqlite
log/              audit.jsonl  decisions.jsonl
run/              what only lives as long as a process
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.shared.party.known_home import KnownHome
from fieldfare.shared.system.home_folder import hex32, is_plain_name, run_id


@dataclass(frozen=True)
class CoordinatorHome(KnownHome):
    """A coordinator's folder."""

    OF: ClassVar = "a coordinator's"
    INIT: ClassVar = "coordinator init"
    FILES: ClassVar = COORDINATOR_FILES

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder inside."""
        return (
            self.keys,
            self.tls,
            self.tokens,
            self.members,
            self.studies,
            self.bundle,
            self.state,
            self.audit_log.parent,
            self.run,
        )

    @property
    def settings(self) -> Path:
        """Names, addresses, retention (settings.py); written last by `init`."""
        return self.path / "coordinator.toml"

    @property
    def keys(self) -> Path:
        """Folder of the two keys."""
        return self.path / "keys"

    @property
    def signing_key(self) -> Path:
        """The online key: Ed25519, PKCS8 PEM, with or without a passphrase; signs all of a run."""
        return self.keys / "signing.pem"

    @property
    def signing_public(self) -> Path:
        """Its public half, hex, which rosters name."""
        return self.keys / "signing.pub"

    @property
    def roster_key(self) -> Path:
        """The roster key, or its URI in a token (roster_key.py), unless it lies elsewhere."""
        return self.keys / "roster.pem"

    @property
    def roster_public(self) -> Path:
        """Its public half, hex, which institutions pin."""
        return self.keys / "roster.pub"

    @property
    def recovery_public(self) -> Path:
        """The public half of the recovery key, which backups are encrypted to."""
        return self.keys / "recovery.pub"

    @property
    def tls(self) -> Path:
        """Folder of certificates and their keys."""
        return self.path / "tls"

    @property
    def authority(self) -> Path:
        """The own authority's certificate, PEM, which nodes trust."""
        return self.tls / "authority.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's private key; only `init` and `renew` read it."""
        return self.tls / "authority.key"

    @property
    def server_certificate(self) -> Path:
        """The SuperLink's certificate, PEM."""
        return self.tls / "server.pem"

    @property
    def server_key(self) -> Path:
        """Its private key."""
        return self.tls / "server.key"

    @property
    def tokens(self) -> Path:
        """Folder of the bearer tokens."""
        return self.path / "tokens"

    @property
    def control_token(self) -> Path:
        """Its holder may start runs and register nodes; one line."""
        return self.tokens / "control"

    @property
    def runtime_token(self) -> Path:
        """Its holder may carry out runs at the SuperLink; one line."""
        return self.tokens / "runtime"

    @property
    def members(self) -> Path:
        """Folder of enrolments (enrolment.py)."""
        return self.path / "members"

    def enrolment(self, institution: str) -> Path:
        """Return where an institution's enrolment is kept."""
        return self.members / f"{_file_name(institution)}.enrolment"

    def rotation(self, institution: str, key: str) -> Path:
        """Return where the statement is kept that replaces a key of an institution.

        Raises:
            UsageError: no key.
        """
        return self.members / f"{_file_name(institution)}.{hex32(key, 'a key')}.rotation"

    def revocation(self, institution: str, key: str) -> Path:
        """Return where the statement is kept that takes a key of an institution back.

        Raises:
            UsageError: no key.
        """
        return self.members / f"{_file_name(institution)}.{hex32(key, 'a key')}.revocation"

    @property
    def roster(self) -> Path:
        """The signed roster that was published last."""
        return self.path / "roster.signed"

    def published(self, version: int) -> Path:
        """Return where a version of the roster stays, for members that lack it."""
        return self.members / f"roster-{version}.signed"

    @property
    def invitation(self) -> Path:
        """The invitation for new institutions (members/publication.py)."""
        return self.path / "invitation.json"

    @property
    def studies(self) -> Path:
        """Folder of the studies that were proposed."""
        return self.path / "studies"

    def study(self, study_id: str) -> Path:
        """Return where a signed study is kept.

        Raises:
            UsageError: no study id; a name from outside never becomes a path.
        """
        return self.studies / f"{hex32(study_id, 'a study id')}.signed"

    @property
    def bundle(self) -> Path:
        """Folder of the bundle that runs are started with."""
        return self.path / "bundle"

    @property
    def bundle_file(self) -> Path:
        """The bundle itself (members/publication.py keeps it)."""
        return self.bundle / "fieldfare.fab"

    @property
    def bundle_hash(self) -> Path:
        """SHA-256 of the bundle, hex, which nodes compare."""
        return self.path / "bundle.sha256"

    @property
    def models(self) -> Path:
        """Folder of finished models."""
        return self.path / "models"

    def model(self, run: str) -> Path:
        """Return the folder of a finished run's delivery.

        Raises:
            UsageError: no run id; a name from outside never becomes a path.
        """
        return self.models / run_id(run)

    def questions(self, run: str) -> Path:
        """Return the file of the later questions that a run is for; there is none for most.

        Raises:
            UsageError: no run id; a name from outside never becomes a path.
        """
        return self.state / f"{self.model(run).name}.questions"

    @property
    def state(self) -> Path:
        """Folder of the databases."""
        return self.path / "state"

    @property
    def superlink_database(self) -> Path:
        """The SuperLink's own state."""
        return self.state / "superlink.sqlite"

    @property
    def runs_database(self) -> Path:
        """Runs, transcripts and checkpoints (store.py)."""
        return self.state / "runs.sqlite"

    @property
    def notices(self) -> Path:
        """Who is told, and over which servers (shared/watch); absent where nobody is."""
        return self.path / "notices.toml"

    @property
    def outbox(self) -> Path:
        """Notices that were made, and who was told."""
        return self.state / "notices.sqlite"

    @property
    def audit_log(self) -> Path:
        """The calls to the SuperLink, JSON lines."""
        return self.path / "log" / "audit.jsonl"

    @property
    def decisions(self) -> Path:
        """Members let in and removed, rosters published: JSON lines (decisions.py)."""
        return self.path / "log" / "decisions.jsonl"

    @property
    def run(self) -> Path:
        """Folder of files that live only as long as a process."""
        return self.path / "run"

    @property
    def runner_beat(self) -> Path:
        """An empty file; its time is when the runner last asked for work."""
        return self.run / "runner"

    @property
    def secret(self) -> tuple[Path, ...]:
        """Keys and tokens."""
        keys = (self.signing_key, self.roster_key, self.authority_key, self.server_key)
        return (*keys, self.control_token, self.runtime_token)

    @property
    def trusted(self) -> tuple[Path, ...]:
        """Files that decide on members and studies: nobody else may write them."""
        papers = (self.settings, self.signing_public, self.roster_public, self.authority)
        published = (self.roster, self.invitation, self.bundle_file, self.bundle_hash)
        return (*papers, self.server_certificate, *published, self.decisions, self.notices)


def _file_name(institution: str) -> str:
    """Return an institution's id as a file's name; one that could lead elsewhere is hashed."""
    if is_plain_name(institution):
        return institution
    return "~" + hashlib.sha256(institution.encode()).hexdigest()
