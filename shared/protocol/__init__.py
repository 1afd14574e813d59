"""Messages between parties.

Plan, roster, messages, identities, the secure sum; pure, imports models and below.
"""
