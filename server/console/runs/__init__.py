"""Runs in the coordinator's console: how they stand, what they cost, what they answered and left.

Imports what `server/console` may, and of it the place and the acts.

runs_page.py        runs, and one that the page follows
steer_page.py       a proposed study and its runs: who is awaited, what it costs, start and stop
answers_page.py     answers with intervals and pictures
ask_page.py         questions with their price first
transcripts_page.py logs of runs, their file, and a verification
"""
