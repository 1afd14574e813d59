"""The documents as a site: pages of `docs/`, references generated from the code, notebooks.

`make site` runs `python -m docs.site OUT`. Nothing here is a part of what `fieldfare` installs.
"""
