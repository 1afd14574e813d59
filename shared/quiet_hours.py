"""A part of each day in which nobody is written to and nothing begins by itself.

"22:00-07:00 America/Toronto"    from ten at night until seven in the morning, local time
"08:00-18:00"                    the hours of UTC
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

LONGEST_TEXT: Final = 60
_TEXT: Final = re.compile(
    r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])(?: ([A-Za-z0-9_+/-]+))?"
)


@dataclass(frozen=True)
class QuietHours:
    """Hours of each day, perhaps over midnight.

    Attributes:
        begin, end: of the day, in the zone.
        zone: of the two.
    """

    begin: time
    end: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet hours of this moment end, in UTC; None where there are none.

        Args:
            now: with a time zone.
        """
        local = now.astimezone(self.zone)
        clock, over_midnight = local.time(), self.end < self.begin
        inside = (
            clock >= self.begin or clock < self.end
            if over_midnight
            else self.begin <= clock < self.end
        )
        if not inside:
            return None
        day = local.date() + timedelta(days=int(over_midnight and clock >= self.begin))
        return datetime.combine(day, self.end, self.zone).astimezone(UTC)


def quiet_hours(text: str) -> QuietHours | None:
    """Read quiet hours; an empty text says that there are none.

    Raises:
        ValueError: another form, or a time zone that this machine does not know.
    """
    if not text:
        return None
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError('expected hours such as "22:00-07:00 America/Toronto", or nothing')
    begin, end = (time(int(found[at]), int(found[at + 1])) for at in (1, 3))
    if begin == end:
        raise ValueError("expected two different hours, found the same: there would be no others")
    try:
        zone = ZoneInfo(found[5] or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone of the IANA list, such as Europe/Vienna") from None
    return QuietHours(begin, end, zone)


def _checked(text: str) -> str:
    quiet_hours(text)
    return text


QuietText = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_checked)]
"""Quiet hours in a settings file."""
