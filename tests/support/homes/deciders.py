"""Homes whose people may decide on studies in a browser, and the proofs that they show."""

import os
from dataclasses import dataclass
from typing import Final

from tests.support.homes.institutions import Coordinator

from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.protocol.comparison import roster_code
from fieldfare.shared.system.clock import utc_now

ALLOWED: Final = "[console]\ndecides = true\n"


@dataclass
class Decider:
    """Somebody with a second factor at the desk, and the roster's safety code on paper."""

    home: Home
    name: str
    safety: str
    factor: bytes = b""

    def code(self) -> str:
        """A code of this moment; of a new factor each time, so that it was never used."""
        with open_deciders(self.home.desk, utc_now) as book:
            self.factor = book.add(self.name, os.urandom, lambda: None)
        return code_of(self.factor, utc_now().timestamp())


def let_decide(coordinator: Coordinator, home: Home, name: str) -> Decider:
    """Let a person decide at a home, which allows it from now on."""
    text = home.settings.read_text()
    if ALLOWED not in text:
        home.settings.write_text(text + ALLOWED)
    return Decider(home, name, roster_code(coordinator.roster(), "bank-b"))
