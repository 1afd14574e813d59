"""The report at the end of `fieldfare simulate`: one terminal screen and one HTML page.

inputs.py    what the page is given besides results.json and shapes
curves.py    ROC, precision-recall, calibration and their uncertainty (pure numpy)
words.py     results.json in plain words; the screen and the page share them
pictures.py  matplotlib figures as inline SVG
page.py      the page: report.html, filled in
answers.py   answers to questions: true and private side by side, on the page and on the screen
screen.py    the terminal screens: twenty lines, or every figure
"""

from fieldfare.simulations.report.answers import write_answers_report
from fieldfare.simulations.report.inputs import ModelScores
from fieldfare.simulations.report.page import write_report
from fieldfare.simulations.report.screen import details, screen

__all__ = ["ModelScores", "details", "screen", "write_answers_report", "write_report"]
