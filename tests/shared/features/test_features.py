import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fieldfare.shared.features.features import (
    DEFAULT_KNOTS,
    MAX_KNOTS,
    CategoricalFeature,
    Dependence,
    Feature,
    NumericFeature,
    Scale,
    names_linked,
)
from fieldfare.shared.harm_rules import is_protected

ANY: TypeAdapter[Feature] = TypeAdapter(Feature)


def numeric(**changes: Any) -> NumericFeature:
    return NumericFeature.model_validate(
        {"kind": "numeric", "name": "f", "lower": 0, "upper": 7, **changes}
    )


def categorical(**changes: Any) -> CategoricalFeature:
    return CategoricalFeature.model_validate(
        {"kind": "categorical", "name": "f", "levels": ["a", "b"], **changes}
    )


def complaints(build: Any, **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        build(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "age", "AGE", "Age (years)", "age_band", "ageBand", "customer_age", "customerAge",
        "Gender", "gender_code", "sex", "Sex", "SEX", "is_male", "female",
        "nationality", "nationality_iso", "citizenship", "native-country", "nativeCountry",
        "country of birth", "DateOfBirth", "dateofbirth", "date.of.birth", "dob", "DOB_year",
        "birth_year", "yob", "birthday",
        "zip_code", "ZIPCode", "zip", "postcode", "post code", "PostalCode", "postalcode",
        "race", "ethnic_group", "religion",
        "DEBITOR_BIRTH_YEAR", "debitorBirthYear", "debitor.birth.year", "cust birth-year 2",
        "DEBITORBIRTHYEAR", "CUST_DOB1", "client_age2", "avg_age", "age_days", "case_age",
        "debtor_age", "debtor_age_days", "customer_age_minutes", "age_hours", "child_age_hours",
        "customer_debtor_age_minutes", "account_age_of_holder", "card_age_of_the_owner",
        "account_holder_age", "age_of_account_holder", "age_of_credit_card_holder", "holder_zip5",
        "customer_home_country", "native_country_2", "KUNDE_GEBURTSDATUM", "GebDatum", "Geschlecht",
        "Kunde.Alter", "PLZ_Kunde", "Staatsangehörigkeit", "fecha_nacimiento", "edad_cliente",
        "código postal", "Âge", "date_naissance", "nationalité_client", "genre", "d.o.b.",
        "herkunft", "Herkunft", "Herkunftsland_Kunde", "kundenherkunft", "country_of_origin",
        "passport_country", "passportCountry2", "passport_issuing_country", "country of passport",
        "persona", "customer_persona", "Personas", "marital_status", "maritalStatus",
        "marital-status", "estado_civil", "état civil", "Familienstand", "civil status",
    ],
)  # fmt: skip
def test_harm_rule_4_refuses(name: str) -> None:
    assert is_protected(name)
    assert "harm rule 4" in complaints(numeric, name=name)
    assert "harm rule 4" in complaints(categorical, name=name)


@pytest.mark.parametrize(
    "name",
    [
        "account_age_days", "accountAge", "age_of_account", "average", "page", "wage", "message",
        "stage", "sextant", "unisexual", "racetrack_spend", "zipper_sales", "postage",
        "counterparty_country", "international", "days_since_opening", "embrace", "amount",
        "debtor_account_age", "debtor_age_minutes", "payeeAgeHours", "account_id_age",
        "average_age_of_account", "age_of_oldest_account", "customer_account_age", "card_age",
        "KONTO_ALTER", "kontoAlter", "age_of_the_oldest_cards", "relationship_age_years",
        "passage", "percentage", "mileage", "usage_share", "damages", "falter", "agency_fee",
        "merchant_genre", "essex_branch", "terrace", "cupboards_plzx", "month_birt", "R16_payments",
        "mittel_herkunft", "Mittelherkunft", "Herkunft der Mittel", "geld_herkunft",
        "payment_country_of_origin", "passport_checks", "tipo_persona", "personal_loan",
        "persona_juridica", "civil_claims", "martial_arts_spend", "status", "country_of_payee",
    ],
)  # fmt: skip
def test_harm_rule_4_allows(name: str) -> None:
    assert not is_protected(name)
    assert numeric(name=name).name == name


def test_who_means_the_age_of_a_thing_is_told_how_to_say_so() -> None:
    assert "such as account_age_days" in complaints(numeric, name="age_days")
    assert "account_age_days" not in complaints(numeric, name="postcode")


@pytest.mark.parametrize("name", ["R20_linked", "R20_LINKED", "shared_device_Linked "])
def test_a_linked_form_is_refused_by_its_name_whatever_its_tag(name: str) -> None:
    for tag in ("own", "peer"):
        assert "a linked one" in complaints(numeric, name=name, tag=tag)
        assert "a linked one" in complaints(categorical, name=name, tag=tag)
    assert not names_linked("linked_accounts")


