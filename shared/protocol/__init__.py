"""What parties say to each other.

Plan, roster, messages, identities, the secure sum; pure, imports models and below.
"""
