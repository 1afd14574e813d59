"""Attacks and audits as tools: each says what it found, and what it can and cannot see.

finding.py      the form of what every tool here says
canaries.py     records that a coin puts in or out, through the whole path: the actual epsilon
door.py         one run through the real door beside the auditor's own arithmetic
defects.py      the defects that the audit of the door has to find
membership.py   does a finished model tell whose records it learned from?
poisoning.py    one liar of ten, and what each defence does about it

Imports federation and below. Nothing of a deployment imports this room.
"""