def test_linked_features_are_refused_and_own_is_the_default() -> None:
    assert numeric().tag is Dependence.OWN
    assert numeric(tag="peer").tag is Dependence.PEER
    assert "linked" in complaints(numeric, tag="linked")
    assert "linked" in complaints(categorical, tag="linked")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lower": 7}, "lower < upper"),
        ({"lower": 8}, "lower < upper"),
        ({"lower": math.nan}, "finite"),
        ({"upper": math.inf}, "finite"),
        ({"lower": True}, "valid number"),
        ({"upper": "7"}, "valid number"),
        ({"lower": -1, "scale": "log1p"}, "lower > -1"),
        ({"scale": "log"}, "log1p"),
        ({"knots": [1]}, "2 to 12"),
        ({"knots": [i / 2 for i in range(MAX_KNOTS + 1)]}, "2 to 12"),
        ({"knots": [0, 3, 3, 7]}, "strictly increasing"),
        ({"knots": [0, 5, 3, 7]}, "strictly increasing"),
        ({"knots": [-1, 7]}, "between lower and upper"),
        ({"knots": [0, 7.5]}, "between lower and upper"),
        ({"knots": [0, math.nan]}, "finite"),
        ({"knots": [0, 5e-324]}, "too close"),
        ({"knots": [3, math.nextafter(3, 4)]}, "too close"),
        ({"lower": -1.7e308, "upper": 1.7e308, "knots": [-1.7e308, 1.7e308]}, "too far apart"),
        ({"lower": -1.7e308, "upper": 1.7e308}, "knots"),
        ({"lower": 1.0, "upper": math.nextafter(1, 2)}, "knots"),
        ({"special": [0, 1, 0]}, "special: expected different"),
        ({"special": [0.0, -0.0]}, "special: expected different"),
        ({"special": list(range(9))}, "at most 8"),
        ({"special": [math.inf]}, "finite"),
        ({"unit": "EUR"}, "unit"),
        ({"name": ""}, "at least 1"),
        ({"name": "x" * 129}, "at most 128"),
    ],
)
def test_numeric_mistakes_are_refused(changes: dict[str, Any], said: str) -> None:
    assert said in complaints(numeric, **changes)


def test_mistakes_of_one_feature_are_said_together() -> None:
    said = complaints(numeric, name="zip", tag="linked", lower=3, upper=3, special=[1, 1], typo=1)
    for part in ("harm rule 4", "linked", "typo"):
        assert part in said
    said = complaints(numeric, lower=3, upper=3, special=[1, 1])
    assert "lower < upper" in said
    assert "special" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": []}, "at least 1"),
        ({"levels": ["a", "a"]}, "different levels"),
        ({"levels": ["a", " b"]}, "trimmed"),
        ({"levels": [1, 2]}, "valid string"),
        ({"levels": [str(i) for i in range(513)]}, "at most 512"),
        ({"levels": "ab"}, "tuple"),
        ({"lower": 0}, "lower"),
    ],
)
def test_categorical_mistakes_are_refused(changes: dict[str, Any], said: str) -> None:
    assert said in complaints(categorical, **changes)


def test_knots_are_filled_in_evenly_on_the_scale() -> None:
    assert numeric().knots == tuple(float(i) for i in range(DEFAULT_KNOTS))
    knots = numeric(lower=0, upper=127, scale="log1p").knots
    expected = [math.expm1(math.log(128) * i / 7) for i in range(8)]  # 2^i - 1
    assert knots == pytest.approx(expected, rel=1e-5)
    assert knots[1:-1] == tuple(float(f"{knot:.6g}") for knot in knots[1:-1])


def test_filled_in_knots_keep_apart_where_six_digits_would_not() -> None:
    knots = numeric(lower=999_999_900, upper=1_000_000_000).knots
    assert len(knots) == DEFAULT_KNOTS
    assert knots[1] == pytest.approx(999_999_900 + 100 / 7, abs=0.01)


@settings(deadline=None, max_examples=300)
@given(
    lower=st.floats(allow_nan=False, allow_infinity=False),
    upper=st.floats(allow_nan=False, allow_infinity=False),
    scale=st.sampled_from(["linear", "log1p"]),
    knots=st.lists(st.floats(), max_size=14),
)
def test_what_is_accepted_has_increasing_knots_and_whatever_is_not_is_a_validation_error(
    lower: float, upper: float, scale: str, knots: list[float]
) -> None:
    try:
        feature = numeric(lower=lower, upper=upper, scale=scale, knots=sorted(knots))
    except ValidationError:
        return
    scaled = [math.log1p(k) if feature.scale is Scale.LOG1P else k for k in feature.knots]
    assert 2 <= len(scaled) <= MAX_KNOTS
    for left, right in pairwise(scaled):
        assert left < right
        assert math.isfinite(256 / (right - left))
    assert feature.lower <= feature.knots[0]
    assert feature.knots[-1] <= feature.upper


def test_slots_have_names_in_order() -> None:
    feature = numeric(knots=[0, 2.5, 7], special=[-1])
    assert feature.slot_names == ("at 0", "at 2.5", "at 7", "= -1", "missing")
    assert feature.slots == len(feature.slot_names)
    assert categorical().slot_names == ("is a", "is b", "other", "missing")
    assert categorical().slots == len(categorical().slot_names)


def test_features_are_told_apart_by_kind_and_survive_json() -> None:
    for feature in (numeric(special=[0], scale="log1p", tag="peer"), categorical()):
        written = json.dumps(feature.model_dump(mode="json"))
        assert ANY.validate_json(written) == feature
        assert ANY.validate_python(json.loads(written)) == feature
    with pytest.raises(ValidationError, match="kind"):
        ANY.validate_python({"kind": "image", "name": "f"})


def test_a_declaration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        numeric().lower = 1.0  # type: ignore[misc]
