"""How each TensorRT target builds. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from edgefleet_compression.precision import Precision

Flag = Literal["fp16", "int8"]
MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class TargetPlan:
    """What the build plans of one target have in common.

    flags: builder flags per precision; not used where networks are strongly typed. max_version: first version that must
    not build it. max_batch: largest batch of the optimization profile.
    """

    min_version: str
    max_version: str | None
    strongly_typed: bool
    workspace_bytes: int
    max_batch: int
    flags: Mapping[Precision, tuple[Flag, ...]]

    @property
    def before_10(self) -> bool:
        """Return whether TensorRT 8 must be able to build it."""
        return self.min_version.startswith("8.")


# int8 with fp16: operators without Q/DQ run in halves rather than in float32, as the vendor advises for explicit
# quantization before strong typing
_FLAGS: Final[Mapping[Precision, tuple[Flag, ...]]] = MappingProxyType(
    {"fp32": (), "fp16": ("fp16",), "int8": ("int8", "fp16")}
)

PLANS: Final[Mapping[str, TargetPlan]] = MappingProxyType(
    {
        # 4 GB of memory for everything: 256 MiB of scratch and batches up to 8
        "tensorrt-8.2": TargetPlan("8.2", "9", False, 256 * MIB, 8, _FLAGS),
        "tensorrt-10.3": TargetPlan("10.3", "11", False, 1024 * MIB, 32, _FLAGS),
        # 11 has no flags any more; 10 builds strongly typed networks too
        "tensorrt": TargetPlan("10.0", None, True, 2048 * MIB, 32, _FLAGS),
    }
)
"""Target name -> its plan. Versions and removed flags: TensorRT 11.4 migration page, docs.nvidia.com."""
