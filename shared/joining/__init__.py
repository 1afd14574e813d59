"""Should an institution join: what was compared, by which rule, and how it is said.

Imports pages, terminal and below. Knows no record: only figures about held-out units.
"""

from typing import Final

TITLE: Final = "Should we join?"
