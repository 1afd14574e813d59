"""The importers of simulators' files, which `fieldfare institution records import` finds here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fieldfare.client.records.importers.registry import Importer, ImportFormat
from fieldfare.simulations.published.amlsim_files import import_amlsim
from fieldfare.simulations.published.amlworld_files import import_amlworld
from fieldfare.simulations.published.paysim_files import import_paysim

IMPORTERS: Final[Mapping[ImportFormat, Importer]] = MappingProxyType(
    {
        ImportFormat.AMLSIM: Importer(import_amlsim, frozenset({"--bank", "--start"})),
        ImportFormat.AMLWORLD: Importer(import_amlworld, frozenset({"--bank"})),
        ImportFormat.PAYSIM: Importer(import_paysim, frozenset({"--start"})),
    }
)
