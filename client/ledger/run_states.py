"""Names of what a custodian keeps in its ledger beside the debits: of studies, runs and itself.

Run ids and study ids hold no colon, so no request can name any of these.
"""

from typing import Final

LEDGER_STATE: Final = ":ledger"  # beside the studies: outlives them
SHOWN_REPLY: Final = ":shown-reply"  # of the ledger, as are the next two
RECALL_STATE: Final = ":recall"
DECISION_STATE: Final = ":recall-decision"
APPROVAL_STATE: Final = ":approval"  # of a study

PROGRESS_STATE: Final = "progress:"
FOLLOWED_STATE: Final = "followed:"  # 64 bytes a sum: its request, and the words that came out
MEASURED_STATE: Final = "measured:"  # a run's metrics, as they were read off its sum here
EVALUATED_STATE: Final = "evaluated:"  # the model that a run's evaluation bound, and by which R
OPENED_STATE: Final = "opened:"  # participants of a run's first opening: what travels in it
REHEARSED_STATE: Final = "rehearsed:"  # the attempt and the reply of the last opened rehearsal
GEOMETRY_STATE: Final = "geometry:"  # the coordinates that a run trains in
RUN_STATES: Final = (
    *(OPENED_STATE, PROGRESS_STATE, FOLLOWED_STATE, MEASURED_STATE, EVALUATED_STATE),
    *(REHEARSED_STATE, GEOMETRY_STATE),
)
OPENING_STATE: Final = "opening:"  # the newest of a run, as the coordinator signed it
HEAD_STATE: Final = "head:"  # the head that was co-signed last, by study and run
