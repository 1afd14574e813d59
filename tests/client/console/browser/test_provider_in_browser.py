"""A real Chromium between a real console and a real identity provider, which are two sites.

The provider is at `localhost` and the console at `127.0.0.1`, so the way back brings no cookie of
the console (`SameSite=Strict`): what leads on without scripts is the page's own meta refresh.
"""

from collections.abc import Iterator
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import oidc_provider_mock
import pytest
from tests.shared.console.test_provider import PEOPLE, SECRET, agreed
from tests.support.browsers.looking import STOPPED, Look, chromium
from tests.support.browsers.served import started
from tests.support.homes import journals
from tests.support.system.ports import free_port

from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.provider import NOT_PROVED
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, create_private

STYLES: Final = "https://cdn.jsdelivr.net/"  # that the provider's own pages ask for; never reached
SETTINGS: Final = """
issuer = "{issuer}"
client_id = "fieldfare"
client_secret_file = "secret"

[roles]
"aml-reviewers" = "reviewer"
"aml-analysts" = "analyst"
"""


@pytest.fixture
def sites(home: Home) -> Iterator[tuple[str, str]]:
    """A console whose people come in by a provider, and the provider."""
    users = [oidc_provider_mock.User(sub=sub, claims=given) for sub, given in PEOPLE.items()]
    with oidc_provider_mock.run_server_in_thread(user_claims=users, require_nonce=True) as server:
        issuer, folder = f"http://localhost:{server.server_port}", home.path / "console"
        folder.mkdir(PRIVATE_FOLDER)
        create_private(folder / "secret", SECRET.encode())
        (folder / "provider.toml").write_text(SETTINGS.format(issuer=issuer))
        for name, sub in (("anna", "s-1"), ("berta", "s-2")):
            account = ("console", "account", "add", name, "--role", "analyst")
            assert run((*account, "--sub", sub, "--home", str(home.path))) == 0
        with started(home.path, f"127.0.0.1:{free_port()}") as address:
            yield address, issuer


@pytest.mark.faults
def test_people_come_in_by_their_provider(sites: tuple[str, str], home: Home) -> None:
    address, issuer = sites
    codes = list[str]()
    for scripts in (True, False):
        with chromium(address, scripts=scripts) as look:
            look.page.route(f"{STYLES}**", lambda route: route.abort())
            if scripts:
                look.open("/log-in")
                assert look.findings() == []
                stays_outside(look, issuer)
            else:
                refused_at_the_provider(look, issuer)
            codes.append(comes_in_once(look, issuer))
            comes_back_by_a_link_and_by_no_form(look, issuer)
            elsewhere = [one for one in look.asked if not one.startswith((address, "data:"))]
            assert {one for one in elsewhere if not one.startswith((issuer, STYLES))} == set()
            assert [one for one in look.said if STOPPED in one] == []
    logged = journals.logged(home.log_folder)
    acts = [(one["actor"], one["details"]["kind"]) for one in logged][2:]
    once = [
        ("anna", "logged in"),
        ("anna", "logged out"),
        ("berta", "role changed"),
        ("berta", "logged in"),
    ]
    assert acts == [*once, *(one for one in once if one[1] != "role changed")]
    assert not [one for one in codes if one in str(logged)]


def left(look: Look, issuer: str) -> None:
    """Press the button of the log-in page, and be at the provider, which learns no address."""
    look.open("/")
    with look.page.expect_request(lambda one: one.url.startswith(issuer)) as asked:
        look.page.get_by_role("button", name="Log in with your institution's account").click()
    look.page.get_by_role("heading", name="Authorize Client").wait_for()
    assert "referer" not in asked.value.headers


def agrees(look: Look, sub: str) -> None:
    look.page.get_by_placeholder("sub").fill(sub)
    look.page.get_by_role("button", name="Authorize").click()


def refused_at_the_provider(look: Look, issuer: str) -> None:
    left(look, issuer)
    look.page.get_by_role("button", name="Deny").click()
    look.page.get_by_text(NOT_PROVED).wait_for()


def stays_outside(look: Look, issuer: str) -> None:
    """Nobody made an account for that number, whatever the provider calls its person."""
    left(look, issuer)
    agrees(look, "s-4")
    look.page.get_by_text("number of you (sub) is 's-4'").wait_for()
    look.open("/alerts")
    assert urlsplit(look.page.url).path == "/log-in"


def comes_in_once(look: Look, issuer: str) -> str:
    """What came back counts once; returns the provider's code."""
    left(look, issuer)
    with look.page.expect_request(lambda one: "/log-in/finish?" in one.url) as asked:
        agrees(look, "s-1")
    finish = asked.value.url
    inside(look, "anna")
    look.page.goto(finish)
    look.page.get_by_text(NOT_PROVED).wait_for()
    look.open("/")
    inside(look, "anna")
    look.page.get_by_role("button", name="Log out").click()
    look.page.get_by_role("button", name="Log in with your institution's account").wait_for()
    return str(parse_qs(urlsplit(finish).query)["code"][0])


def comes_back_by_a_link_and_by_no_form(look: Look, issuer: str) -> None:
    """A form of the provider (`response_mode=form_post`) is not taken; the try goes on."""
    left(look, issuer)
    back = agreed(look.page.url, "s-2")
    where, _, query = back.partition("?")
    fields = "".join(
        f"<input type=hidden name={name} value={escape(value)}>"
        for name, (value,) in parse_qs(query).items()
    )
    form = f"<form method=post action={where}>{fields}<button>post</button></form>"
    page = f"{form}<a href='{escape(back)}'>link</a>"
    look.page.goto(f"data:text/html,{quote(page)}")
    with look.page.expect_response(where) as answer:
        look.page.get_by_role("button", name="post").click()
    assert answer.value.status == 405
    look.page.goto(f"data:text/html,{quote(page)}")
    look.page.get_by_role("link", name="link").click()
    inside(look, "berta")


def inside(look: Look, name: str) -> None:
    """At the first page, under a name, and with nothing of the provider in the address."""
    look.page.get_by_text(f"You are logged in as {name}").wait_for()
    assert look.page.url == f"{look.address}/"
