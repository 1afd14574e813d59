"""What `fieldfare` itself offers to a user of Python: a few names, listed in its `__all__`.

Imports everything; loaded when one of those names is first used.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # before anything loads Flower
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
