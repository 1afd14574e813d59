"""Models in a browser: the evidence, a card that runs nothing, and the last answer on joining."""

from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, desk
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.runs.finished import RUN, delivered, kept_delivery
from tests.support.runs.joining import answered_here

from fieldfare.client.home.models import KeptModel, in_the_run, keep_joining, read_joining
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now

SCRIPT = "<script>window.ran = 1</script>"
STUDY = home_study(purpose=SCRIPT)
ONE = f"/models/{STUDY.id}/{RUN}"


@pytest.fixture
def kept(coordinator: Coordinator) -> KeptModel:
    """A model of a study that bank-a approved, of which only the coordinator speaks."""
    coordinator.receive(STUDY)
    return kept_delivery(coordinator.homes["bank-a"], STUDY, coordinator.signer)


def browser_of(coordinator: Coordinator, console: ConsoleBench, role: ConsoleRole) -> Browser:
    found = Browser(desk(coordinator.homes["bank-a"].path, console))
    console.log_in(found, console.enrolled(role.value, role))
    return found


@pytest.mark.parametrize("role", list(ConsoleRole))
def test_the_list_says_the_evidence_and_a_card_is_drawn_from_the_model(
    coordinator: Coordinator, console: ConsoleBench, kept: KeptModel, role: ConsoleRole
) -> None:
    browser = browser_of(coordinator, console, role)
    assert "UNVERIFIED: the coordinator's word alone" in browser.shown("/models")
    made = delivered(STUDY, coordinator.signer)
    note = in_the_run(made.delivery.model, utc_now(), metrics=True)
    (kept.folder / "recomputed.json").write_bytes(canonical_bytes(note))
    text = browser.get(ONE).text
    assert "<script>window" not in text
    assert "style=" not in text
    shown = unescape(text)
    for said in (SCRIPT, "recomputed by bank-a step by step", "How well it ranks", "polyline"):
        assert said in shown, said
    assert "UNVERIFIED" not in browser.shown("/models")
    watches = role in {ConsoleRole.OPERATOR, ConsoleRole.EXAMINER}
    assert ("should we join? not asked yet" in browser.shown("/models")) == watches
    assert browser.get(f"{ONE}/joining").status_code == (200 if watches else 403)


def test_a_changed_model_is_named_and_its_card_is_not_shown(
    coordinator: Coordinator, console: ConsoleBench, kept: KeptModel
) -> None:
    browser = browser_of(coordinator, console, ConsoleRole.ANALYST)
    path = kept.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    for address in ("/models", ONE):
        text = browser.shown(address)
        assert "do not use it" in text
        assert "How well it ranks" not in text


def test_the_last_answer_on_joining_is_shown_with_the_command_for_a_new_one(
    coordinator: Coordinator, console: ConsoleBench, kept: KeptModel
) -> None:
    browser = browser_of(coordinator, console, ConsoleRole.EXAMINER)
    text = browser.shown(f"{ONE}/joining")
    assert "Nobody has asked this yet" in text
    assert f"institution evaluate --model {RUN} --page" in text
    found = answered_here(STUDY)
    found["verdict"]["why"] += SCRIPT
    keep_joining(kept, found, utc_now())
    answered = browser.get(f"{ONE}/joining").text
    assert SCRIPT not in answered
    assert SCRIPT in unescape(answered)
    assert "not measured under privacy" in unescape(answered)
    assert "Own customers, with fewer labels" in answered
    assert f"answered {utc_now():%Y-%m-%d}" in browser.shown("/models")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format":1,"time":"x","figures":{}}'])
def test_a_damaged_answer_is_none(
    coordinator: Coordinator, console: ConsoleBench, kept: KeptModel, content: bytes
) -> None:
    (kept.folder / "joining.json").write_bytes(content)
    assert read_joining(kept) is None
    browser = browser_of(coordinator, console, ConsoleRole.OPERATOR)
    assert "Nobody has asked this yet" in browser.shown(f"{ONE}/joining")


@pytest.mark.parametrize("path", [f"/models/{'0' * 64}/{RUN}", "/models/x/y", f"{ONE}x"])
def test_there_is_no_other_model(
    coordinator: Coordinator, console: ConsoleBench, kept: KeptModel, path: str
) -> None:
    assert browser_of(coordinator, console, ConsoleRole.OPERATOR).get(path).status_code == 404
