"""Names of what a custodian keeps in its ledger beside the debits: of studies, runs and itself.

Run ids and study ids hold no colon, so no request can name any of these.
"""

from typing import Final

LEDGER_STATE: Final = ":ledger"  # beside the studies: outlives them
