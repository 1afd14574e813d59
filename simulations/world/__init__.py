"""An invented world of people, banks, NGOs and a hotline; `making` says how it is made.

Nobody in it exists. Behaviour is at the level of published red flags; whoever
could be a victim is never labelled (docs/design.md, "The harm rules", rule 1), and the
look-alikes of rule 5 are labelled negatives.
"""
