from typing import Any

import pytest

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import CoordinatorSettings, load_settings, settings_text
from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.toml import parse_toml

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


def test_unknown_keys_are_refused(coordinator_home: CoordinatorHome) -> None:
    with coordinator_home.settings.open("a") as file:
        file.write("surprise = 1\n")
    with pytest.raises(StudyError, match="surprise"):
        load_settings(coordinator_home)
