"""Where noise comes from: exactly two kinds, chosen where a custodian is built.

A closed choice instead of a callback, so that nothing outside can weaken the noise.
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.protection import Protection

MAX_SCALE: Final = 2.0**58  # a draw beyond int64 is 32 standard deviations away
MIN_SCALE: Final = 16.0  # grid units; below, sums of shares are not Gaussian enough (section 2)


class NoiseSource(Protocol):
    """Adds an institution's share of the noise."""

    @property
    def protection(self) -> Protection:
        """Which of the two kinds this is; printed in every result."""
        ...

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        """Return int64 (entries,): noise of standard deviation `scale` in units of gamma."""
        ...


class ExactNoise:
    """Discrete Gaussian noise, sampled exactly from operating-system entropy.

    Formal Guarantees:
        Entries are independent discrete Gaussians of parameter `scale` on the integers,
        with no floating-point error in the sampler (Canonne-Kamath-Steinke 2020,
        implemented by OpenDP). No seed can be set.

    Edge cases:
        | input | result |
        |---|---|
        | scale below 16 or not finite | AccountingError: the accounting rule does not hold |
        | scale above 2^58 | AccountingError: draws would not fit int64 |
        | no entries | shape (0,) |
    """

    protection = Protection.EXACT

    def __init__(self) -> None:
        """Load the sampler; takes nothing, so nothing can be set."""
        # For exact runs only. Not opendp.prelude: it loads scikit-learn and more where they are
        # installed, which a custodian that starts again after a crash has no use for.
        from opendp import domains, measurements, metrics, mod  # noqa: PLC0415

        mod.enable_features("contrib")
        self._domains: Any = domains
        self._distance: Any = metrics.l2_distance(T="f64")
        self._make_gaussian: Any = measurements.make_gaussian
        self._made: tuple[tuple[int, float], Any] | None = None  # the last one, of a run's steps

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        """Return int64 (entries,) discrete Gaussian noise.

        Raises:
            AccountingError: `scale` is below 16 or above 2^58 grid units, or not finite.
        """
        _check_scale(scale)
        if entries == 0:
            return np.zeros(0, dtype=np.int64)
        # Noise on zeros; as an array OpenDP takes them over without a look at each.
        noised = self._mechanism(entries, scale)(np.zeros(entries, dtype=np.int64))
        return np.asarray(noised, dtype=np.int64)

    def _mechanism(self, entries: int, scale: float) -> Any:
        """Return OpenDP's mechanism, which keeps nothing from one draw to the next."""
        made = self._made
        if made is None or made[0] != (entries, scale):
            domain = self._domains.vector_domain(self._domains.atom_domain(T="i64"), size=entries)
            made = (entries, scale), self._make_gaussian(domain, self._distance, scale)
            self._made = made
        return made[1]


class SimulatedNoise:
    """Fast seeded noise for simulations: reproducible, and therefore not private."""

    protection = Protection.SIMULATED

    def __init__(self, generator: np.random.Generator) -> None:
        """Draw from `generator`."""
        self._generator = generator

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        """Return int64 (entries,) rounded Gaussian noise.

        Raises:
            AccountingError: `scale` is below 16 or above 2^58 grid units, or not finite.
        """
        _check_scale(scale)
        return np.rint(self._generator.normal(0.0, scale, entries)).astype(np.int64)


def _check_scale(scale: float) -> None:
    if not scale >= MIN_SCALE:
        raise AccountingError(
            f"expected noise of {MIN_SCALE:g} grid units or more, found {scale:g}: use a finer grid"
        )
    if scale > MAX_SCALE:
        raise AccountingError(
            f"expected noise of at most {MAX_SCALE:g} grid units, found {scale:g}: use a coarser "
            "grid"
        )
