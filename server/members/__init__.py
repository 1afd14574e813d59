"""Members of a federation.

Enrolment, roster, node registration; imports home, superlink and below.
"""
