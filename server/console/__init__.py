"""The coordinator's console in a browser: members, studies, runs, what went wrong.

Imports every room of server below it but those that sign or start (a contract of import-linter),
and `shared/console`. It reads the home's files, the run store and the SuperLink's state, and
writes accounts and the log of decisions; it opens no key and no token.

place.py          where it works: a home, and its own folder of accounts
members_page.py   members, their keys and their place on the roster
approvals_page.py studies by members: who approved what, and when
propose_page.py   a study's text with what is said of it, and the page before it is signed
runs_page.py      runs, and one that the page follows
steer_page.py     a proposed study and its runs: who is awaited, what it costs, start and stop
answers_page.py   answers with intervals and pictures
ask_page.py       questions with their price first
transcripts_page.py logs of runs, their file, and a verification
incidents_page.py what went wrong, and the log of decisions
upkeep_page.py    notices, clock, certificates
done.py           acts: how the desk is asked, and what is told after
pages.py          the first page, the menu, and the list of all pages
process.py        the process
"""
