"""A real Chromium at a page: what it asked for, what was stopped, what axe-core finds."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.homes.consoles import PASSWORD, secret_on

from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.system.clock import utc_now

AXE: Final = Path(__file__).parents[2] / "client/console/browser/axe-core/axe.min.js"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS: Final = (360, 1280, 1920)
LONG: Final = bool(os.environ.get("FIELDFARE_CONSOLE_LONG"))  # make nightly PART=console
SCRIPTS: Final = (True, False) if LONG else (True,)
_BOTH: Final = {"light": (360, 1280), "dark": (360, 1280)}
_EACH: Final = {"light": (360,), "dark": (1280,)}
LOOKED_AT: Final = _BOTH if LONG else _EACH  # by axe-core, some seconds each
STOPPED: Final = "Content Security Policy"
PATIENCE: Final = 120_000.0  # milliseconds, on a machine with other work; Playwright's own: 30 s


@dataclass
class Look:
    """A browser's page, what it asked for, and what went wrong there."""

    page: Any
    address: str
    scripts: bool
    checks: bool = True  # by axe-core, at all widths: ten seconds a page
    asked: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def watch(self) -> "Look":
        self.page.on("request", lambda one: self.asked.add(one.url))
        self.page.on("console", lambda one: self.said.append(one.text))
        self.page.on("pageerror", lambda one: self.said.append(str(one)))
        return self

    def open(self, path: str) -> int:
        """Go to an address of the console; the status of its answer."""
        return int(self.page.goto(f"{self.address}{path}").status)

    def check(self, name: str) -> None:
        """Look at the present page in both colours and at three widths."""
        if not self.checks:
            return
        self.page.wait_for_load_state()
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 900})
                if folder := os.environ.get("FIELDFARE_SCREENSHOTS"):
                    self.page.screenshot(
                        path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True
                    )
                if self.scripts:
                    wide = self.page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, f"{name} at {width}: {wide} wide"
                if self.scripts and width in LOOKED_AT[scheme]:
                    found = self.findings()
                    assert found == [], f"{name}, {scheme}, {width}: {found}"

    def findings(self) -> list[str]:
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]

    def stayed(self) -> None:
        """Nothing was asked of another host, and the content policy stopped nothing."""
        assert [
            one for one in self.asked if not one.startswith((f"{self.address}/", "data:"))
        ] == []
        assert [one for one in self.said if STOPPED in one] == []

    def enrol(self, token: str, name: str) -> bytes:
        """Enrol by a link; return the second factor that the page showed."""
        self.open(f"/enrol?link={token}")
        factor = secret_on(self.page.content())
        self.check("enrol")
        self.page.get_by_label("Password, 12 characters or more").fill(PASSWORD)
        self.page.get_by_label("Repeat the password").fill(PASSWORD)
        code = code_of(factor, utc_now().timestamp())
        self.page.get_by_label("The six digits that the authenticator").fill(code)
        self.page.get_by_role("button", name="Enrol and log in").click()
        self.page.get_by_text(f"You are logged in as {name}").wait_for()
        self.check("start")
        return factor


@contextmanager
def chromium(address: str, *, scripts: bool, checks: bool = True) -> Iterator[Look]:
    """Start a browser that looks at what stands at `address`."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    assert program, "expected chromium, found none: apt-get install chromium"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], timeout=PATIENCE
        )
        try:
            context = browser.new_context(java_script_enabled=scripts)
            context.set_default_timeout(PATIENCE)  # of navigation, too
            yield Look(context.new_page(), address, scripts, checks).watch()
        finally:
            browser.close()
