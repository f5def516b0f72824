"""Simulated quantization (fake-quant) of torch networks: what a quantized candidate is, and what its ONNX graph has.

For the compilers (deploy). The ``model`` of a quantized ``TorchCandidate`` is a ``torch.fx.GraphModule``:

- BatchNorm is folded: there is none left; every convolution has a bias.
- Every ``nn.Conv2d`` is a ``QuantizedConv2d``, every ``nn.Linear`` a ``QuantizedLinear`` (subclasses). Attributes:
  ``weight`` float32; ``weight_scale`` float32 (out,), ``weight_zero_point`` int32 (out,), all zero: signed 8 bit,
  symmetric, axis 0, integers -127..127; ``bias`` float32 and already a multiple of ``input_scale * weight_scale``
  (``snap_biases_``), so that the compiler's int32 bias, ``round(bias / (input_scale * weight_scale))``, is exact.
- Every stored activation passes an ``ActivationFakeQuant`` named ``fq_<node>``; attributes ``scale`` float32 scalar,
  ``zero_point`` int32 scalar, ``quant_min``/``quant_max`` (0, 255) or (-128, 127). Points: the input; the output of
  conv, linear and add, after the ReLU that follows; average pooling. Max pooling, flatten, dropout carry the point of
  their input once more, with the same numbers (the same module, called twice). The network's output has a point too: the
  result is dequantized last.

``torch.onnx.export(model.eval(), x, dynamo=False, opset_version=13)`` gives, for each of them:

- activation: ``QuantizeLinear(x, scale, zero_point)`` -> ``DequantizeLinear`` with uint8 (or int8) zero point;
- weight: float32 initializer ``<layer>.weight`` -> ``QuantizeLinear(axis=0)`` -> ``DequantizeLinear(axis=0)``, scale and
  int8 zero point per channel. The compiler folds initializer + QuantizeLinear into an int8 initializer;
- ``Conv`` / ``Gemm(transB=1)`` with a float32 bias initializer ``<layer>.bias``;
- ``Identity`` nodes between initializers: the exporter stores equal constants (zero points) once and refers to them so.
  Resolve them first.

After folding, onnxruntime runs integer kernels throughout: QLinearConv (ReLU absorbed by the zero point), QLinearAdd,
QLinearGlobalAveragePool, QGemm, between one QuantizeLinear and one DequantizeLinear.
"""
