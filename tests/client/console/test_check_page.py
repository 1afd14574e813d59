"""The preflight in a browser: what the terminal finds, without a key or a record opened."""

from tests.support.homes.consoles import Browser, ConsoleBench, desk
from tests.support.homes.institutions import Coordinator

from fieldfare.client.oversight.checks import NOT_WATCHED, HomeChecks, Preflight
from fieldfare.client.oversight.preflight import findings
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now


def test_the_page_finds_what_the_terminal_finds_and_opens_no_key(
    coordinator: Coordinator, console: ConsoleBench
) -> None:
    home = coordinator.homes["bank-a"]
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("edda", ConsoleRole.EXAMINER))
    given = Preflight(
        home=home.path,
        node_settings=home.path / "node.toml",
        passphrase=None,
        environment={},
        now=utc_now(),
    )
    expected = list(findings(HomeChecks(given).checks()))
    home.identity_key.write_bytes(b"nobody opens this")
    shown = " ".join(browser.shown("/check").split())
    assert {one.topic for one in expected} > NOT_WATCHED
    for one in expected:
        if one.topic not in NOT_WATCHED | {"disk"}:
            said = " ".join(one.text.split())
            assert f"{one.topic} {one.outcome.value} {said}" in shown
    assert "node key" not in shown
    home.policy.write_text("<script>alert(1)</script>")
    text = browser.get("/check").text
    assert "failed.</strong>" in text
    assert "<script>alert" not in text
