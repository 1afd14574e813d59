"""What `fieldfare evidence pack` takes from a coordinator's home."""

from pathlib import Path
from typing import Final

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.studies.run_evidence import run_evidence
from fieldfare.shared.cli.evidence import GatheredEvidence, GivenEvidence, PartyEvidence
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evidence.pack import PackSigner
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.system.key_files import read_passphrase


def _gather(home: Path, subject: str, given: GivenEvidence) -> GatheredEvidence:
    if given.transcript is not None:
        raise UsageError(
            "--transcript: expected none beside a coordinator's home, found one: its store has "
            "the run's own"
        )
    opened = CoordinatorHome.open(home)
    key = load_signing_key(opened, read_passphrase(given.passphrase))
    facts = run_evidence(opened, subject, given.software, given.now)
    return GatheredEvidence(facts, PackSigner(COORDINATOR, public_hex(key), IdentitySigner(key)))


EVIDENCE: Final = PartyEvidence(_gather)
