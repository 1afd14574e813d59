"""The meaning of bank transaction codes and purpose codes in canonical records."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fieldfare.client.records.canonical_bank import Channel, MemoCategory
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import open_regular

LEFT_OUT = ""


@dataclass(frozen=True)
class BankCodes:
    """Codes and their meaning.

    Attributes:
        channels: bank transaction code, `*` for any part, to a channel; empty: left out.
        purposes: purpose code to a category.
    """

    channels: Mapping[str, str]
    purposes: Mapping[str, str]

    def channel(self, code: str) -> str | None:
        """Return the channel of `PMNT/RCDT/ESCT` or `PRTRY/...`; None where nothing is known."""
        domain, _, rest = code.partition("/")
        family, _, sub = rest.partition("/")
        forms = (code, f"*/*/{sub}", f"{domain}/{family}/*", f"{domain}/*/*")
        return next((self.channels[form] for form in forms if form in self.channels), None)

    def memo(self, purpose: str | None) -> MemoCategory | None:
        """Return the category of a purpose code; None where none is given."""
        if purpose is None:
            return None
        return MemoCategory(self.purposes.get(purpose, MemoCategory.OTHER))


@cache
def standard_codes() -> BankCodes:
    """Return the codes of ISO 20022 as Fieldfare reads them."""
    text = resources.files(__package__).joinpath("bank_codes.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return BankCodes(data["channels"], data["purposes"])


def codes_with(own: Mapping[str, str]) -> BankCodes:
    """Return the standard's codes with an institution's own, which come first."""
    known = standard_codes()
    return BankCodes({**known.channels, **own}, known.purposes)


def own_codes(path: Path) -> dict[str, str]:
    """Read an institution's own codes.

    Raises:
        UsageError: no such file, or something else in it.
    """
    try:
        with open_regular(path) as file:
            data: dict[str, Any] = tomllib.loads(file.read().decode("utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError):
        raise UsageError(f"{path}: expected a TOML file with [channels]; write one") from None
    channels = data.get("channels", {})
    if set(data) != {"channels"} or not isinstance(channels, dict):
        raise UsageError(f"{path}: expected one table [channels], found something else")
    allowed = [LEFT_OUT, *Channel]  # a list: what is found may be anything
    wrong = [code for code, word in channels.items() if word not in allowed]
    if wrong:
        raise UsageError(
            f'{path}: {wrong[0]}: expected one of {", ".join(Channel)} or "", found another'
        )
    return dict(channels)
