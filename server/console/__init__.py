"""The coordinator's console in a browser: members, runs, what they left behind, what went wrong.

Imports every room of server below it but those that sign or start (a contract of import-linter),
and `shared/console`. It reads the home's files, the run store and the SuperLink's state, and
writes accounts and the log of decisions; it opens no key and no token.

place.py         where it works: a home, and its own folder of accounts
members_page.py  members, their keys and their place on the roster
runs_page.py     runs, and one that the page follows
pages.py         the first page, the menu, and the list of all pages
process.py       the process
"""
