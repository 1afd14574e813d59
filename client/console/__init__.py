"""The institution's console in a browser: alerts and who works on them.

Imports alerts, journal and home below it, and `shared/console`; holds no key and no ledger, and
opens no record. What a person does goes the way of any user's acts (client/alerts).

place.py       where it works: a home or a casework folder, and its own folder of accounts
queue_page.py  the queue of alerts
pages.py       the first page, the menu, and the list of all pages
process.py     the process
"""
