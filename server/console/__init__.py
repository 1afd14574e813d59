"""The coordinator's console in a browser: members, studies, what went wrong; runs are in runs/.

Imports every room of server below it but those that sign or start (a contract of import-linter),
and `shared/console`. It reads the home's files, the run store and the SuperLink's state, and
writes accounts and the log of decisions; it opens no key and no token.

place.py          where it works: a home, and its own folder of accounts
members_page.py   members, their keys and their place on the roster
approvals_page.py studies by members: who approved what, and when
propose_page.py   a study's text with what is said of it, and the page before it is signed
incidents_page.py what went wrong, and the log of decisions
upkeep_page.py    notices, clock, certificates
done.py           acts: how the desk is asked, and what is told after
pages.py          the first page, the menu, and the list of all pages
process.py        the process
"""
