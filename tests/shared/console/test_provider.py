"""People log in by a real identity provider, and by nothing that only looks like one."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote_from_bytes, urlsplit

import httpx
import oidc_provider_mock
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.attacks.hostile_lines import hostile_lines
from tests.support.attacks.judged import judge
from tests.support.homes.consoles import FORM, HOST, Browser, ConsoleBench

from fieldfare.shared.console import provider as provider_module
from fieldfare.shared.console.credentials import form_token
from fieldfare.shared.console.frame import Page, console_app
from fieldfare.shared.console.provider import (
    NO_ROLE,
    NOT_PROVED,
    UNREACHED,
    Provider,
    ProviderError,
    ProviderSettings,
    challenge_of,
    check_claims,
    load_provider,
    named_subject,
    verified_claims,
)
from fieldfare.shared.console.provider_entrance import TRY_SECONDS, ProviderEntrance
from fieldfare.shared.console.rights import ConsoleRole, Right
from fieldfare.shared.errors import KeysError, StudyError, UsageError
from fieldfare.shared.system.private_files import create_private

PEOPLE: Final = {
    "s-1": {"preferred_username": "anna", "groups": ["staff", "aml-analysts"]},
    "s-2": {"preferred_username": "berta", "groups": ["aml-analysts", "aml-reviewers"]},
    "s-3": {"preferred_username": "carla", "groups": ["staff"]},
    "s-4": {"preferred_username": "anna", "groups": ["aml-analysts"]},
    "s-5": {"groups": "aml-analysts"},
    "s-6": {"preferred_username": "dora"},
}
LONGEST_LINE: Final = 2_000  # bytes; twice in an address, longer ones are refused before a page
PATIENCE: Final = 120.0  # on a machine with other work
SECRET: Final = "open sesame"  # noqa: S105 -- of nobody
ROLES: Final = {"aml-reviewers": "reviewer", "aml-analysts": "analyst"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider on this machine."""
    users = [oidc_provider_mock.User(sub=sub, claims=given) for sub, given in PEOPLE.items()]
    with oidc_provider_mock.run_server_in_thread(user_claims=users, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


def settings(issuer: str, **changed: Any) -> ProviderSettings:
    given = {
        "issuer": issuer,
        "client_id": "fieldfare",
        "client_secret_file": "secret",
        "roles": ROLES,
    }
    return ProviderSettings.model_validate(given | changed)


@pytest.fixture
def provider(issuer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setattr(provider_module, "SECONDS", PATIENCE)
    create_private(tmp_path / "secret", SECRET.encode() + b"\n")
    return Provider(settings(issuer), tmp_path, f"http://{HOST}/log-in/return")


class Desk:
    """A console whose people come in by a provider, and one browser."""

    def __init__(self, console: ConsoleBench, provider: Provider) -> None:
        console.time.seconds = time.time()
        entrance = ProviderEntrance(provider, console.time.monotonic)
        inside = {"status": HTTPStatus.OK, "text": "You are inside."}
        home = Page("/", Right.ENTER, lambda visit: visit.page("error.html", **inside))
        self.console, self.provider = console, provider
        self.app = console_app(replace(console.parts(), pages=(*entrance.pages, home)))
        self.browser = Browser(self.app)

    def left(self) -> str:
        """Where the browser is sent to."""
        return _onward(self.browser.fill("/log-in/provider", page="/log-in").text)

    def names(self, sub: str, name: str) -> None:
        """What an operator does on the terminal."""
        path = self.provider.folder / "provider.toml"
        issuer = self.provider.settings.issuer
        path.write_text(
            f'issuer = "{issuer}"\nclient_id = "fieldfare"\nclient_secret_file = "secret"\n'
            'roles = { staff = "analyst" }\n'
        )
        subject = named_subject(path, sub)
        self.console.book.add(name, ConsoleRole.ANALYST, lambda _: None, subject)

    def onward(self, back: str) -> str:
        """What a page leads on to that came back from elsewhere, and was sent no cookie."""
        found = urlsplit(back)
        answer = Browser(self.app).get(f"{found.path}?{found.query}")
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        return _onward(answer.text)

    def came(self, sub: str) -> httpx.Response:
        """All of it; the answer to the last request."""
        answer: httpx.Response = self.browser.get(self.onward(agreed(self.left(), sub)))
        return answer


def _onward(page: str) -> str:
    (address,) = re.findall(r'content="0;url=([^"]*)"', page)
    return unescape(address)


def agreed(address: str, sub: str) -> str:
    """What the provider does once that person agreed: where it sends the browser back to."""
    answer = httpx.post(address, data={"sub": sub}, timeout=PATIENCE)
    assert answer.status_code in {302, 303}, answer.text
    return answer.headers["location"]


@pytest.fixture
def desk(console: ConsoleBench, provider: Provider) -> Desk:
    made = Desk(console, provider)
    for sub, name in (("s-1", "anna"), ("s-2", "berta"), ("s-5", "emil")):
        made.names(sub, name)
    return made


def test_somebody_comes_in_by_the_provider_and_goes_out(desk: Desk) -> None:
    assert desk.browser.get("/").headers["location"] == "/log-in"
    before = desk.browser.cookies["fieldfare-test"]
    assert desk.came("s-1").headers["location"] == "/"
    assert desk.browser.cookies["fieldfare-test"] != before
    assert "anna, analyst" in desk.browser.shown("/")
    assert desk.browser.fill("/log-out", page="/").headers["location"] == "/log-in"
    assert desk.browser.get("/").headers["location"] == "/log-in"
    assert [act for act, *_ in desk.console.acts] == ["logged in", "logged out"]


def test_a_browser_is_sent_away_with_a_hash_a_state_and_a_nonce(desk: Desk) -> None:
    asked = [parse_qs(urlsplit(desk.left()).query) for _ in range(2)]
    first, second = asked
    assert first["response_type"] == ["code"]
    assert first["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) > 40
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
    )


def test_what_is_sent_for_a_code_is_the_verifier_of_that_try(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, str]] = []
    asked = Provider._ask_json

    def watched(self: Provider, method: str, url: str, form: Any = None, secret: str = "") -> Any:
        sent.append(dict(form or {}) | {"secret": secret})
        return asked(self, method, url, form, secret)

    left = desk.left()
    monkeypatch.setattr(Provider, "_ask_json", watched)
    desk.browser.get(desk.onward(agreed(left, "s-1")))
    (form,) = [one for one in sent if "code" in one]
    assert [challenge_of(form["code_verifier"])] == parse_qs(urlsplit(left).query)["code_challenge"]
    assert form["secret"] == SECRET
    assert form["redirect_uri"] == f"http://{HOST}/log-in/return"


@pytest.mark.parametrize(
    ("sub", "said"),
    [("s-3", NO_ROLE), ("s-6", NO_ROLE), ("s-4", "number of you (sub) is 's-4'")],
)
def test_whom_no_group_or_no_operator_lets_in_stays_outside(
    sub: str, said: str, desk: Desk
) -> None:
    answer = desk.came(sub)
    assert answer.status_code == 403
    assert said in unescape(answer.text)
    assert desk.browser.get("/").headers["location"] == "/log-in"
    assert desk.console.acts == []


def test_a_name_at_the_provider_is_nobody_s_account(console: ConsoleBench, desk: Desk) -> None:
    """Who edits it before a first log-in would else sign as a reviewer who has no account yet."""
    assert desk.came("s-4").status_code == 403  # who is called anna there, as s-1 is
    assert [one.name for one in console.book.all()] == ["anna", "berta", "emil"]
    assert desk.came("s-5").headers["location"] == "/"
    assert "emil, analyst" in desk.browser.shown("/")  # whatever the provider calls him


def test_no_other_site_uses_up_the_turns(desk: Desk) -> None:
    stranger = Browser(desk.app)  # a browser sends a foreign site's requests without the cookie
    for _ in range(100):
        stranger.cookies.clear()
        assert stranger.get("/log-in/provider").status_code == 405
        assert stranger.sent("/log-in/provider", {}).status_code == 403
        assert stranger.get("/log-in/finish?code=x&state=y").status_code == 403
    assert desk.came("s-1").headers["location"] == "/"


def test_tries_that_begin_here_are_counted(desk: Desk) -> None:
    found = [desk.browser.fill("/log-in/provider", page="/log-in").status_code for _ in range(61)]
    assert (set(found[:60]), found[60]) == ({200}, 429)


def test_an_operator_names_persons_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "provider.toml"
    assert named_subject(path, "") == ""
    with pytest.raises(UsageError, match="leave the option out"):
        named_subject(path, "s-1")
    path.write_text("")
    with pytest.raises(UsageError, match="expected the identity provider's number"):
        named_subject(path, "")


def test_roles_follow_groups_in_the_order_of_the_settings(desk: Desk, provider: Provider) -> None:
    desk.came("s-2")
    assert "berta, reviewer" in desk.browser.shown("/")
    provider.settings = provider.settings.model_copy(
        update={"roles": {"aml-analysts": ConsoleRole.ANALYST}}
    )
    other = Browser(desk.app)
    desk.browser, before = other, desk.browser
    desk.came("s-2")
    assert "berta, analyst" in other.shown("/")
    assert before.get("/").headers["location"] == "/log-in"  # a session of the former role
    assert "role changed" in [act for act, *_ in desk.console.acts]


def test_a_closed_account_stays_closed(desk: Desk) -> None:
    desk.came("s-1")
    desk.console.book.close("anna", lambda _: None)
    assert desk.came("s-1").status_code == 403
    assert desk.browser.get("/").headers["location"] == "/log-in"


def test_a_return_counts_once_in_the_browser_that_left_and_in_time(desk: Desk) -> None:
    onward = desk.onward(agreed(desk.left(), "s-1"))
    stranger = Browser(desk.app)
    stranger.get("/log-in")
    assert stranger.get(onward).status_code == 403  # what an attacker sends to somebody
    assert desk.browser.get(onward).headers["location"] == "/"
    assert desk.browser.get(onward).status_code == 403
    late = desk.onward(agreed(desk.left(), "s-1"))
    desk.console.time.seconds += TRY_SECONDS + 1
    assert desk.browser.get(late).status_code == 403
    other = desk.onward(agreed(desk.left(), "s-1"))
    assert desk.browser.get(re.sub(r"state=\w+", "state=" + "0" * 40, other)).status_code == 403
    assert desk.browser.get(other).status_code == 403


def test_a_code_of_nobody_is_refused(desk: Desk) -> None:
    state = parse_qs(urlsplit(desk.left()).query)["state"][0]
    answer = desk.browser.get(f"/log-in/finish?code=invented&state={state}")
    assert (answer.status_code, NOT_PROVED in unescape(answer.text)) == (403, True)


def test_what_comes_back_is_no_page_of_the_sender_s(desk: Desk) -> None:
    shown = Browser(desk.app).get('/log-in/return?code="><script>x</script>&state=%0d%0aX:y').text
    assert "<script" not in shown
    assert desk.browser.get(f"/log-in/return?code={'x' * 1500}").status_code == 400


@pytest.mark.promises  # `make nightly PART=console`
@pytest.mark.timeout(1_000)
def test_no_line_comes_in_by_a_provider(desk: Desk) -> None:
    """2,000 of them as code, state, token and field; one in ten as the code of a try that began."""
    lines = [one for one in hostile_lines() if len(one) < LONGEST_LINE]
    for number, line in enumerate(lines):
        typed, said = quote_from_bytes(line, safe=""), f"line {number}: {line[:80]!r}"
        desk.console.time.seconds += 2.0  # one more try counts
        token = form_token(desk.browser.cookies.get("fieldfare-test", ""))
        sent = (f"token={typed}", f"token={token}&zz9={typed}")[number % 200 == 1]
        answers = [
            desk.browser.post("/log-in/provider", content=sent, headers={"content-type": FORM}),
            Browser(desk.app).get(f"/log-in/return?code={typed}&state={typed}"),
            desk.browser.get(f"/log-in/return?state=x&code={typed}"),
            desk.browser.get(f"/log-in/finish?code=x&state={typed}"),
        ]
        if number % 10 == 0:
            state = parse_qs(urlsplit(desk.left()).query)["state"][0]
            answers.append(desk.browser.get(f"/log-in/finish?state={state}&code={typed}"))
        for answer in answers:
            judge(answer, said, [SECRET])
            assert "location" not in answer.headers, said
    assert desk.browser.get("/").headers["location"] == "/log-in"
    assert desk.console.acts == []
    desk.console.time.seconds = time.time()
    assert desk.came("s-1").headers["location"] == "/"


@pytest.mark.parametrize("other", ["http://localhost:1", "{issuer}/", "{port}"])
def test_another_issuer_is_not_believed(other: str, issuer: str, provider: Provider) -> None:
    named = other.format(issuer=issuer, port=issuer.replace("localhost", "127.0.0.1"))
    if other == "{port}":  # it answers there, under its own name
        described = {
            "issuer": issuer,
            "authorization_endpoint": issuer,
            "token_endpoint": issuer,
            "jwks_uri": issuer,
        }
        provider._ask_json = lambda *_: described  # type: ignore[method-assign]
    provider.settings = settings(named)
    with pytest.raises(ProviderError, match=re.escape(UNREACHED)):
        provider.address("s", "n", "v")


NOW: Final = 1_800_000_000.0
ISSUER: Final = "https://login.example"
CLAIMS: Final = {
    "iss": ISSUER, "aud": "fieldfare", "sub": "s-1", "nonce": "n" * 43, "exp": int(NOW) + 60
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({}, True),
        ({"aud": ["fieldfare"]}, True),
        ({"aud": ["fieldfare", "other"], "azp": "fieldfare"}, True),
        ({"aud": ["fieldfare", "other"]}, False),
        ({"aud": "other"}, False),
        ({"aud": None}, False),
        ({"azp": "other"}, False),
        ({"iss": f"{ISSUER}/"}, False),
        ({"iss": None}, False),
        ({"nonce": "m" * 43}, False),
        ({"nonce": None}, False),
        ({"nonce": "n"}, False),
        ({"exp": int(NOW) - 61}, False),
        ({"exp": None}, False),
        ({"exp": True}, False),
        ({"exp": "2099"}, False),
        ({"sub": ""}, False),
        ({"sub": "x" * 256}, False),
        ({"sub": 7}, False),
    ],
)
def test_each_claim_is_looked_at(changed: dict[str, Any], good: bool) -> None:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not None}
    if good:
        check_claims(claims, settings(ISSUER), "n" * 43, NOW)
        return
    with pytest.raises(ProviderError, match=re.escape(NOT_PROVED)):
        check_claims(claims, settings(ISSUER), "n" * 43, NOW)


