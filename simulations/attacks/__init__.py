"""Attacks and audits as tools: each says what it found, and what it can and cannot see.

finding.py      the form of what every tool here says
ceilings.py     how much an attack found, and the most that any can find under mu
canaries.py     records that a coin puts in or out, through the whole path: the actual epsilon
door.py         one run through the real door beside the auditor's own arithmetic
defects.py      the defects that the audit of the door has to find
membership.py   does a finished model tell whose records it learned from?
inversion.py    what is found in one institution's reply, with and without noise and masks?
labels.py       what does a released evaluation say of the labels of known units?
differencing.py two answers that differ by one unit, two sums that differ by one institution
poisoning.py    one liar of ten, and what each defence does about it
free_rider.py   one of ten that gives nothing: its gain, its cost, who notices

Imports federation and below. Nothing of a deployment imports this room.
"""
