"""Where a load keeps the positions that it encoded: in memory while they are few, else on a disk.

Files are unnamed and mapped: their pages are given back where memory is short, no other user can
open them, and they are gone with the process (`shared/system/private_files.unnamed_file`).
"""

from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Positions
from fieldfare.shared.system.private_files import unnamed_file

HELD_BYTES: Final = 64 << 20  # of a load, in memory


class Spool:
    """Room for one load."""

    def __init__(self, folder: Path | None = None, held_bytes: int = HELD_BYTES) -> None:
        """Begin in memory.

        Args:
            folder: on whose disk the rest lies; made where it is absent; None: in memory as well.
            held_bytes: that stay in memory.
        """
        self._folder, self._room = folder, held_bytes
        self._file: BinaryIO | None = None

    def kept(self, positions: Positions) -> Positions:
        """Return an array of the same content, in memory or mapped.

        Raises:
            UsageError: the disk has no room.
        """
        self._room -= positions.nbytes
        if self._folder is None or self._room >= 0:
            return positions
        if self._file is None:
            self._file = unnamed_file(self._folder)
        start = self._file.seek(0, 2)
        try:
            self._file.write(np.ascontiguousarray(positions).data)
            self._file.flush()
        except OSError as error:
            raise UsageError(
                f"{self._folder}: expected room for records on its disk, found: {error.strerror}"
            ) from None
        return np.asarray(np.memmap(self._file, np.uint16, "r", start, positions.shape))

    def room(self, shape: tuple[int, int]) -> Positions:
        """Return an array to write, in memory or mapped.

        Raises:
            UsageError: the disk has no room.
        """
        if self._folder is None or self._file is None:
            return np.empty(shape, np.uint16)
        with unnamed_file(self._folder, 2 * shape[0] * shape[1]) as file:
            return np.asarray(np.memmap(file, np.uint16, "w+", 0, shape))
