"""A coordinator that writes the others' keys: nothing begins in the company of keys nobody knows.

The coordinator holds every key but one here: it signs rosters, studies and openings as it likes,
and a person at the victim accepts and approves what fits the policy.
"""

from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    heard,
    home_study,
    loaded,
)

from fieldfare.client.approvals.approval import approve
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.comparisons import keep_compared, keep_vouching
from fieldfare.client.home.roster import pin_roster, pinned_roster
from fieldfare.client.institution.open import Custody
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.comparison import sign_vouching
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import Participant, Refusal, RunOpening, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster
from fieldfare.shared.study.study import Study

VICTIM = NAMES[0]
Keys = Mapping[str, Ed25519PrivateKey]


def false_keys(*names: str) -> Keys:
    return {name: Ed25519PrivateKey.generate() for name in names}


def false_roster(coordinator: Coordinator, keys: Keys, version: int = 2) -> Roster:
    """The victim's true key, and keys of the coordinator's own beside it."""
    (own,) = (one for one in coordinator.roster().members if one.id == VICTIM)
    members = [own, *(Member(id=name, key=public_hex(key)) for name, key in keys.items())]
    return coordinator.roster(version=version).model_copy(
        update={"members": tuple(sorted(members, key=lambda one: one.id))}
    )


def opening(coordinator: Coordinator, custody: Custody, study: Study) -> bytes | Refusal:
    """The answer to a signed opening with the whole roster."""
    own = custody.custodian.describe(study.id)
    assert isinstance(own, HelloAnswer)
    roster = custody.party.roster
    body = RunOpening(
        study=study.id,
        roster=roster.hash,
        run="r",
        number=0,
        participants=tuple(Participant(institution=n, answer="a" * 64) for n in roster.ids),
    )
    return custody.custodian.open_run(sign_envelope(body, COORDINATOR, coordinator.signer), [], [])


def surrounded(
    coordinator: Coordinator, custody_of: OpenCustody, roster: Roster, study: Study
) -> bytes | Refusal:
    """The victim pins a roster, approves a study, and is asked to begin a run."""
    pin_roster(coordinator.homes[VICTIM], coordinator.signed_roster(roster))
    custody = custody_of(VICTIM)
    approve(custody, coordinator.receive(study), loaded(custody, study), "tester", NOW)
    return opening(coordinator, custody, study)


UNKNOWN = Refusal(RefusalCode.UNVERIFIED_KEYS)
WEAK = Refusal(RefusalCode.MASKS_TOO_WEAK)


@pytest.mark.parametrize("others", [("bank-b", "bank-c"), tuple(f"x-{i:03d}" for i in range(399))])
def test_a_roster_of_the_coordinators_own_keys_ends_at_the_opening(
    coordinator: Coordinator, custody_of: OpenCustody, others: tuple[str, ...]
) -> None:
    """Under invented names and 400 members, and under the true names of three."""
    roster = false_roster(coordinator, false_keys(*others))
    least = {"minimum_institutions": len(roster.members)}
    study = home_study(aggregation=least)
    # Nobody's own limit helps: it is refused for the keys alone.
    coordinator.edit(
        coordinator.homes[VICTIM].policy,
        "# epsilon_if_masks_fail = 4.0",
        "epsilon_if_masks_fail = 100.0",
    )
    assert surrounded(coordinator, custody_of, roster, study) == UNKNOWN


def test_known_keys_alone_let_a_run_begin(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    answer = surrounded(coordinator, custody_of, coordinator.roster(), home_study())
    assert answer not in (UNKNOWN, WEAK)  # the answers are missing, and so it says


@pytest.mark.parametrize(("tolerance", "answer"), [(1, UNKNOWN), (2, None)])
def test_an_unknown_key_is_one_of_the_t(
    coordinator: Coordinator, custody_of: OpenCustody, tolerance: int, answer: Refusal | None
) -> None:
    roster = false_roster(coordinator, false_keys("bank-x"))
    true = coordinator.roster().members[1:]
    roster = roster.model_copy(
        update={"members": (*roster.members[:1], *true, *roster.members[1:])}
    )
    study = home_study(
        privacy__collusion_tolerance=tolerance, aggregation={"minimum_institutions": 4}
    )
    found = surrounded(coordinator, custody_of, roster, study)
    assert (found == UNKNOWN) is (answer == UNKNOWN)


@pytest.mark.parametrize(("count", "refused"), [(12, False), (13, True)])
def test_a_crowd_that_failed_masks_would_not_bound_is_refused(
    coordinator: Coordinator, custody_of: OpenCustody, *, count: int, refused: bool
) -> None:
    """At t = 1 four times epsilon is left with 12 participants and not with 13: known or not."""
    keys = false_keys(*(f"x-{i:02d}" for i in range(count - 1)))
    roster = false_roster(coordinator, keys)
    home = coordinator.homes[VICTIM]
    keep_compared(home, [heard(one) for one in roster.members if one.id != VICTIM])
    study = home_study(privacy__epsilon=1.0)
    found = surrounded(coordinator, custody_of, roster, study)
    assert (found == WEAK) is refused


@pytest.mark.parametrize(
    ("vouchers", "refused"),
    [((), True), (("bank-b", "bank-d"), True), (("bank-b", "bank-c"), False)],
)
def test_vouchings_count_from_t_plus_1_members_on(
    coordinator: Coordinator, custody_of: OpenCustody, vouchers: tuple[str, ...], *, refused: bool
) -> None:
    """At t = 1: what bank-b alone says may be a lie, and bank-d says it of itself."""
    keys = false_keys("bank-b", "bank-c", "bank-d")
    roster = false_roster(coordinator, keys)
    home, new = coordinator.homes[VICTIM], roster.members[-1]
    keep_compared(home, [heard(one) for one in roster.members[1:-1]])
    for name in vouchers:
        keep_vouching(home, sign_vouching(name, [(new.id, new.key)], keys[name], 1))
    study = home_study(aggregation={"minimum_institutions": 4})
    assert (surrounded(coordinator, custody_of, roster, study) == UNKNOWN) is refused


@pytest.mark.parametrize("consent", [(), ("--replaced", "bank-b", "--replaced", "bank-c")])
def test_a_second_roster_with_replaced_keys_begins_nothing(
    coordinator: Coordinator, custody_of: OpenCustody, consent: tuple[str, ...]
) -> None:
    """It is refused; and where a person takes it all the same, the new keys are not known."""
    first = coordinator.roster()
    second = false_roster(coordinator, false_keys("bank-b", "bank-c")).model_copy(
        update={"previous": first.hash}
    )
    file = coordinator.file("second.signed", coordinator.signed_roster(second))
    home = coordinator.homes[VICTIM]
    taken = ["institution", "roster", "accept", str(file), "--home", str(home.path), "--yes"]
    assert run([*taken, *consent]) == (0 if consent else 2)
    assert pinned_roster(home, coordinator.public) == (second if consent else first)
    if consent:
        assert surrounded(coordinator, custody_of, second, home_study()) == UNKNOWN
