"""How a page is drawn.

Words, templates; charts.py without, figures.py with matplotlib. Pure, imports models and below.
"""
