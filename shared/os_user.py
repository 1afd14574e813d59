"""The user at the keyboard, as the operating system knows it."""

import os
import pwd


def os_user() -> str:
    """Return the name of the process's real user; its number where it has no name.

    From the user id, not from the environment, where anybody may write any name.
    """
    return user_name(os.getuid())


def user_name(uid: int) -> str:
    """Return the name of a user id; `uid N` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user id without an entry, as containers have
        return f"uid {uid}"
