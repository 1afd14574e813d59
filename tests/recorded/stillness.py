"""A process in which nothing is by chance: clock, keys, ids and noise follow from a label.

Noise, seeds and clocks are arguments of what is recorded and are injected there where a caller
can reach them. Commands and consoles take the operating system's by themselves, so the origins are
put still for a block: the random source of Python, the keys that `cryptography` makes,
encapsulation and exact noise. ML-KEM's encapsulation takes no randomness as an argument:
ciphertexts are drawn here, and the recipient's own key says which secret each holds (FIPS 203 gives
every ciphertext one).
What OpenSSL draws inside a signature of ECDSA stays random: certificates differ, and are masked.
"""

import hashlib
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol import secure_sum
from fieldfare.shared.protocol.messages import RunAnswer, decode_key, encode_key
from fieldfare.shared.system import clock

NOW: Final = datetime.fromtimestamp(1_800_000_000, UTC)  # as consoles of tests have it
MLKEM_SEED_BYTES: Final = 64
OURS: Final = ("fieldfare", "tests")


class Entropy:
    """Bytes that follow from a label, and from how many were drawn before."""

    def __init__(self, label: str) -> None:
        self.label, self.drawn = label, 0

    def draw(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(f"{self.label} {self.drawn}".encode()).digest(size)

    def token(self, size: int | None = None) -> bytes:
        return self.draw(32 if size is None else size)


class SeededNoise:
    """Noise of a custodian in exact runs, drawn from a seed: for recordings, and never private."""

    protection = Protection.EXACT

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        drawn = np.random.default_rng(int.from_bytes(self._entropy.draw(16)))
        return np.rint(drawn.normal(0.0, scale, entries)).astype(np.int64)


class _StillDatetime(type):
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, datetime)


class StillDatetime(datetime, metaclass=_StillDatetime):
    """`datetime` as modules see it that ask it for the present."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """Return the one moment there is."""
        return NOW.astimezone(tz)


@contextmanager
def stillness(label: str) -> Iterator[Entropy]:
    """Let everything by chance follow from a label while the block lasts."""
    entropy = Entropy(label)
    with pytest.MonkeyPatch.context() as patch:
        _still_random(patch, entropy)
        _still_keys(patch, entropy)
        _still_clock(patch)
        noise = SeededNoise(entropy)
        patch.setattr(ExactNoise, "sample", lambda _, entries, scale: noise.sample(entries, scale))
        patch.setattr(NoiseStock, "expect", lambda *_: None)  # a thread's order is by chance
        yield entropy


def _still_random(patch: pytest.MonkeyPatch, entropy: Entropy) -> None:
    patch.setattr(os, "urandom", entropy.draw)
    patch.setattr(random, "_urandom", entropy.draw)  # of SystemRandom, and of numpy's seeds
    patch.setattr(secrets, "token_bytes", entropy.token)
    _replace(patch, secrets.token_hex, lambda size=None: entropy.token(size).hex(), secrets)


def _still_keys(patch: pytest.MonkeyPatch, entropy: Entropy) -> None:
    private = dict[bytes, MLKEM768PrivateKey]()

    def mlkem() -> MLKEM768PrivateKey:
        made = MLKEM768PrivateKey.from_seed_bytes(entropy.draw(MLKEM_SEED_BYTES))
        private[made.public_key().public_bytes_raw()] = made
        return made

    def encapsulate(recipient: RunAnswer) -> tuple[bytes, str]:
        ciphertext = entropy.draw(secure_sum.MLKEM_CIPHERTEXT_BYTES)
        public = decode_key(recipient.mlkem768, secure_sum.MLKEM_PUBLIC_BYTES)
        return private[public].decapsulate(ciphertext), encode_key(ciphertext)

    def elliptic(curve: ec.EllipticCurve, backend: Any = None) -> ec.EllipticCurvePrivateKey:
        del backend
        return ec.derive_private_key(1 + int.from_bytes(entropy.draw(31)), curve)

    for kind in (Ed25519PrivateKey, X25519PrivateKey):
        made: Any = kind
        patch.setattr(made, "generate", lambda of=made: of.from_private_bytes(entropy.draw(32)))
    patch.setattr(MLKEM768PrivateKey, "generate", mlkem)
    patch.setattr(ec, "generate_private_key", elliptic)
    _replace(patch, secure_sum.encapsulate, encapsulate, secure_sum)


def _still_clock(patch: pytest.MonkeyPatch) -> None:
    _replace(patch, clock.utc_now, lambda: NOW, clock)
    for module in _ours():
        asks = getattr(module, "datetime", None) is datetime and module is not sys.modules[__name__]
        if asks and "datetime.now" in Path(str(module.__file__)).read_text("utf-8"):
            patch.setattr(module, "datetime", StillDatetime)


def _replace(
    patch: pytest.MonkeyPatch, old: Callable[..., Any], new: Callable[..., Any], home: Any
) -> None:
    """Put a function in place of another, in its own module and wherever it was imported to."""
    for module in {id(one): one for one in (home, *_ours())}.values():
        for name in [name for name, value in vars(module).items() if value is old]:
            patch.setattr(module, name, new)


def _ours() -> list[Any]:
    found = [one for name, one in [*sys.modules.items()] if name.partition(".")[0] in OURS]
    return [one for one in found if getattr(one, "__file__", None)]
