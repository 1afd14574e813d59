"""Should an institution join: what was compared, by which rule, and how it is said.

And before that, what may be expected of a study, and which settings fit it, by measured trials.
Imports protocol and below. Knows no record: only figures about held-out units.
"""

from typing import Final

TITLE: Final = "Should we join?"
