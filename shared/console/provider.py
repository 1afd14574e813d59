"""An institution's own identity provider: OpenID Connect, the authorization code flow with PKCE.

    format = 1
    issuer = "https://login.bank-a.example/realms/bank"
    client_id = "fieldfare"
    client_secret_file = "provider-secret"
    groups_claim = "groups"

    [roles]
    "aml-analysts" = "analyst"
    "aml-reviewers" = "reviewer"

The issuer is pinned: its own description has to name it, and every token. Of a token counts what
"OpenID Connect Core 1.0", 3.1.3.7 asks for; state and nonce bind it to one browser and one try.
"""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import PackageError, UsageError
from fieldfare.shared.study.toml import PathText, Section, load_toml
from fieldfare.shared.system.addresses import is_loopback
from fieldfare.shared.system.private_files import read_private

SECONDS: Final = 10.0
MOST_BYTES: Final = 256 * 1024  # of an answer
LEEWAY: Final = 60  # seconds between two clocks
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
UNREACHED: Final = "The identity provider did not answer as it should: try again later."
NOT_PROVED: Final = "The identity provider did not prove who you are: begin again."
NO_ROLE: Final = "The identity provider names no group of yours that has a role here."


def _check_text(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("expected a URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ValueError("expected https, or http to this machine itself")
    if not url.host or url.userinfo or url.query or url.fragment:
        raise ValueError("expected a URL of a host and a path only")
    return text


Address = Annotated[str, Field(max_length=1000), AfterValidator(_check_text)]
ClaimName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,100}$")]


class ProviderSettings(Section):
    """`provider.toml` in the console's own folder; where it is, nobody logs in with a password.

    Attributes:
        issuer: as the provider calls itself, to the letter.
        client_id: under which the provider knows this console.
        client_secret_file: a private file; a path in the console's folder, or absolute.
        groups_claim: a list of groups, or one.
        roles: role of each group; of several, the first that stands here.
        authority: PEM file of who signed the provider's certificate; empty: the system's.
    """

    format: Literal[1] = 1
    issuer: Address
    client_id: str = Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
    client_secret_file: PathText
    groups_claim: ClaimName = "groups"
    roles: dict[str, Annotated[ConsoleRole, Field(strict=False)]] = Field(min_length=1)
    authority: PathText | Literal[""] = ""


class _Description(BaseModel):
    """What of a provider's own description counts ("OpenID Connect Discovery 1.0", 3)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    issuer: str
    authorization_endpoint: Address
    token_endpoint: Address
    jwks_uri: Address


@dataclass(frozen=True)
class VouchedPerson:
    """Whom a provider vouches for.

    Attributes:
        subject: issuer and `sub`, which never go to another person.
        role: of the first group that has one.
    """

    subject: str
    role: ConsoleRole


class ProviderError(Exception):
    """A log-in that the provider did not carry; one sentence for the person."""


@dataclass
class Provider:
    """One provider, described by itself.

    Attributes:
        settings: of the console.
        folder: that relative paths are below.
        back: the address of the console to which it sends people back.
    """

    settings: ProviderSettings
    folder: Path
    back: str
    _described: _Description | None = field(default=None, repr=False)

    def address(self, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to.

        Args:
            state: comes back with the browser.
            nonce: comes back in the token.
            verifier: of PKCE (RFC 7636); only its hash is sent.

        Raises:
            ProviderError: the provider does not answer.
        """
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.back,
            "scope": "openid profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{self._description().authorization_endpoint}?{urlencode(asked)}"

    def person(self, code: str, nonce: str, verifier: str, now: float) -> VouchedPerson:
        """Return who stands behind a code.

        Args:
            code: that the browser brought back.
            nonce: that this try was begun with.
            verifier: of PKCE, likewise.
            now: seconds since 1970.

        Raises:
            ProviderError: no answer, no valid token, or no role.
        """
        secret = read_private(self.folder / self.settings.client_secret_file).decode().strip()
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.back,
            "code_verifier": verifier,
        }
        described = self._description()
        answer = self._ask_json("POST", described.token_endpoint, given, secret)
        token = answer.get("id_token")
        keys = self._ask_json("GET", described.jwks_uri)
        claims = verified_claims(token if isinstance(token, str) else "", keys)
        check_claims(claims, self.settings, nonce, now)
        return self._read_person(claims)

    def _read_person(self, claims: Mapping[str, Any]) -> VouchedPerson:
        groups = claims.get(self.settings.groups_claim)
        held = [groups] if isinstance(groups, str) else groups
        if not isinstance(held, list):
            raise ProviderError(NO_ROLE)
        role = next((role for group, role in self.settings.roles.items() if group in held), None)
        if role is None:
            raise ProviderError(NO_ROLE)
        return VouchedPerson(subject_of(self.settings.issuer, claims["sub"]), role)

    def _description(self) -> _Description:
        if self._described is None:
            where = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                found = _Description.model_validate(self._ask_json("GET", where))
            except ValidationError:
                raise ProviderError(UNREACHED) from None
            if found.issuer != self.settings.issuer:
                raise ProviderError(UNREACHED)
            self._described = found
        return self._described

    def _ask_json(
        self, method: str, url: str, form: Mapping[str, str] | None = None, secret: str = ""
    ) -> dict[str, Any]:
        """Return a JSON object; nothing that the other side said is shown to anybody."""
        who = httpx.BasicAuth(self.settings.client_id, secret) if secret else None
        authority = self.settings.authority
        try:
            trust = ssl.create_default_context(
                cafile=str(self.folder / authority) if authority else None
            )
            with (
                httpx.Client(verify=trust, trust_env=False, timeout=SECONDS) as client,
                client.stream(method, url, data=form, auth=who) as answer,
            ):
                content = b""
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise ProviderError(UNREACHED)
                if answer.status_code != httpx.codes.OK:
                    raise ProviderError(NOT_PROVED if form else UNREACHED)
                found = httpx.Response(200, content=content).json()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError):
            raise ProviderError(UNREACHED) from None
        if not isinstance(found, dict):
            raise ProviderError(UNREACHED)
        return found


