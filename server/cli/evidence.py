"""What `fieldfare evidence pack` takes from a coordinator's home."""

from pathlib import Path
from typing import Final

from fieldfare.server.cli.options import DEFAULT_HOME
from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.studies.run_evidence import run_evidence
from fieldfare.shared.cli.evidence import EvidenceSource, GatheredEvidence, GivenEvidence
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evidence.pack import PackSigner
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.system.key_files import read_passphrase


class CoordinatorEvidence:
    """The runs of a coordinator; its online key signs."""

    variable = "FIELDFARE_COORDINATOR"
    usual = DEFAULT_HOME

    def is_home(self, path: Path) -> bool:
        """Tell whether a folder is a coordinator's."""
        return CoordinatorHome(path).settings.is_file()

    def gather(self, home: Path, subject: str, given: GivenEvidence) -> GatheredEvidence:
        """Return the facts of a run.

        Raises:
            UsageError: a transcript was given too, or as `run_evidence`.
            KeysError: the online key cannot be loaded.
        """
        if given.transcript is not None:
            raise UsageError(
                "--transcript: expected none beside a coordinator's home, found one: its store has "
                "the run's own"
            )
        opened = CoordinatorHome.open(home)
        key = load_signing_key(opened, read_passphrase(given.passphrase))
        facts = run_evidence(opened, subject, given.software, given.now)
        return GatheredEvidence(
            facts, PackSigner(COORDINATOR, public_hex(key), IdentitySigner(key))
        )


SOURCE: Final[EvidenceSource] = CoordinatorEvidence()
