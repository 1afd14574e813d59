"""Pages that people read: one self-contained file each, without scripts or outside resources.

words.py        numbers and strangers' names as they are written
shapes.py       each feature's shape, from the parameters
panels.py       where each shape is drawn; panels.html draws it
templates.py    what every page is filled in with
page.css        the look of them all
"""
