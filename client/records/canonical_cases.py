"""Canonical records of NGOs, hotlines and vector tools: summaries, never stories.

Pick lists are those of the Human Trafficking Case Data Standard 2.0 (IOM, CC BY 4.0). There is no
name, birth date, narrative, ad text or picture in any of them (docs/design.md, "The harm rules",
rule 6).
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, field_validator

from fieldfare.client.records.canonical_bank import Canonical, Code, Key, Place

_Picked = TypeVar("_Picked", bound=StrEnum)


class CaseStatus(StrEnum):
    """HTCDS cas_Status."""

    ACTIVE = "Active"
    FOLLOW_UP = "FollowUp"
    CLOSED = "Closed"
    CLOSED_REFERRED = "ClosedReferred"


class TraffickingStatus(StrEnum):
    """HTCDS vic_TraffickingStatus."""

    POSSIBLE = "PossibleVictimOfTrafficking"
    ACTUAL = "ActualVictimOfTrafficking"
    NOT = "NotAVictimOfTrafficking"


class CaseAgeBand(StrEnum):
    """Broad age bands as CTDC publishes them; for counts and audit, never a model's input."""

    UNDER_9 = "0--8"
    UNDER_18 = "9--17"
    UNDER_21 = "18--20"
    UNDER_24 = "21--23"
    UNDER_27 = "24--26"
    UNDER_30 = "27--29"
    UNDER_39 = "30--38"
    UNDER_48 = "39--47"
    OVER_48 = "48+"


class Exploitation(StrEnum):
    """HTCDS vic_TypeOfExploitation."""

    FORCED_LABOUR = "ForcedLabour"
    SEXUAL = "SexualExploitation"
    CHILD_LABOUR = "ChildLabour"
    FORCED_MARRIAGE = "ForcedMarriage"
    SERVITUDE = "Servitude"
    FORCED_MILITARY = "ForcedMilitaryByNonStateActors"
    ORGAN_REMOVAL = "OrganRemoval"
    FORCED_BEGGING = "ForcedBegging"
    FORCED_ADOPTION = "ForcedAdoption"
    SURROGACY = "Surrogacy"
    OTHER = "Other"


class ControlMethod(StrEnum):
    """HTCDS vic_MethodsOfControl."""

    PHYSICAL_THREATS = "PhysicalThreats"
    THREATS_LAW_ENFORCEMENT = "ThreatsLawEnforcement"
    THREATENS_FAMILY = "ThreatensChildrenFamily"
    DEBT_BONDAGE = "DebtBondage"
    FALSE_PROMISES = "FalsePromises"
    PHYSICAL_ABUSE = "PhysicalAbuse"
    SEXUAL_ABUSE = "SexualAbuse"
    TAKES_EARNINGS = "TakesEarnings"
    RESTRICTS_FINANCES = "RestrictsFinancialAccess"
    RESTRICTS_MEDICAL_CARE = "RestrictsMedicalCare"
    WITHHOLDS_NECESSITIES = "WithholdsNecessities"
    PSYCHOLOGICAL_ABUSE = "PsychologicalAbuse"
    PSYCHOACTIVE_SUBSTANCE = "PsychoactiveSubstance"
    EXCESSIVE_HOURS = "ExcessiveWorkingHours"
    WITHHOLDS_DOCUMENTS = "WithholdsDocuments"
    OTHER = "Other"


class Recruitment(StrEnum):
    """HTCDS vic_MethodOfRecruitment."""

    BUSINESS = "AtAPlaceOfBusiness"
    EDUCATION = "AtAnEducationalInstitution"
    WORK = "AtWork"
    SOCIAL_NETWORKS = "ThroughOnlineSocialNetworks"
    ONLINE_ADVERTISEMENT = "ThroughAnOnlineAdvertisement"
    TELEVISION = "ThroughATelevisionAdvert"
    NEWSPAPER = "ThroughANewspaperAdvert"
    FAMILY = "ThroughFamilyOrFamilyEvents"
    FRIENDS = "ThroughFriendsOrSocialEvents"
    OTHER = "Other"


class Relation(StrEnum):
    """HTCDS vic_RelationshipToTrafficker, as the standard spells it."""

    FAMILIAL = "Familial"
    ACQUAINTED = "Acquainted"
    UNACQUAINTED = "Unaquainted"


class SupportNeed(StrEnum):
    """HTCDS spl_Type: the kind of support that is needed or given."""

    EDUCATION = "Education"
    FINANCIAL = "Financial"
    HEALTH = "Health"
    HOUSING = "Housing"
    LEGAL = "Legal"
    LIVELIHOOD = "Livelihood"
    RETURN = "Return"
    SOCIAL_CARE = "SocialCare"
    OTHER = "Other"


class CaseSummary(Canonical):
    """One case, the unit of privacy of an NGO.

    Attributes:
        industry: an ISIC section, A to U.
        consent_research: the person agreed to non-identifying research use; without it a case
            takes no part in anything that leaves (`consented`).
    """

    case_id: Key
    org_id: Key | None = None
    opened: date
    status: CaseStatus
    trafficking_status: TraffickingStatus
    age_band: CaseAgeBand | None = None
    exploitation: tuple[Exploitation, ...] = ()
    control: tuple[ControlMethod, ...] = ()
    recruit_method: Recruitment | None = None
    relation: Relation | None = None
    region_recruit: Place | None = None
    region_exploit: Place | None = None
    industry: Annotated[str, Field(pattern=r"^[A-U]$")] | None = None
    venue_category: Code | None = None
    support_needs: tuple[SupportNeed, ...] = ()
    referral_source: Code | None = None
    consent_research: bool

    @field_validator("exploitation", "control", "support_needs")
    @classmethod
    def _in_order(cls, values: tuple[_Picked, ...]) -> tuple[_Picked, ...]:
        return tuple(sorted(set(values)))  # a set has one form


def consented(cases: Iterable[CaseSummary]) -> Iterator[CaseSummary]:
    """Let only those cases through whose person agreed to research use (the consent gate)."""
    return (case for case in cases if case.consent_research)


class SignalChannel(StrEnum):
    """The channel through which a person reached a hotline."""

    CALL = "call"
    TEXT = "text"
    WEBFORM = "webform"
    EMAIL = "email"
    CHAT = "chat"


class CallerType(StrEnum):
    """The person who reached the hotline."""

    VICTIM = "victim"
    FAMILY = "family"
    COMMUNITY = "community"
    PROFESSIONAL = "professional"
    BUSINESS = "business"
    UNKNOWN = "unknown"


class Assessment(StrEnum):
    """How the operator judged it."""

    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"
    NOT_RELATED = "not_related"


class HotlineSignal(Canonical):
    """One contact of a hotline; `crisis` goes to people at once and never waits for a model."""

    signal_id: Key
    ts: datetime
    channel: SignalChannel
    caller_type: CallerType
    crisis: bool
    case_id: Key | None = None
    topic: Code | None = None
    region: Place | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None  # ISO 639
    referral_made: bool = False
    assessment: Assessment
