"""People at a coordinator's console, in browsers without scripts."""

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.shared.console.rights import ConsoleRole


@pytest.fixture
def watching(keyed: KeyedCoordinator, console: ConsoleBench) -> Browser:
    """An operator at a coordinator with three institutions on its roster."""
    browser = Browser(coordinator_desk(keyed.home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    return browser
