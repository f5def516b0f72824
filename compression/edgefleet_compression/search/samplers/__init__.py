"""How the next point is drawn; one backend per file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.search.samplers.base import Sampler, Situation, Told
from edgefleet_compression.search.samplers.nsga2 import draw_nsga2
from edgefleet_compression.search.samplers.random import draw_random
from edgefleet_compression.search.samplers.tpe import draw_tpe
from edgefleet_compression.search.study import SamplerName

__all__ = ["SAMPLERS", "Sampler", "Situation", "Told"]

SAMPLERS: Final[Mapping[SamplerName, Sampler]] = MappingProxyType(
    {"tpe": draw_tpe, "nsga2": draw_nsga2, "random": draw_random}
)
"""Name -> backend."""
