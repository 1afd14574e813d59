"""What the two sides of a console say to each other: a closed list of typed questions and acts.

Imports errors and system only. One side answers browsers; the other, a process of its own, opens
ledgers and keys, and reads nothing but these questions (docs/console.md, "The desk"). Commands ask
a custodian in the same way how it stands.
To add one: a `DeskCall`, a `DeskLine` in the process's list, `client.ask(CALL, question)`.

calls.py       a question with the types of both its ends, and errors as values
asking.py      the console's end: one connection for each question
topics.py      what is told in lines and rows, as every screen and page shows it
answering.py   the other end: who may speak, how much, how long
"""
