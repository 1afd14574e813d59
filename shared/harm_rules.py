"""The harm rules as sentences for people who act on a ranking, and rule 4 by name.

Source: docs/design.md, "The harm rules".

A name is read part by part: `DEBITOR_BIRTH_YEAR`, `debitorBirthYear` and `Debitor birth year` are
one. It is a fence against mistakes, no proof: a column may be called anything.
"""

import re
import unicodedata
from collections.abc import Sequence
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
"""In the order of docs/design.md, "The harm rules": rule 1 comes first."""

# Rule 4: these stay in the institution, for fairness audit only. Race, ethnicity, religion, marital
# status and made-up personas join the four that the rule names: they are no better as model inputs.
_PARTS: Final = frozenset((
    "ageatonboarding", "ageband", "agebracket", "agegroup", "ageinyears", "agerange",
    "ageyears", "applicantage", "born", "citizen", "clientage", "customerage", "dob", "ethnie",
    "etnia", "female", "females", "genero", "holderage", "inhaberalter", "kundenalter", "male",
    "males", "personage", "plz", "postal", "race", "raza", "sex", "sexe", "sexo", "yob", "zip",
))  # fmt: skip  # words of their own: `sextant` is none of them
_WITHIN: Final = (
    "birth", "geburt", "naissance", "nacimiento", "gender", "geschlecht", "nationalit",
    "nacionalidad", "citizenship", "staatsangeh", "staatsb", "ethnic", "religio", "konfession",
    "postcode", "postleitzahl", "zipcode", "postalcode", "codepostal", "codigopostal",
    "lebensalter", "gebdat", "marital", "familienstand", "zivilstand",
)  # fmt: skip
_JOINED: Final = frozenset((
    "dob", "yob", "postcode", "zipcode", "gebdatum", "nativecountry", "homecountry",
    "passportcountry", "passportissuingcountry", "countryofpassport", "civilstatus",
    "estadocivil", "etatcivil",
))  # fmt: skip  # of parts in a row
# As a part, a genre of something, and a type of person: `tipo_persona` is natural or legal.
_WHOLE: Final = frozenset(["genre", "persona", "personas", "customerpersona", "clientpersona"])
_ORIGIN: Final = frozenset(["herkunft", "herkunftsland", "kundenherkunft", "countryoforigin"])
# What may have an origin that is nobody's.
_MOVED: Final = frozenset((
    "betrag", "data", "daten", "device", "funds", "geld", "gelder", "goods", "ip", "mittel",
    "money", "payment", "payments", "product", "transaction", "transactions", "transfer",
    "transfers", "uberweisung", "ueberweisung", "ware", "waren", "zahlung", "zahlungen",
))  # fmt: skip
_LONGEST: Final = 4  # parts in a row

_AGE: Final = frozenset(["age", "ages", "alter", "edad"])
# What may have an age that is nobody's; in the singular.
_THINGS: Final = frozenset((
    "account", "acct", "ad", "address", "advert", "balance", "building", "business", "car",
    "card", "carte", "claim", "company", "compte", "contract", "contrat", "contrato", "credit",
    "cuenta", "debt", "deposit", "device", "document", "domain", "email", "entry", "file",
    "firm", "geraet", "handset", "house", "invoice", "karte", "konto", "listing", "loan",
    "login", "mandate", "membership", "merchant", "order", "password", "payment", "phone",
    "policy", "product", "property", "record", "relationship", "service", "session", "sim",
    "statement", "subscription", "tarjeta", "ticket", "transaction", "txn", "vehicle",
    "vertrag",
))  # fmt: skip
_PERSONS: Final = frozenset((
    "applicant", "beneficiary", "client", "cliente", "customer", "holder", "inhaber", "kunde",
    "owner", "person", "signatory", "titulaire", "titular", "user",
))  # fmt: skip
_BETWEEN: Final = frozenset((
    "a", "active", "all", "average", "avg", "de", "del", "der", "des", "du", "first", "la",
    "last", "latest", "le", "max", "mean", "median", "min", "newest", "of", "oldest", "open",
    "own", "the", "youngest",
))  # fmt: skip
# Parties of a payment, which are accounts as well; nobody's own age is in minutes or hours.
_PARTIES: Final = frozenset(
    ("creditor", "debitor", "debtor", "payee", "payer", "receiver", "sender")
)
_SHORT_UNITS: Final = frozenset(("hours", "minuten", "minutes", "seconds", "sekunden", "stunden"))
_IDS: Final = frozenset(("id", "nr", "number", "nummer"))  # account_id_age
_AGE_REMEDY: Final = (
    "; the age of a thing may stay where its name says of what, such as account_age_days"
)

