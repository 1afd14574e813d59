from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, plan_for
from fieldfare.shared.ring import encode, to_ring
from fieldfare.shared.run.coordinates import geometry_in, geometry_of, plain_parameters
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.kinds.moments import Moments
from fieldfare.shared.run.kinds.training import Training
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import MomentsRecord

PLAN = plan_for(STUDIES["whitened"]())
TERMS = PLAN.moments
KIND = Moments()
WORDS = encode(to_ring(np.arange(TERMS.vectors.entries) << 10, TERMS.word_bits), TERMS.word_bits)
SUMMED = SummedRelease(TERMS, TERMS.first_step, 4, bytes_hash(WORDS), None)


def test_coordinates_follow_from_the_words_also_without_vectors() -> None:
    record = KIND.write(PLAN, Results(), SUMMED, WORDS)
    assert record == MomentsRecord.of(WORDS)
    found = KIND.read(PLAN, Results(), SUMMED, record.to_bytes()).geometry
    values = np.ldexp(np.arange(TERMS.vectors.entries, dtype=np.float64), 10 - 16)
    assert found is not None
    assert found.hash == geometry_of(PLAN, values, 4).hash
    assert not KIND.is_due(PLAN, Results(geometry=found))
    assert Training().geometry(PLAN, Results(geometry=found)) == found.hash
    assert found.gamma_bits == PLAN.training.vectors.gamma_bits
    with pytest.raises(MismatchError, match="the words of the sum"):
        KIND.read(PLAN, Results(), SUMMED, MomentsRecord.of(WORDS[::-1]).to_bytes())


def test_more_noise_or_a_larger_ridge_is_in_the_coordinates() -> None:
    values = np.ldexp(np.arange(TERMS.vectors.entries, dtype=np.float64), 10 - 16)
    assert geometry_of(PLAN, values, 4).hash != geometry_of(PLAN, values, 3).hash
    section = PLAN.study.geometry
    assert section is not None
    study = PLAN.study.model_copy(update={"geometry": section.model_copy(update={"ridge": 8.0})})
    assert geometry_of(PLAN, values, 4).hash != geometry_of(plan_for(study), values, 4).hash


def test_only_a_study_with_a_geometry_has_moments() -> None:
    plain = plan_for(STUDIES["training"]())
    assert KIND.is_due(PLAN, Results())
    assert not KIND.is_due(plain, Results())
    assert Training().geometry(plain, Results()) == ""
    with pytest.raises(ProtocolError, match="coordinates of its own"):
        geometry_of(plain, np.zeros(1), 4)


def test_it_binds_where_training_starts() -> None:
    state = initial_state(PLAN.study)
    contents = [list(kind.contents(PLAN, Results())) for kind in (KIND, Training())]
    assert [c.hash for c in contents[0]] == [c.hash for c in contents[1]]
    (known,) = KIND.contents(PLAN, Results(training=state))
    assert known.hash == contents[0][0].hash


def test_what_is_delivered_is_plain() -> None:
    values = np.ldexp(np.arange(TERMS.vectors.entries, dtype=np.float64), 10 - 16)
    geometry, state = geometry_of(PLAN, values, 4), initial_state(PLAN.study)
    turned = np.arange(len(state.parameters), dtype=np.float64)
    results = Results(training=replace(state, parameters=turned), geometry=geometry)
    assert results.plain_model is not None
    assert results.plain_model.tolist() == geometry.plain(turned).tolist()
    assert Results(training=replace(state, parameters=turned)).plain_model is turned
    assert Results(geometry=geometry).plain_model is None
    most = plain_parameters(geometry, turned * 1e6)
    assert np.abs(most).max() == PARAMETER_LIMIT


def test_coordinates_of_another_study_are_refused() -> None:
    values = np.ldexp(np.arange(TERMS.vectors.entries, dtype=np.float64), 10 - 16)
    geometry = geometry_of(PLAN, values, 4)
    assert geometry.matrix is not None
    assert geometry_in(PLAN, geometry.to_bytes(), geometry.hash).hash == geometry.hash
    assert geometry_in(PLAN, geometry.to_bytes(), "").hash == geometry.hash
    short = Geometry(8, geometry.mean[:-1], geometry.fraction_bits, geometry.matrix[:-1, :-1])
    coarse = replace(
        geometry, fraction_bits=geometry.fraction_bits - 1, matrix=geometry.matrix // 2
    )
    for content, wanted in (
        (geometry.to_bytes(), "0" * 64),
        (short.to_bytes(), short.hash),
        (coarse.to_bytes(), coarse.hash),
        (b"", ""),
    ):
        with pytest.raises(ProtocolError):
            geometry_in(PLAN, content, wanted)
