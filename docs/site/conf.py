"""Settings of Sphinx for the site; it asks nothing of another host, and no page may.

A page's policy (W3C Content Security Policy Level 3) lets a browser load only what lies beside it.
"""

from typing import Any, Final

from sphinx.application import Sphinx

POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'none'; base-uri 'none'; form-action 'self'"
)

project = "Fieldfare"
author = "Fieldfare's authors"
language = "en"
smartquotes = False  # they would make one dash of the two of an option
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "Fieldfare"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it would fetch pages, which a file opened from a folder may not
html_show_sphinx = False
html_show_copyright = False
html_last_updated_fmt = None  # the same sources are the same bytes, on any day
html_theme_options: dict[str, Any] = {"footer_icons": []}
pygments_style = "a11y-high-contrast-light"  # every colour above 4.5 to 1
pygments_dark_style = "github-dark"
suppress_warnings = ["misc.highlighting_failure"]  # SQL that DuckDB reads and Pygments does not


def _guard(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    del app, page, template, doctree
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    context["metatags"] = head + context.get("metatags", "")
    if "body" in context:  # WCAG 2.1.1: what scrolls sideways is reached by keys
        context["body"] = context["body"].replace("<pre>", '<pre tabindex="0">')
    menu = context.get("furo_navigation_tree", "")
    level = 'role="heading" aria-level="2"'  # WAI-ARIA 1.2: a heading says its level
    context["furo_navigation_tree"] = menu.replace('role="heading"', level)


def setup(app: Sphinx) -> None:
    """Put the policy at the head of each page, before anything that could be loaded."""
    app.connect("html-page-context", _guard, priority=900)  # after the theme's own