def test_only_the_provider_s_public_key_signs_a_token() -> None:
    own, other = (RSAKey.generate_key(2048, {"kid": "k"}) for _ in range(2))
    keys = {"keys": [own.as_dict(private=False)]}
    good = jwt.encode({"alg": "RS256", "kid": "k"}, dict(CLAIMS), own)
    assert verified_claims(good, keys) == CLAIMS
    head, body = (  # its public key as an HMAC secret: joserfc itself signs no such token
        base64.urlsafe_b64encode(text).rstrip(b"=")
        for text in (b'{"alg":"HS256","kid":"k"}', json.dumps(CLAIMS).encode())
    )
    mac = hmac.new(own.as_pem(private=False), head + b"." + body, hashlib.sha256).digest()
    confused = b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
    forged = [
        jwt.encode({"alg": "RS256", "kid": "k"}, dict(CLAIMS), other),
        confused,
        "eyJhbGciOiJub25lIn0." + good.split(".")[1] + ".",
        good[:-4] + "AAAA",
        "",
    ]
    for token in forged:
        with pytest.raises(ProviderError, match=re.escape(NOT_PROVED)):
            verified_claims(token, keys)
    with pytest.raises(ProviderError):
        verified_claims(good, {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ('issuer = "http://login.example"', "expected https"),
        ('issuer = "https://a@login.example"', "host and a path only"),
        ('roles = { staff = "owner" }', "roles"),
        ("roles = {}", "roles"),
        ('client_secret = "in the file"', "expected no such key"),
    ],
)
def test_settings_that_are_refused(changed: str, said: str, tmp_path: Path) -> None:
    given = {
        "issuer": 'issuer = "https://login.example"',
        "client_id": 'client_id = "fieldfare"',
        "client_secret_file": 'client_secret_file = "secret"',
        "roles": 'roles = { staff = "analyst" }',
    }
    given[changed.partition(" ")[0]] = changed
    (tmp_path / "provider.toml").write_text("\n".join(given.values()))
    with pytest.raises(StudyError, match=said):
        load_provider(tmp_path / "provider.toml", "https://cases.example")


def test_a_secret_has_to_be_there_and_private(tmp_path: Path) -> None:
    path = tmp_path / "provider.toml"
    assert load_provider(path, "https://cases.example") is None
    path.write_text(
        'issuer = "https://login.example"\nclient_id = "fieldfare"\n'
        'client_secret_file = "secret"\nroles = { staff = "analyst" }\n'
    )
    with pytest.raises(UsageError, match="expected the client's secret"):
        load_provider(path, "https://cases.example")
    create_private(tmp_path / "secret", b"x")
    found = load_provider(path, "https://cases.example")
    assert found is not None
    assert found.back == "https://cases.example/log-in/return"
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(KeysError):
        load_provider(path, "https://cases.example")


def test_a_huge_answer_is_refused(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "MOST_BYTES", 10)
    with pytest.raises(ProviderError, match=re.escape(UNREACHED)):
        provider.address("s", "n", "v")
