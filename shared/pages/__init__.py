"""How a page is drawn.

Words, templates, charts; pure, imports models and below.
"""
