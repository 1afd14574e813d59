"""Canonical bank records: one form for transactions, accounts and customers of every source.

Amounts are whole minor units (cents) in the account's currency: sums are exact in any order. Keys
(`*_key`) are keyed hashes that the institution made; they mean nothing elsewhere and never leave.
There is no name, address, birth date, nationality or gender here, and no memo text: an institution
derives `memo_category` and keeps the text (docs/design.md, "The harm rules", rules 4 and 6).
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_KEY: Final = 64  # a SHA-256 in hex; too short for a picture, or for a sentence worth reading
MAX_MINOR: Final = 10**13  # of one amount: a million of them still add up below 2^63

# Without the comma that a data URI needs, and the brackets of lists and markup.
Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY, pattern=r"^[A-Za-z0-9_.:@=+/*-]+$")]
Place = Annotated[str, Field(min_length=1, max_length=MAX_KEY, pattern=r"^[^:;<>\[\]{}=]+$")]
Code = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9_.+-]+$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]  # ISO 3166-1 alpha-2
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]  # ISO 4217
Mcc = Annotated[str, Field(pattern=r"^\d{4}$")]  # ISO 18245
Small = Annotated[int, Field(ge=0, le=10_000)]


class Direction(StrEnum):
    """Seen from the account."""

    IN = "in"
    OUT = "out"


class Channel(StrEnum):
    """How money came in or went out."""

    POS = "POS"
    ECOM = "ECOM"
    P2P = "P2P"
    ACH = "ACH"
    WIRE = "WIRE"
    CHEQUE = "CHEQUE"
    ATM_WD = "ATM_WD"
    ATM_DEP = "ATM_DEP"
    CASH_DEP = "CASH_DEP"
    CASH_WD = "CASH_WD"
    PREPAID_LOAD = "PREPAID_LOAD"
    VASP_IN = "VASP_IN"
    VASP_OUT = "VASP_OUT"
    MSB = "MSB"
    PAYROLL = "PAYROLL"
    FEE = "FEE"


class CounterpartyType(StrEnum):
    """Kind of the other side of a transaction."""

    PERSON = "person"
    BUSINESS = "business"
    PLATFORM = "platform"
    GOV = "gov"
    UNKNOWN = "unknown"


class MemoCategory(StrEnum):
    """The category that an institution's own tool gave a payment's text; the text stays there."""

    SALARY = "salary"
    RENT = "rent"
    UTILITIES = "utilities"
    TUITION = "tuition"
    BENEFIT = "benefit"
    PENSION = "pension"
    REFUND = "refund"
    LOAN = "loan"
    TAX = "tax"
    INSURANCE = "insurance"
    SUBSCRIPTION = "subscription"
    GOODS = "goods"
    SERVICE = "service"
    TRANSFER = "transfer"
    AD_CLASSIFIED = "ad_classified"
    AGENCY_FEE = "agency_fee"
    OTHER = "other"


class IncomeBand(StrEnum):
    """Declared income of a year, in thousands of currency units; the lower end stands for it."""

    UNDER_10 = "0-10"
    UNDER_25 = "10-25"
    UNDER_50 = "25-50"
    UNDER_100 = "50-100"
    UNDER_250 = "100-250"
    OVER_250 = "250+"


class EmployeeBand(StrEnum):
    """Declared number of employees."""

    NONE = "0"
    UP_TO_4 = "1-4"
    UP_TO_9 = "5-9"
    UP_TO_19 = "10-19"
    UP_TO_49 = "20-49"
    OVER_50 = "50+"


class CustomerKind(StrEnum):
    """A natural person or a business."""

    PERSON = "person"
    BUSINESS = "business"


class AgeBand(StrEnum):
    """For the fairness audit inside the institution only, never a feature (rule 4)."""

    UNDER_18 = "0-17"
    UNDER_25 = "18-24"
    UNDER_35 = "25-34"
    UNDER_50 = "35-49"
    UNDER_65 = "50-64"
    OVER_65 = "65+"


class Canonical(BaseModel):
    """Base of every canonical record: closed, frozen, and finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Transaction(Canonical):
    """One entry of one account's statement.

    Attributes:
        ts_utc: when it happened; UTC, without a zone.
        tz_offset_min: minutes that local time at the customer is ahead of UTC.
        amount_minor: minor units of `currency`, positive in both directions.
        merchant_key: one merchant; `counterparty_key`: one account, person or billed line.
        terminal_city: where a machine or branch stood; `merchant_city`: where a merchant is.
        conductor_is_holder: whether the account's holder stood at the counter.
        ticket_count: of a transport booking, how many travellers.
        branch_items: how many items of the institution's branch checklist were ticked
            (FIN-2020-A008 lists ten); no item by itself.
        is_attempted: it did not go through. `reversal_of`: it takes back that transaction.
    """

    txn_id: Key
    org_id: Key | None = None
    account_id: Key
    ts_utc: datetime
    tz_offset_min: Annotated[int, Field(ge=-840, le=840)] = 0
    booking_date: date | None = None
    direction: Direction
    amount_minor: Annotated[int, Field(ge=0, le=MAX_MINOR)]
    currency: Currency
    channel: Channel
    mcc: Mcc | None = None
    merchant_key: Key | None = None
    merchant_city: Place | None = None
    merchant_country: Country | None = None
    counterparty_key: Key | None = None
    counterparty_type: CounterpartyType = CounterpartyType.UNKNOWN
    counterparty_org: Key | None = None
    counterparty_country: Country | None = None
    memo_category: MemoCategory | None = None
    terminal_city: Place | None = None
    device_key: Key | None = None
    conductor_is_holder: bool | None = None
    ticket_count: Small | None = None
    branch_items: Annotated[int, Field(ge=0, le=10)] | None = None
    is_attempted: bool = False
    reversal_of: Key | None = None


class Account(Canonical):
    """One account; a customer may have several.

    Attributes:
        home_city: written as the transactions' cities are.
        country: of the account, for telling what is abroad; not its holder's nationality.
        poa_count: powers of attorney that other people hold over it.
    """

    account_id: Key
    customer_id: Key
    type: Code | None = None
    currency: Currency | None = None
    opened: date | None = None
    closed: date | None = None
    status: Code | None = None
    home_region: Place | None = None
    home_city: Place | None = None
    country: Country | None = None
    signatory_count: Small | None = None
    poa_count: Small | None = None


class Customer(Canonical):
    """The unit of privacy of a bank (docs/design.md, "The unit"): one customer.

    `age_band` and `region` serve the fairness audit; no indicator can read them.
    `contact_key` is a keyed hash of a phone, an address or a mailbox, for local scoring only.
    """

    customer_id: Key
    kind: CustomerKind = CustomerKind.PERSON
    segment: Code | None = None
    age_band: AgeBand | None = None
    occupation_code: Code | None = None
    declared_income_band: IncomeBand | None = None
    naics: Code | None = None
    employee_band: EmployeeBand | None = None
    onboarding_channel: Code | None = None
    region: Place | None = None
    kyc_risk: Code | None = None
    contact_key: Key | None = None


TABLES: Final[Mapping[str, type[BaseModel]]] = MappingProxyType(
    {"transactions": Transaction, "accounts": Account, "customers": Customer}
)
"""A folder of canonical records: a table of each."""
