"""What a sealed message claims before anything of it was checked: to say where to look."""

import json


def claimed(content: bytes, name: str) -> str | None:
    """Return one text of a message's body as it stands there; None where there is none.

    Never to be believed: it may only choose which error is shown.
    """
    try:
        found = json.loads(content)["body"][name]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
