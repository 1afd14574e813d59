import json
import threading
from datetime import timedelta
from typing import Final

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import NOW, Coordinator, home_study

from fieldfare.client.home.studies import (
    State,
    StudyDecision,
    deciding,
    earlier_studies,
    find_id,
    keep_study,
    kept_ids,
    kept_studies,
    kept_study,
    offered_study,
    read_decision,
    stamp,
    write_decision,
)
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.messages import IdentitySigner, Signer, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import StudyOffer, offer_study

STUDY = home_study()
STRANGER: Final = IdentitySigner(Ed25519PrivateKey.generate())


def test_what_arrived_is_kept_as_it_came(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    kept = kept_study(home, STUDY.id, coordinator.roster())
    assert (kept.study, kept.offer) == (STUDY, coordinator.signed(STUDY))
    assert kept.decision == StudyDecision(study=STUDY.id, received="2025-06-01T12:00:00+00:00")
    for suffix in (".signed", ".json"):
        assert home.study(STUDY.id).with_suffix(suffix).stat().st_mode & 0o777 == 0o600


def test_an_offer_that_comes_again_keeps_its_decision(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    rejected = read_decision(home, STUDY.id).model_copy(update={"state": State.REJECTED})
    write_decision(home, rejected)
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW + timedelta(days=1))
    assert read_decision(home, STUDY.id) == rejected


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 5000, b"null"])
def test_no_study_is_refused_in_one_line(coordinator: Coordinator, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"^sent: ") as refused:
        offered_study(content, "sent", coordinator.roster())
    assert "\n" not in str(refused.value)


def test_a_study_of_another_coordinator_or_a_changed_one_is_refused(
    coordinator: Coordinator,
) -> None:
    foreign = offer_study(STUDY, IdentitySigner(Ed25519PrivateKey.generate()))
    changed = coordinator.signed(STUDY).replace(b'epsilon\\":0.5', b'epsilon\\":9.5')
    assert changed != coordinator.signed(STUDY)
    for content in (foreign, changed, coordinator.signed_roster()):
        with pytest.raises(UsageError, match=r"^sent: "):
            offered_study(content, "sent", coordinator.roster())


def test_a_kept_offer_is_checked_each_time(coordinator: Coordinator) -> None:
    home, other = coordinator.homes["bank-a"], home_study(name="other")
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    home.study(STUDY.id).write_bytes(coordinator.signed(other))
    with pytest.raises(UsageError, match="of that id"):
        kept_study(home, STUDY.id, coordinator.roster())
    with pytest.raises(UsageError, match="found none"):
        kept_study(home, other.id, coordinator.roster())


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"format":1}', b'{"state":"approved"}', b"[" * 5000],
)
def test_a_decision_that_cannot_be_read_decides_nothing(
    coordinator: Coordinator, content: bytes
) -> None:
    home = coordinator.homes["bank-a"]
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    home.study(STUDY.id).with_suffix(".json").write_bytes(content)
    with pytest.raises(UsageError, match="decision, found"):
        read_decision(home, STUDY.id)


def test_another_studys_decision_is_not_this_ones(coordinator: Coordinator) -> None:
    home, other = coordinator.homes["bank-a"], home_study(name="other")
    write_decision(home, StudyDecision(study=other.id, state=State.APPROVED))
    approved = home.study(other.id).with_suffix(".json").read_bytes()
    home.study(STUDY.id).with_suffix(".json").write_bytes(approved)
    with pytest.raises(UsageError, match="decision, found"):
        read_decision(home, STUDY.id)


def test_a_study_without_a_decision_is_only_received(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    home.study(STUDY.id).with_suffix(".json").unlink()
    assert read_decision(home, STUDY.id).state is State.RECEIVED


EARLIER: Final = {
    "privacy.training_share: training and the hold-out": ("privacy", "training_share", 0.8),
    "aggregation.opening: a vector leaves in two messages": ("aggregation", "opening", "off"),
}


def earlier(signer: Signer, section: str, key: str, value: object) -> tuple[str, bytes]:
    """A study as an earlier version wrote it: its id, and the signed offer."""
    said = STUDY.model_dump(mode="json")
    said[section][key] = value
    text = rfc8785.dumps(said)
    return bytes_hash(text), sign_envelope(StudyOffer(study=text.decode()), COORDINATOR, signer)


@pytest.mark.parametrize("why", EARLIER)
def test_a_study_of_an_earlier_version_is_said_and_hides_no_other(
    why: str, coordinator: Coordinator
) -> None:
    home, roster = coordinator.homes["bank-a"], coordinator.roster()
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    old, offer = earlier(coordinator.signer, *EARLIER[why])
    home.study(old).write_bytes(offer)
    assert [one.study for one in kept_studies(home, roster)] == [STUDY]
    (said,) = earlier_studies(home, roster).values()
    assert why in said
    assert "its coordinator proposes it anew" in said
    with pytest.raises(UsageError, match="of an earlier one"):
        kept_study(home, old, roster)
    # Another's signature makes it no study at all.
    home.study(old).write_bytes(earlier(STRANGER, *EARLIER[why])[1])
    assert earlier_studies(home, roster) == {}
    with pytest.raises(UsageError, match="receive it again"):
        kept_studies(home, roster)


def test_studies_are_listed_in_order_of_arrival(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    studies = [home_study(name=f"study-{index}") for index in range(4)]
    for days, study in enumerate(studies):
        keep_study(home, study, coordinator.signed(study), NOW + timedelta(days=days))
    (home.studies / "notes.signed").write_text("somebody's own file")
    assert [kept.study for kept in kept_studies(home, coordinator.roster())] == studies
    assert kept_ids(home) == tuple(sorted(study.id for study in studies))


def test_a_few_digits_mean_one_study_or_none(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    for digits in (4, 12, 64):
        assert find_id(home, STUDY.id[:digits]) == STUDY.id
    twin = STUDY.id[:-1] + ("0" if STUDY.id[-1] != "0" else "1")
    (home.studies / f"{twin}.signed").touch()
    assert find_id(home, STUDY.id) == STUDY.id
    with pytest.raises(UsageError, match="fits 2"):
        find_id(home, STUDY.id[:12])
    missing = "0000" if not STUDY.id.startswith("0000") else "1111"
    with pytest.raises(UsageError, match="fits none"):
        find_id(home, missing)


@pytest.mark.parametrize("text", ["", "abc", "../roster", "ABCDEF", "x" * 1000, "\x1b[2J", "study"])
def test_what_is_no_id_is_refused_and_moves_no_cursor(coordinator: Coordinator, text: str) -> None:
    with pytest.raises(UsageError, match="hexadecimal digits") as refused:
        find_id(coordinator.homes["bank-a"], text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


def test_one_decision_at_a_time(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    refused = pytest.raises(UsageError, match="found another under way")
    with deciding(home), refused, deciding(home, 0.1):
        pass
    with deciding(home):
        pass


def test_a_decision_waits_for_another_to_end(coordinator: Coordinator) -> None:
    home, order = coordinator.homes["bank-a"], []

    def second() -> None:
        with deciding(home):
            order.append("second")

    waiting = threading.Thread(target=second, daemon=True)
    with deciding(home):
        waiting.start()
        waiting.join(0.3)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "second"]


def test_a_decision_is_canonical_json(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    write_decision(home, StudyDecision(study=STUDY.id, state=State.APPROVED, time=stamp(NOW)))
    found = json.loads(home.study(STUDY.id).with_suffix(".json").read_bytes())
    assert (found["format"], found["state"], found["time"]) == (
        1,
        "approved",
        "2025-06-01T12:00:00+00:00",
    )
