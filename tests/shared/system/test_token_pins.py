"""A PIN that a token refused is not tried again: a few wrong ones lock it."""

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from fieldfare.shared.errors import KeysError
from fieldfare.shared.system import token_keys
from fieldfare.shared.system.token_keys import open_token_key

URI = "pkcs11:token=bank;object=identity?module-path=/usr/lib/token.so"


class PinIncorrectError(Exception):
    """The token says no."""


class LoggedInError(Exception):
    """Another session is open."""


def test_a_refused_pin_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refuse(*, rw: bool, user_pin: str) -> NoReturn:
        del rw
        tried.append(user_pin)
        raise PinIncorrectError

    token = SimpleNamespace(open=refuse)
    library = SimpleNamespace(get_token=lambda **_: token)
    modules: dict[str, Any] = {
        "pkcs11": SimpleNamespace(lib=lambda _: library),
        "pkcs11.exceptions": SimpleNamespace(
            PKCS11Error=PinIncorrectError,
            PinIncorrect=PinIncorrectError,
            UserAlreadyLoggedIn=LoggedInError,
        ),
    }
    monkeypatch.setattr(token_keys, "_library", modules.__getitem__)
    monkeypatch.setattr(token_keys, "_REFUSED", set())
    for pin in (b"1234", b"1234", b"1234", b"5678", b"1234"):
        with pytest.raises(KeysError) as found:
            open_token_key(URI, pin)
        assert pin.decode() not in str(found.value)
    assert tried == ["1234", "5678"]