# Where a capital starts a word: date|Of|Birth, ZIP|Code.
_CAPITAL_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def name_parts(name: str) -> list[str]:
    """Return the words of a column's name in small letters, without accents and digits."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.findall(r"[a-z]+", _CAPITAL_WORDS.sub("_", plain).lower())


def is_protected(name: str) -> bool:
    """Tell whether harm rule 4 keeps a column of this name out of every model.

    *Edge cases.*
        | name                                        | protected                          |
        |---------------------------------------------|------------------------------------|
        | `Date of birth`, `DEBITOR_BIRTH_YEAR`       | yes: every part is looked at       |
        | `age`, `client_age2`, `account_holder_age`  | yes                                |
        | `account_age_days`, `average_age_of_account` | no: the age of a thing            |
        | `debtor_account_age`, `debtor_age_minutes`  | no: of an account                  |
        | `debtor_age`, `debtor_age_days`             | yes: it may be a person's          |
        | `account_age_of_holder`                     | yes                                |
        | `herkunft`, `country_of_origin`             | yes                                |
        | `mittel_herkunft`, `Mittelherkunft`         | no: the origin of money            |
        | `persona`, `marital_status`                 | yes                                |
        | `tipo_persona`                              | no: natural or legal               |
        | `passage`, `percentage`, `average`, `usage` | no: `age` is no part of its own    |
    """
    parts = name_parts(name)
    if _PARTS.intersection(parts) or "".join(parts) in _WHOLE or names_age(name):
        return True
    if any(stem in part for part in parts for stem in _WITHIN):
        return True
    joined = {
        "".join(parts[start:end])
        for start in range(len(parts))
        for end in range(start + 1, min(start + _LONGEST, len(parts)) + 1)
    }
    origin = joined & _ORIGIN and not _MOVED.intersection(parts)
    return bool(origin or joined & _JOINED)


def age_remedy(name: str) -> str:
    """Return what to do about a name that is refused for an age; nothing where it speaks of none.

    The age of a debtor's account is called debtor_account_age, or by a unit such as
    debtor_age_minutes: debtor_age may be a person's.
    """
    return _AGE_REMEDY if names_age(name) else ""


def names_age(name: str) -> bool:
    """Tell whether a name speaks of an age that may be a person's."""
    parts = name_parts(name)
    return any(part in _AGE and not _of_a_thing(parts, at) for at, part in enumerate(parts))


def _of_a_thing(parts: Sequence[str], at: int) -> bool:
    """Tell whether the age at a place is a thing's: `account_age`, `age_of_oldest_account`."""
    after = list(parts[at + 1 :])
    if at and parts[at - 1] in _PARTIES:
        return bool(after) and after[0] in _SHORT_UNITS and not _PERSONS.intersection(parts)
    before = parts[:at]
    if len(before) > 1 and before[-1] in _IDS:
        before = before[:-1]
    if before and _is_thing(before[-1]):
        while after and after[0] in _BETWEEN:
            after.pop(0)
        return not (after and after[0] in _PERSONS)
    if after[:1] in (["of"], ["de"], ["du"], ["des"], ["del"], ["der"]):
        while after and after[0] in _BETWEEN:
            after.pop(0)
        thing = len(after)
        while after and _is_thing(after[0]):
            after.pop(0)
        return len(after) < thing and not (after and after[0] in _PERSONS)
    return False


def _is_thing(part: str) -> bool:
    return part in _THINGS or part.removesuffix("s") in _THINGS
