"""What `fieldfare evidence pack` takes from an institution's home."""

from pathlib import Path
from typing import Final

from fieldfare.client.cli.options import DEFAULT_HOME, identity_secret
from fieldfare.client.home.keys import load_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.oversight.study_evidence import study_evidence
from fieldfare.shared.cli.evidence import EvidenceSource, GatheredEvidence, GivenEvidence
from fieldfare.shared.evidence.pack import PackSigner
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner


class InstitutionEvidence:
    """The studies of an institution; its identity signs."""

    variable = "FIELDFARE_HOME"
    usual = DEFAULT_HOME

    def is_home(self, path: Path) -> bool:
        """Tell whether a folder is an institution's."""
        return Home(path).settings.is_file()

    def gather(self, home: Path, subject: str, given: GivenEvidence) -> GatheredEvidence:
        """Return the facts of a study.

        Raises:
            UsageError, ProtocolError, LedgerError: as `study_evidence`.
            KeysError: the identity cannot be loaded.
        """
        opened = Home.open(home)
        key = load_identity(opened, identity_secret(opened, given.passphrase))
        facts = study_evidence(home, subject, given.software, given.now, given.transcript)
        by = PackSigner(facts.maker, public_hex(key), IdentitySigner(key))
        return GatheredEvidence(facts, by)


SOURCE: Final[EvidenceSource] = InstitutionEvidence()
