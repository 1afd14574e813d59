"""A coordinator's home: one folder, and a name for every path in it.

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
from fieldfare.shared.system.home_folder import HomePath, hex32, is_plain_name, run_id


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

    # Names, addresses, retention (settings.py); written last by `init`.
    settings = HomePath("coordinator.toml")
    keys = HomePath("keys")  # folder of the two keys
    # The online key: Ed25519, PKCS8 PEM, with or without a passphrase; signs all of a run.
    signing_key = HomePath("keys/signing.pem")
    signing_public = HomePath("keys/signing.pub")  # its public half, hex, which rosters name
    # The roster key, or its URI in a token (roster_key.py), unless it lies elsewhere.
    roster_key = HomePath("keys/roster.pem")
    roster_public = HomePath("keys/roster.pub")  # its public half, hex, which institutions pin
    # The public half of the recovery key, which backups are encrypted to.
    recovery_public = HomePath("keys/recovery.pub")
    tls = HomePath("tls")  # folder of certificates and their keys
    # The own authority's certificate, PEM, which nodes trust.
    authority = HomePath("tls/authority.pem")
    # The authority's private key; only `init` and `renew` read it.
    authority_key = HomePath("tls/authority.key")
    server_certificate = HomePath("tls/server.pem")  # the SuperLink's certificate, PEM
    server_key = HomePath("tls/server.key")  # its private key
    tokens = HomePath("tokens")  # folder of the bearer tokens
    # Its holder may start runs and register nodes; one line.
    control_token = HomePath("tokens/control")
    # Its holder may carry out runs at the SuperLink; one line.
    runtime_token = HomePath("tokens/runtime")
    members = HomePath("members")  # folder of enrolments (enrolment.py)

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

    roster = HomePath("roster.signed")  # the signed roster that was published last

    def published(self, version: int) -> Path:
        """Return where a version of the roster stays, for members that lack it."""
        return self.members / f"roster-{version}.signed"

    # The invitation for new institutions (members/publication.py).
    invitation = HomePath("invitation.json")
    studies = HomePath("studies")  # folder of the studies that were proposed

    def study(self, study_id: str) -> Path:
        """Return where a signed study is kept.

        Raises:
            UsageError: no study id; a name from outside never becomes a path.
        """
        return self.studies / f"{hex32(study_id, 'a study id')}.signed"

    bundle = HomePath("bundle")  # folder of the bundle that runs are started with
    # The bundle itself (members/publication.py keeps it).
    bundle_file = HomePath("bundle/fieldfare.fab")
    bundle_hash = HomePath("bundle.sha256")  # SHA-256 of the bundle, hex, which nodes compare
    models = HomePath("models")  # folder of finished models

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

    state = HomePath("state")  # folder of the databases
    superlink_database = HomePath("state/superlink.sqlite")  # the SuperLink's own state
    runs_database = HomePath("state/runs.sqlite")  # runs, transcripts and checkpoints (store.py)
    # Who is told, and over which servers (shared/watch); absent where nobody is.
    notices = HomePath("notices.toml")
    outbox = HomePath("state/notices.sqlite")  # notices that were made, and who was told
    audit_log = HomePath("log/audit.jsonl")  # the calls to the SuperLink, JSON lines
    # Members let in and removed, rosters published: JSON lines (decisions.py).
    decisions = HomePath("log/decisions.jsonl")
    run = HomePath("run")  # folder of files that live only as long as a process
    # An empty file; its time is when the runner last asked for work.
    runner_beat = HomePath("run/runner")

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