def subject_of(issuer: str, sub: str) -> str:
    """Return who it is, for good: a provider, and its own number of the person."""
    return f"{issuer} {sub}"


def named_subject(path: Path, sub: str) -> str:
    """Return whom an operator means by `sub`; nothing where people log in with passwords.

    Args:
        path: of `provider.toml`.
        sub: the provider's number of the person, as typed; may be empty.

    Raises:
        StudyError: lists every mistake of the file.
        UsageError: there is a provider and no number, or the other way round.
    """
    if path.exists() and sub:
        return subject_of(load_toml(path, ProviderSettings).issuer, sub)
    if path.exists():
        raise UsageError(
            "--sub: expected the identity provider's number of the person (`sub`), found none: "
            "look it up there; a name can be another person's tomorrow"
        )
    if sub:
        raise UsageError(f"--sub: expected {path}, found no such file: leave the option out")
    return ""


def challenge_of(verifier: str) -> str:
    """Return what is sent of a PKCE verifier: its hash (RFC 7636, section 4.2, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def verified_claims(token: str, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a token's claims after its signature was verified, by a public key of the provider.

    Raises:
        ProviderError: no token, or another signature; none and HMAC never count.
    """
    # Not above: an extra of its own, that only a console with a provider has.
    from joserfc import jwt  # noqa: PLC0415
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import KeySet  # noqa: PLC0415

    try:
        known = KeySet.import_key_set({"keys": keys["keys"]})
        claims = jwt.decode(token, known, algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise ProviderError(NOT_PROVED) from None
    return dict(claims)


def check_claims(
    claims: Mapping[str, Any], settings: ProviderSettings, nonce: str, now: float
) -> None:
    """Check what a token says of itself ("OpenID Connect Core 1.0", 3.1.3.7).

    Raises:
        ProviderError: another issuer, audience or try, or it is over.
    """
    audience, subject = claims.get("aud"), claims.get("sub")
    audiences = audience if isinstance(audience, list) else [audience]
    ends, said = claims.get("exp"), claims.get("nonce")
    fits = (
        claims.get("iss") == settings.issuer,
        settings.client_id in audiences,
        claims.get("azp", settings.client_id) == settings.client_id,
        len(audiences) == 1 or "azp" in claims,
        isinstance(ends, int) and not isinstance(ends, bool) and now < ends + LEEWAY,
        isinstance(said, str) and hmac.compare_digest(said.encode(), nonce.encode()),
        isinstance(subject, str) and 0 < len(subject) <= 255,  # noqa: PLR2004 -- the standard's
    )
    if not all(fits):
        raise ProviderError(NOT_PROVED)


def load_provider(path: Path, at: str) -> Provider | None:
    """Read `provider.toml` where there is one.

    Args:
        path: of the file.
        at: the console's address, as people type it.

    Raises:
        StudyError: lists every mistake, one line each.
        PackageError: the extra is not installed.
        UsageError: the client's secret is missing.
        KeysError: it is open to others.
    """
    if not path.exists():
        return None
    settings = load_toml(path, ProviderSettings)
    try:
        import joserfc  # noqa: F401, PLC0415 -- an extra
    except ImportError:
        raise PackageError(
            f"{path}: expected the extra that it needs, found none: pip install 'fieldfare[oidc]'"
        ) from None
    secret = path.parent / settings.client_secret_file
    if not secret.exists():
        raise UsageError(f"{secret}: expected the client's secret, found no such file")
    read_private(secret)
    return Provider(settings, path.parent, f"{at}/log-in/return")
