"""Proposing a study: checked, signed and kept."""

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.roster import published_roster
from fieldfare.server.studies.proposals import Proposal, proposal
from fieldfare.shared.errors import StudyError
from fieldfare.shared.models import check_module
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.study import Study, check_deployable
from fieldfare.shared.system.private_files import create_private


def check_proposal(study: Study, roster: Roster | None) -> None:
    """Check a study's plan, and that it keeps the roster's constant M.

    Raises:
        PackageError: the module that it names is not installed or not allowed here.
        StudyError: no unit, a module that is not as it says, a plan that cannot be carried out, or
            another multiplicity than the roster's.
    """
    check_deployable(study)
    check_module(study)  # its size is signed, and institutions import nothing to review it
    plan_for(study).check_noise(study.aggregation.minimum_institutions)
    found = study.privacy.multiplicity
    if roster is not None and found != roster.multiplicity:
        raise StudyError(
            f"privacy.multiplicity: expected the roster's {roster.multiplicity}, found {found}"
        )


def propose(home: CoordinatorHome, study: Study, signer: Signer) -> Proposal:
    """Sign a study and keep it; one that was proposed before stays as it is.

    Raises:
        StudyError: as `check_proposal`.
        UsageError: what stands under its id is another study.
        OSError: the disk refuses it.
    """
    check_proposal(study, published_roster(home))
    path = home.study(study.id)
    if not path.exists():
        create_private(path, offer_study(study, signer))
    return proposal(home, study.id)
