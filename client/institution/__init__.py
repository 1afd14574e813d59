"""How an institution is run: its home, keys, policy, log and commands."""
