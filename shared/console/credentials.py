"""Passwords, second factors and tokens, and what of them is kept.

Passwords: Argon2id (RFC 9106), 64 MiB and three passes, its second recommended choice. Second
factors: TOTP (RFC 6238) with SHA-1, six digits and 30 s, which is what authenticators speak.
Tokens: 32 random bytes, of which only the SHA-256 is kept.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from fieldfare.shared.errors import UsageError

Entropy = Callable[[int], bytes]

MEMORY_KIB: Final = 64 * 1024
PASSES: Final = 3
LANES: Final = 4
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
LEAST_PASSWORD: Final = 12  # characters; a second factor stands beside it
MOST_PASSWORD: Final = 256
LEAST_DIFFERENT: Final = 6  # characters of a password that differ
TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")

STEP_SECONDS: Final = 30
CODE_DIGITS: Final = 6
FACTOR_BYTES: Final = 20
_AROUND: Final = (0, -1, 1)  # steps that a clock may be off
_ISSUER: Final = "Fieldfare"


def password_hash(password: str, entropy: Entropy) -> str:
    """Return what is kept of a password, in PHC form.

    Raises:
        UsageError: it is too short or too plain.
    """
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD or len({*password}) < LEAST_DIFFERENT:
        raise UsageError(
            f"expected a password of {LEAST_PASSWORD} to {MOST_PASSWORD} characters, "
            f"{LEAST_DIFFERENT} of them different, found another: choose a longer one"
        )
    derived = Argon2id(
        salt=entropy(SALT_BYTES),
        length=HASH_BYTES,
        iterations=PASSES,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return derived.derive_phc_encoded(password.encode())


def no_password() -> str:
    """Return what an unknown name is compared with: the same work, and no password fits."""
    salt, found = (
        base64.b64encode(bytes(n)).decode().rstrip("=") for n in (SALT_BYTES, HASH_BYTES)
    )
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${found}"


def is_password(password: str, kept: str) -> bool:
    """Tell whether a password is the one that `kept` was made of."""
    try:
        Argon2id.verify_phc_encoded(password[:MOST_PASSWORD].encode("utf-8", "replace"), kept)
    except InvalidKey:
        return False
    return True


def new_token(entropy: Entropy) -> str:
    """Return a token for a cookie or a link, 43 characters."""
    return base64.urlsafe_b64encode(entropy(TOKEN_BYTES)).decode().rstrip("=")


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def kept_token(token: str) -> str:
    """Return what is kept of a token, hex: it has 256 bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def form_token(token: str) -> str:
    """Return what every form of a visit carries: nobody has it who has not the visit's cookie."""
    return hmac.digest(token.encode(), b"fieldfare-form", "sha256").hex()


def is_form_token(found: str, token: str) -> bool:
    """Tell whether a form came from a page of this visit."""
    return hmac.compare_digest(found.encode("utf-8", "replace"), form_token(token).encode())


def factor_of(link: str, visit: str) -> bytes:
    """Return the second factor that an enrolment link stands for in one visit, 20 bytes.

    It follows from both, so that nothing is kept before the person has proved to have it, and so
    that the link alone, which others handed over or a history holds, is never a second factor.

    Args:
        link: its token.
        visit: the token of the visit's cookie.
    """
    both = f"{link} {visit}".encode("utf-8", "replace")
    return hmac.digest(both, b"fieldfare-factor", "sha256")[:FACTOR_BYTES]


def factor_uri(factor: bytes, person: str, place: str) -> str:
    """Return the second factor as authenticators take it (otpauth)."""
    return _totp(factor).get_provisioning_uri(person, f"{_ISSUER} {place}")


def factor_text(factor: bytes) -> str:
    """Return the second factor as a person types it: base32 in groups of four."""
    text = base64.b32encode(factor).decode()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def code_step(factor: bytes, code: str, now: float, after: int) -> int | None:
    """Return the step of time that a code belongs to; None where it is wrong or was used.

    Args:
        factor: 20 bytes.
        code: six digits, as typed.
        now: seconds since 1970.
        after: the step of the last code that was taken: no code counts twice (RFC 6238, 5.2).
    """
    typed = "".join(code.split())
    if not re.fullmatch(rf"[0-9]{{{CODE_DIGITS}}}", typed):
        return None
    totp, here = _totp(factor), int(now) // STEP_SECONDS
    for step in (here + one for one in _AROUND):
        try:
            totp.verify(typed.encode(), step * STEP_SECONDS)
        except InvalidToken:
            continue
        return step if step > after else None
    return None


def code_of(factor: bytes, now: float) -> str:
    """Return the code that an authenticator shows."""
    return _totp(factor).generate(int(now)).decode()


def _totp(factor: bytes) -> TOTP:
    return TOTP(factor, CODE_DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 -- RFC 6238's own
