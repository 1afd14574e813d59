"""What both consoles share: pages, log-ins, sessions, the shield before them.

Imports errors, system, sqlite and below; beside `client/console` and `server/console` the only room
that may import Starlette. Time, entropy and the log of acts are arguments.

rights.py        roles, rights, and the one table of both
credentials.py   passwords (Argon2id), second factors (TOTP), tokens
accounts.py      the file of accounts, sessions, known browsers and saved views
turns.py         how often somebody may try
shield.py        around everything: Host, size, headers
frame.py         pages with their rights, forms with their tokens, answers, errors, checks
following.py     a part of a page that follows what it shows
provider*.py     log in by an institution's own identity provider
log_in.py        log in, second factor, enrolment, log out
place.py         a console's own folder, beside a home
process.py       a console's process, from its address to its end
terminal.py      accounts on the terminal
layout.html      the frame of every page
"""
