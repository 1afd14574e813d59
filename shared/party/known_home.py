"""A home whose files this version knows: both parties' folders are opened here."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from fieldfare.shared.party.home_files import HomeFile
from fieldfare.shared.party.other_versions import refuse_other_versions
from fieldfare.shared.system.home_folder import HomeFolder


class KnownHome(HomeFolder):
    """One party's folder, with the table of its files.

    Attributes:
        FILES: in which format each kind of file is.
    """

    FILES: ClassVar[Sequence[HomeFile]]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return an existing home that nobody else can reach and no later version wrote in.

        Raises:
            UsageError: no such home; names every problem, one line each, and what to do.
        """
        home = cls.opened_before(path)
        refuse_other_versions(home.path, cls.FILES)
        return home

    @classmethod
    def opened_before(cls, path: Path) -> Self:
        """Return a home that the parent process opened, without a look into any file of it.

        Raises:
            UsageError: no such home, or others can reach it.
        """
        return super().open(path)
