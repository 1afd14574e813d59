"""The harm rules (design section 8) as sentences for whoever acts on a ranking."""

from typing import Final

HARM_RULES: Final = (
    "A possible victim is never the subject of an alert; a person sets each party's role.",
    "No single indicator suffices; look for independent evidence, and for what speaks against.",
    "The software ranks; people decide. It closes, freezes and reports nothing by itself.",
    "Nationality, gender, age and postcode are no inputs; they stay for fairness audits only.",
    "Look-alikes (night-shift workers, travelling nurses, students, migrants sending money home, \
consenting adult sex workers) are not cases: read their false positives with the accuracy.",
    "No images, advertisement texts, case narratives or face templates are kept, shown or sent; \
only vectors are, and numbers that texts were hashed to where they are.",
    "That a report was filed is itself secret: protect labels and metrics like records.",
)
"""In the order of the design: rule 1 comes first."""
