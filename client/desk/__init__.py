"""What an institution's console may ask of the side that holds ledger and keys.

Imports everything of an institution but its console; the console imports `calls.py` alone.

calls.py      the closed list, and what is asked and answered
place.py      where the desk listens, for whom
study_reading.py, budget_reading.py, log_reading.py, check_reading.py, model_reading.py
              what the pages show
deciders.py   who may decide in a browser, each with a second factor that no console knows
deciding.py   an approval or rejection by such a person
process.py    the process: answers, collects what persons signed
"""
