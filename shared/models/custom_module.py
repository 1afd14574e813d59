"""A torch module that a study names, with per-unit clipping by Opacus (ghost clipping).

Input: float64 (units, rows, width), hat weights, a constant 1 and zeros; output: (units, rows) or
(units, rows, 1), log-odds. In front of it stands the bias c at the public prevalence. Each bucket
of 128 units is one batch of one shape: a first backward pass gives every unit's norm (Opacus), a
second the sum of clipped gradients, which is rounded to the grid.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.validators import ModuleValidator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldfare.shared.errors import RunError, StudyError
from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.features.features import Feature
from fieldfare.shared.models.dense_layers import one_thread
from fieldfare.shared.models.feature_network import MAX_UNITS, Stream, ordered
from fieldfare.shared.models.interface import GridVectors, check_count
from fieldfare.shared.models.network_facts import CAPACITY, GAMMA_BITS, network_vectors
from fieldfare.shared.models.unit_batches import (
    Chunk,
    Inputs,
    UnitInputs,
    effects,
    slot_rows,
)
from fieldfare.shared.study.allowed_packages import class_named
from fieldfare.shared.study.model_sections import MOST_PARAMETERS

PROBE_SEED: Final = 7
PROBED: Final = 4  # units whose norms are compared with their whole gradients
NORMS_AGREE: Final = 1e-9  # relative; both are float64
RANDOM: Final = ("Dropout", "AlphaDropout", "FeatureAlphaDropout", "RReLU")

Values = NDArray[np.float64]

# Inputs are records: nothing is differentiated by them, and that is no news to whoever trains.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)


def built(module: str, package: str, width: int) -> torch.nn.Module:
    """Build a named module for rows of `width` numbers, in float64.

    Raises:
        StudyError: not permitted here, or a module that per-unit clipping cannot carry; every
            reason, one line each.
    """
    made = class_named(module, package)
    if not (isinstance(made, type) and issubclass(made, torch.nn.Module)):
        raise StudyError(f"model.module: expected a torch module, found {module!r}, which is none")
    with torch.random.fork_rng(devices=[]):
        found: torch.nn.Module = made(width).double()
    reasons = list(_reasons(found))
    if reasons:
        raise StudyError([f"model.module: {reason}" for reason in reasons])
    return found


def _reasons(module: torch.nn.Module) -> Iterator[str]:
    """Say why a module cannot be trained under per-unit clipping."""
    kinds = {type(part).__name__ for part in module.modules()}
    if any(kind.startswith(RANDOM) for kind in kinds):
        yield "expected no dropout: a unit's gradient may not hang on chance"
    if any("BatchNorm" in kind for kind in kinds):
        yield "expected no batch normalisation: it mixes units"
    if any(True for _ in module.buffers()):
        yield "expected no buffers: what a module keeps between batches tells of units"
    for error in ModuleValidator.validate(module, strict=False):
        yield f"expected a module that Opacus validates: {error}".split("\n")[0]
    parameters = list(module.parameters())
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        yield "expected parameters that are all trained"
    if sum(parameter.numel() for parameter in parameters) > MOST_PARAMETERS:
        yield f"expected at most {MOST_PARAMETERS} parameters"
    known = GradSampleModuleFastGradientClipping.NORM_SAMPLERS
    unknown = {
        type(part).__name__
        for part in module.modules()
        if list(part.parameters(recurse=False)) and type(part) not in known
    }
    if unknown:
        layers = ", ".join(sorted(unknown))
        yield f"expected layers that ghost clipping knows (Linear, Embedding), found {layers}"


@dataclass(frozen=True)
class ModuleModel:
    """A study's named module over its features.

    Attributes:
        features: as declared.
        module, package: which module; nothing of it is imported before it is built.
        parameters: how many numbers it learns, as the study says.
        rows: R, the most rows of a unit.
        clipping_norm: C.
    """

    features: tuple[Feature, ...]
    module: str
    package: str
    parameters: int
    rows: int
    clipping_norm: float

    @cached_property
    def inputs(self) -> Inputs:
        """How units are laid out: always in float64."""
        return Inputs(Basis(self.features), self.rows, double=True)

    @cached_property
    def built(self) -> torch.nn.Module:
        """The module; its parameters are whatever was computed with last.

        Raises:
            PackageError, StudyError: as `built`, or it is not as large as the study says.
        """
        found = built(self.module, self.package, self.inputs.width)
        size = sum(parameter.numel() for parameter in found.parameters())
        if size != self.parameters:
            raise StudyError(
                f"model.parameters: expected {size}, which {self.module} learns for these "
                f"features, found {self.parameters}"
            )
        return found

    @property
    def entries(self) -> int:
        """Count the parameters, c included."""
        return 1 + self.parameters

    @property
    def vectors(self) -> GridVectors:
        """Public facts about a unit's gradient vector."""
        return network_vectors(self.entries, self.clipping_norm)

    def initial(self, log_odds: float) -> Values:
        """Return the start: c at the public log-odds, matrices from a public stream, else zeros.

        What the module itself begins with is not read: it may differ between machines.
        """
        stream, parts = Stream(), [np.array([log_odds])]
        for parameter in self.built.parameters():
            size = parameter.numel()
            matrix = parameter.dim() > 1
            parts.append(stream.uniform(size, size // len(parameter)) if matrix else np.zeros(size))
        return np.concatenate(parts)

    @cached_property
    def clipped(self) -> Any:
        """The module as Opacus clips it, made once: its hooks stay in the module."""
        return GradSampleModuleFastGradientClipping(
            self.built,
            loss_reduction="sum",
            max_grad_norm=self.clipping_norm,
            use_ghost_clipping=True,
        )

    def prepare(self, data: EncodedUnits) -> "ModuleSums":
        """Return the units ready for sums.

        Raises:
            RecordsError: too many units, or laid out otherwise.
            RunError: units of a batch change each other, in this module or on this machine.
        """
        check_count(data, MAX_UNITS)
        sums = ModuleSums(self, UnitInputs(self.inputs, data))
        sums.check()
        return sums

    def row_scores(self, parameters: Values, rows: Tensor) -> Tensor:
        """Return (rows,), log-odds of single rows in float64; torch may differentiate them."""
        _load(self.built, parameters)
        scores: Tensor = self.built(rows[:, None, :])
        found: Tensor = scores.reshape(len(rows)) + float(parameters[0])
        return found

    def slot_values(self, parameters: Values) -> Values:
        """Return float64 (slots,): the addition of each slot alone to a score, in log-odds."""
        with one_thread(), torch.no_grad():
            return effects(self.row_scores(parameters, slot_rows(self.inputs)))

    def scores(self, parameters: Values, data: EncodedUnits) -> Values:
        """Return float64 (units,): log-odds, the mean over a unit's rows."""
        found = np.empty(len(data))
        _load(self.built, parameters)
        with one_thread(), torch.no_grad():
            for chunk in UnitInputs(self.inputs, ordered(data)).chunks():
                for part in _batches(chunk):
                    scores = self.built(part.inputs).reshape(part.weights.shape)
                    mean = (part.weights * scores).sum(1) + parameters[0]
                    found[part.places] = mean.numpy()[: len(part.places)]
        return found


def _unseen() -> RunError:
    return RunError(
        "expected a module whose gradients Opacus measures, found another: it uses a layer twice "
        "or not at all, or reads a layer's numbers by itself"
    )


def _load(module: torch.nn.Module, parameters: Values) -> None:
    left = torch.from_numpy(parameters[1:])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(left[: parameter.numel()].reshape(parameter.shape))
            left = left[parameter.numel() :]


def _batches(chunk: Chunk) -> Iterator[Chunk]:
    """Yield each bucket as a batch of 128 places."""
    for bucket in chunk.buckets:
        size = bucket.stop - bucket.start
        yield Chunk(
            _padded(chunk.inputs[bucket]), _padded(chunk.weights[bucket]),
            _padded(chunk.labels[bucket]), chunk.places[bucket], chunk.lengths, (slice(0, size),),
        )  # fmt: skip


def _padded(part: Tensor) -> Tensor:
    found = torch.zeros((CAPACITY, *part.shape[1:]), dtype=part.dtype)
    found[: len(part)] = part
    return found


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ModuleSums:
    """Units of one institution, laid out once."""

    model: ModuleModel
    units: UnitInputs

    def gradient_sum(self, parameters: Values) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients in units of 2^-34.

        *Formal Guarantees*, *Edge cases* and source: as `MlpSums.gradient_sum`, in float64. That
        no arithmetic of a foreign module adds more than 2^-8 C is what float64 leaves 2^40 room
        for, not what was proved of every module.
        """
        return self._sum(parameters, self.model.clipping_norm).astype(np.int64)

    def plain_gradient(self, parameters: Values) -> Values:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        return np.ldexp(self._sum(parameters, math.inf), -GAMMA_BITS)

    def _sum(self, parameters: Values, limit: float) -> Values:
        total = np.zeros(self.model.entries)
        _load(self.model.built, parameters)
        with one_thread():
            for chunk in self.units.chunks():
                for part in _batches(chunk):
                    total += np.rint(np.ldexp(self._bucket(part, parameters[0], limit), GAMMA_BITS))
        return total

    def _bucket(self, part: Chunk, offset: float, limit: float) -> Values:
        """Return float64 (entries,): one bucket's sum of clipped gradients."""
        each, backs, norms = self._norms(part, offset)
        held = norms.isfinite()
        if not held.any():
            return np.zeros(self.model.entries)
        if not held.all():  # they count as zero; zero times their infinity would be no number
            inputs, weights = part.inputs.clone(), part.weights.clone()
            inputs[~held], weights[~held] = part.inputs[held][0], 0.0
            each, backs, norms = self._norms(replace(part, inputs=inputs, weights=weights), offset)
        factors = (limit / norms).clamp(max=1.0) if math.isfinite(limit) else torch.ones_like(norms)
        parameters = list(self.model.built.parameters())
        self.model.clipped.disable_hooks()
        summed = torch.autograd.grad((factors * each).sum(), parameters)
        self.model.clipped.enable_hooks()
        parts = [(factors * backs).sum().reshape(1), *(one.reshape(-1) for one in summed)]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)

    def _norms(self, part: Chunk, offset: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return (places,) losses, their derivatives by c, and norms of whole gradients."""
        scores = self.model.clipped(part.inputs).reshape(part.weights.shape) + offset
        labels = part.labels[:, None].expand_as(scores)
        losses = binary_cross_entropy_with_logits(scores, labels, reduction="none")
        each = (part.weights * losses).sum(1)
        each.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            backs = (part.weights * (torch.sigmoid(scores) - labels)).sum(1)
            norms = (self.model.clipped.get_norm_sample() ** 2 + backs**2).sqrt()
        self.model.clipped.zero_grad()
        return each, backs, norms

    def check(self) -> None:
        """Check on made-up units that no unit changes another unit's result.

        Raises:
            RunError: they do, or their norms are not those of their gradients.
        """
        inputs, draws = self.model.inputs, np.random.default_rng(PROBE_SEED)
        shape = (CAPACITY, inputs.rows)
        rows = torch.from_numpy(draws.random((*shape, inputs.width)))
        weights = torch.full(shape, 1.0 / inputs.rows, dtype=torch.float64)
        labels = torch.arange(CAPACITY).remainder(2).to(torch.float64)
        turn = torch.arange(CAPACITY - 1, -1, -1)
        lone = rows[turn]
        lone[: CAPACITY // 2] = 0.0
        _load(self.model.built, self.model.initial(0.0))
        with one_thread():
            self._check_norms(Chunk(rows, weights, labels, np.arange(CAPACITY), rows, ()))
        found = []
        with one_thread():
            for some, order in ((rows, None), (rows[turn], turn), (lone, turn)):
                labelled = labels if order is None else labels[order]
                chunk = Chunk(some, weights, labelled, np.arange(CAPACITY), rows, ())
                each, _, norms = self._norms(chunk, 0.0)
                both = torch.stack([each.detach(), norms])
                found.append(both if order is None else both[:, order])
        half = CAPACITY // 2
        if not all(torch.equal(found[0][:, :half], other[:, :half]) for other in found[1:]):
            raise RunError(
                "expected a module that computes a unit alike whoever is beside it, found another: "
                "it mixes units of a batch, or its widths are no multiples of 8"
            )

    def _check_norms(self, chunk: Chunk) -> None:
        """Check that the norms which clip are those of the gradients that are added up.

        Opacus sees what layers do. What a module does with a layer's numbers by itself has no part
        in the norm and all of it in the gradient, so that units would pass unclipped.
        """
        try:
            _, _, norms = self._norms(chunk, 0.0)
            for place in range(PROBED):
                alone = torch.zeros_like(chunk.weights)
                alone[place] = chunk.weights[place]
                gradient = self._bucket(replace(chunk, weights=alone), 0.0, math.inf)
                if not math.isclose(np.linalg.norm(gradient), norms[place], rel_tol=NORMS_AGREE):
                    raise _unseen()
        except (NotImplementedError, AttributeError, RuntimeError):  # a layer twice, or never
            raise _unseen() from None
