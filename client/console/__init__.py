"""The institution's console in a browser: alerts and who works on them, and how a home stands.

Imports alerts, oversight, approvals, institution, journal, home and wire below it, and
`shared/console`; makes no key, writes no ledger and opens no record. What a person does goes the
way of any user's acts (client/alerts). On a home, pages for the operator and the examiner read the
ledger as `fieldfare institution status` does; a casework folder has none.

place.py         where it works: a home or a casework folder, and its own folder of accounts
queue_page.py    the queue of alerts
alert_page.py    one alert, what is done on it, drafts of reports
studies_page.py  studies, where each stands, and what a person decides on
budget_page.py   what was spent, and the year ahead
journal_page.py  the log
check_page.py    the preflight
pages.py         the first page, the menu, and the list of all pages
process.py       the process
"""
