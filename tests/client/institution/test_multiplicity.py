"""A roster with a larger M makes what was spent count for more, whoever opens the ledger."""

import hashlib

from tests.support.federations.debits import commit_release
from tests.support.homes.institutions import Coordinator, clock

from fieldfare.client.home.roster import pin_roster
from fieldfare.client.institution.open import open_institution_ledger
from fieldfare.client.ledger.budget import Debit


def test_past_debits_count_by_the_square_of_the_rise(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    for version, multiplicity, expected in ((1, 1, 10), (2, 3, 90), (3, 2, 90)):
        roster = coordinator.roster(version=version, multiplicity=multiplicity)
        pin_roster(home, coordinator.signed_roster(roster), roster)
        with open_institution_ledger(coordinator.institution("bank-a"), clock) as ledger:
            if version == 1:
                request = hashlib.sha256(b"r").hexdigest()
                debit = Debit(
                    study="s", run="r", step=0, attempt=0, kind="training", request=request, cost=10
                )
                commit_release(
                    ledger,
                    debit,
                    vector=b"v",
                    study_limit=10,
                    max_attempts=1,
                    sign=lambda position: position.head.encode(),
                    run_states={},
                )
            assert ledger.spent() == expected
            position = ledger.position()
    with open_institution_ledger(coordinator.institution("bank-a"), clock) as ledger:
        assert ledger.position() == position  # opened again: nothing more is stated
