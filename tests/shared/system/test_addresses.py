import pytest

from fieldfare.shared.system.addresses import ip_of, is_host, split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("hub.example.org:443", "hub.example.org", 443),
        ("hub:1", "hub", 1),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[::1]:8000", "::1", 8000),
        ("[2001:db8::7]:8000", "2001:db8::7", 8000),
        ("10.0.0.1:8000", "10.0.0.1", 8000),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "hub",
            "hub:",
            ":443",
            "hub:0",
            "hub:65536",
            "hub:099",
            "hub:+1",
            "hub:1 ",
            "hub:\u0661",
        ),
        *("https://hub:1", "user@hub:1", "hub/path:1", "a b:1", "hub..org:1", "-hub:1", "hub-:1"),
        *(
            "::1:8000",
            "[hub]:1",
            "[::1:1",
            "[::g]:1",
            "[fe80::1%eth0]:1",
            "256.1.1.1:1",
            "hub\n:1",
            "x" * 64 + ":1",
        ),
        ".".join(["x" * 63] * 4) + ":1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        split_address(text)


def test_names_are_told_from_addresses() -> None:
    assert ip_of("hub") is None
    assert str(ip_of("::1")) == "::1"
    assert is_host("hub.example.org")
    assert is_host("10.0.0.1")
    assert not is_host("10.0.0")
    assert not is_host("")
