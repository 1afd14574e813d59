"""An indicator in words, and a pack as a study's features."""

import tomllib

from pydantic import TypeAdapter

from fieldfare.client.cli.typologies import shown_lines, study_features
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.features.features import Dependence, NumericFeature

PACK = own_pack()


def test_every_indicator_is_shown_with_its_doubts() -> None:
    for one in PACK.indicators:
        text = "\n".join(shown_lines(one, sql=True))
        assert one.typology.title in text
        assert "our choice, no official cut-off" in text
        assert "what else it may be" in text
        assert one.sql.splitlines()[-1] in text


def test_features_of_a_study() -> None:
    listed = tomllib.loads(study_features(PACK))["features"]
    features = TypeAdapter(list[NumericFeature]).validate_python(listed)
    assert [one.name for one in features] == [spec.name for spec in PACK.features]
    assert {one.tag for one in features} == {Dependence.OWN}
    assert not [one.name for one in features if "linked" in one.name]
