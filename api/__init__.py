"""Fieldfare: institutions learn together, and only bounded, noised, masked sums leave them.

The subpackages are the top-level folders: `fieldfare.shared` (what all parties agree on),
`fieldfare.client` (an institution), `fieldfare.server` (the coordinator) and
`fieldfare.simulations` (everything in one process). Importing this name loads none of them.
"""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"  # the one place: pyproject.toml reads it here
