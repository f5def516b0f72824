"""MobileNet v1 and v2 as operator tables, from their published definitions, to calibrate against published latencies.

v1: Howard et al. 2017 (arXiv 1704.04861), table 1. v2: Sandler et al. 2018 (arXiv 1801.04381), table 2. Rounding of
channels as in the authors' TensorFlow code (tensorflow/models, research/slim/nets/mobilenet); 1001 classes as in their
released files. Batch norm and activations are fused, pooling and softmax left out.
"""

from dataclasses import dataclass, field

from edgefleet_agent.simulate.operators import Kind, Operator, OperatorTable, Precision

N_CLASSES = 1001

V1_BLOCKS = (
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *((1, 512),) * 5,
    *((2, 1024), (1, 1024)),
)
"""Stride and output channels of each depthwise-separable block."""

V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels, repeats and first stride of each row."""


@dataclass
class _Builder:
    """Appends operators while following the image through the network."""

    element_bytes: int
    side: int
    channels: int = 3
    operators: list[Operator] = field(default_factory=list)

    def convolve(self, channels: int, *, kernel: int = 1, stride: int = 1) -> None:
        """A full convolution with SAME padding; its stem counts as dense, as in the fit."""
        self._append(Kind.DENSE, channels, kernel * kernel * self.channels, stride)

    def convolve_depthwise(self, stride: int) -> None:
        """A 3x3 convolution of each channel on its own."""
        self._append(Kind.DEPTHWISE, self.channels, 9, stride)

    def add_residual(self) -> None:
        """Add the block's input: two images read, one written."""
        self.operators.append(Operator(Kind.ELEMENTWISE, 0, 0, 3 * self._n_elements))

    def classify(self) -> None:
        """Average the image and connect it to the classes."""
        n_weights = self.channels * N_CLASSES
        weight_bytes = n_weights * self.element_bytes
        self.operators.append(Operator(Kind.DENSE, n_weights, weight_bytes, self.channels + N_CLASSES))

    @property
    def _n_elements(self) -> int:
        return self.side * self.side * self.channels

    def _append(self, kind: Kind, channels: int, weights_per_output: int, stride: int) -> None:
        n_read = self._n_elements
        self.side, self.channels = -(-self.side // stride), channels
        macs = self._n_elements * weights_per_output
        weight_bytes = channels * weights_per_output * self.element_bytes
        self.operators.append(Operator(kind, macs, weight_bytes, n_read + self._n_elements))


def mobilenet_v1(width: float, side: int, precision: Precision) -> OperatorTable:
    """MobileNet v1 of a width multiplier for square images of ``side`` pixels."""
    net = _Builder(precision.element_bytes, side)
    net.convolve(max(int(32 * width), 8), kernel=3, stride=2)
    for stride, channels in V1_BLOCKS:
        net.convolve_depthwise(stride)
        net.convolve(max(int(channels * width), 8))
    net.classify()
    return OperatorTable(tuple(net.operators), precision)


def mobilenet_v2(width: float, side: int, precision: Precision) -> OperatorTable:
    """MobileNet v2 of a width multiplier for square images of ``side`` pixels."""
    net = _Builder(precision.element_bytes, side)
    net.convolve(_divisible(32 * width), kernel=3, stride=2)
    for expansion, channels, n_repeats, first_stride in V2_BLOCKS:
        for number in range(n_repeats):
            stride = first_stride if number == 0 else 1
            _append_bottleneck(net, expansion, _divisible(channels * width), stride)
    net.convolve(_divisible(1280 * max(width, 1.0)))
    net.classify()
    return OperatorTable(tuple(net.operators), precision)


def _append_bottleneck(net: _Builder, expansion: int, channels: int, stride: int) -> None:
    n_read = net.channels
    if expansion > 1:
        net.convolve(n_read * expansion)
    net.convolve_depthwise(stride)
    net.convolve(channels)
    if stride == 1 and channels == n_read:
        net.add_residual()


def _divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of 8, never less than 90 % of what was asked for."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
