import re
import textwrap
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import CoordinatorSettings, load_settings, settings_text
from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.toml import parse_toml

DOCS: Final = Path(__file__).parents[3] / "docs"
EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 -- what a coordinator listens at


def test_what_init_writes_is_what_is_read(coordinator_home: CoordinatorHome) -> None:
    settings = load_settings(coordinator_home)
    assert (settings.name, settings.contact) == ("Example coordinator", "")
    assert (settings.address, settings.host) == (
        "coordinator.example.org:8443",
        "coordinator.example.org",
    )
    assert (settings.bind_host, settings.bind_port) == (EVERY_INTERFACE, 8443)
    assert settings.local_address == "127.0.0.1:8001"
    assert settings.retention_days == 3650


def test_any_name_survives_its_quoting() -> None:
    name = 'Coordinator "east" \\ é'
    text = settings_text(name, "[::1]:99", contact="a'b", names=("x.org", "10.0.0.1"))
    settings = parse_toml(text, CoordinatorSettings, "coordinator")
    assert (settings.name, settings.contact) == (name, "a'b")
    assert (settings.names, settings.host) == (("x.org", "10.0.0.1"), "::1")
    assert settings.bind == f"{EVERY_INTERFACE}:99"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": "hub"}, "address: .*host:port"),
        ({"address": "hub:0"}, "address: "),
        ({"bind": "eth0"}, "bind: "),
        ({"names": ("*.example.org",)}, "names"),
        ({"name": ""}, "name: "),
        ({"name": "two\nlines"}, "name: "),
        ({"contact": "x" * 201}, "contact: "),
        ({"local_port": 0}, "local_port: "),
        ({"local_port": 8443}, "local_port: expected another port"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], said: str) -> None:
    given: dict[str, Any] = {"name": "Coordinator", "address": "hub.example.org:8443"} | changes
    with pytest.raises(StudyError, match=said):
        settings_text(**given)


@pytest.mark.parametrize(
    ("bind", "proxy", "fits"),
    [
        ("0.0.0.0:8443", "10.0.0.4", True),
        ("[::]:8443", "2001:db8::4", True),
        ("[::]:8443", "10.0.0.4", False),
        ("10.0.0.5:8443", "2001:db8::4", False),
        ("10.0.0.5:8443", "::ffff:10.0.0.4", False),
    ],
)
def test_a_proxy_that_cannot_come_is_refused(bind: str, proxy: str, *, fits: bool) -> None:
    """A socket that listens at [::] takes no connection over IPv4."""
    text = settings_text("Coordinator", "hub.example.org:8443", bind=bind)
    text = text.replace("proxies = []", f'proxies = ["{proxy}"]')
    if fits:
        assert parse_toml(text, CoordinatorSettings, "coordinator").proxies == (proxy,)
        return
    with pytest.raises(StudyError, match=r"proxies: expected IPv. addresses, the only ones"):
        parse_toml(text, CoordinatorSettings, "coordinator")


@pytest.mark.parametrize("page", ["witnesses.md", "proxy.md"])
def test_what_a_page_says_to_write_is_taken(page: str) -> None:
    """Its lines of coordinator.toml, in the place of what `init` wrote."""
    told = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (DOCS / page).read_text(), re.MULTILINE)
    blocks = [one for one in told if re.match(r"\s*(\[witnesses\]|address = )", one)]
    (block,) = (textwrap.dedent(one) for one in blocks)
    kept = settings_text("Coordinator", "hub.example.org:8443").splitlines()
    names = re.findall(r"^(\w+) = ", block, re.MULTILINE)
    kept = [one for one in kept if one.split(" = ")[0] not in names]
    text = "\n".join((block, *kept) if page == "proxy.md" else (*kept, block))
    found = parse_toml(text, CoordinatorSettings, page)
    assert found.witnesses.witness or found.proxies == ("10.0.0.4",)


def test_unknown_keys_are_refused(coordinator_home: CoordinatorHome) -> None:
    with coordinator_home.settings.open("a") as file:
        file.write("surprise = 1\n")
    with pytest.raises(StudyError, match="surprise"):
        load_settings(coordinator_home)
