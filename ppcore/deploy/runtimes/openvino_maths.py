"""Arctangent, sine and cosine as polynomials, which OpenVINO fuses with what is around them.

Its own kernels for the three go through the array one value after the other (2026.4): on UHDFour
at 3840×2160 they cost 0.6 s of 7. The polynomials err by less than a unit in the last place of float32 or two.
"""

import math

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.passes import ConstantFolding, Manager

# Minimax in z = x²: sin x ≈ x + x·z·P(z) on [-π/2, π/2] to 5e-9, atan x ≈ x + x·z·P(z) on [0, 1] to 7e-9.
SINE = (-0.16666656732559204, 0.008333005011081696, -0.00019805740157607943, 2.598120090624434e-06)
ARCTANGENT = (
    -0.33332985639572144, 0.1999039649963379, -0.14185971021652222, 0.10573917627334595,
    -0.0736667662858963, 0.041121527552604675, -0.015132341533899307, 0.002622197614982724,
)  # fmt: skip
# π in three parts (Cody and Waite): products of the first two with whole numbers up to 2^13 are exact.
PI = (3.140625, 9.67502593994140625e-4, 1.509957990978376432e-7)


def use_polynomials(model: ov.Model) -> None:
    """Replaces Atan, Sin and Cos of what the model computes from its inputs; what is constant is folded before.

    A model without them is left alone: folding would widen int8 weights to float32.
    """
    if not any(node.get_type_name() in MAKERS for node in model.get_ops()):
        return
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    for node in model.get_ordered_ops():
        make = MAKERS.get(node.get_type_name())
        if make is not None and node.get_output_element_type(0) == ov.Type.f32:
            node.output(0).replace(make(node.input_value(0)).output(0))


def _constant(value: float) -> ov.Node:
    return ops.constant(np.float32(value))


def _odd(x: ov.Node, coefficients: tuple[float, ...]) -> ov.Node:
    """x + x·z·P(z), z = x²."""
    z = ops.multiply(x, x)
    value = _constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = ops.add(ops.multiply(value, z), _constant(coefficient))
    return ops.add(x, ops.multiply(ops.multiply(x, z), value))


def _sine(x: ov.Output, shift: float) -> ov.Node:
    """sin(x + shift·π): x less the nearest whole number of π, sign by whether that number is odd."""
    turns = ops.round(ops.add(ops.multiply(x, _constant(1 / math.pi)), _constant(shift)))
    rest, whole = x, ops.subtract(turns, _constant(shift))
    for part in PI:
        rest = ops.subtract(rest, ops.multiply(whole, _constant(part)))
    half = ops.multiply(turns, _constant(0.5))
    sign = ops.subtract(_constant(1), ops.multiply(_constant(4), ops.subtract(half, ops.floor(half))))
    return ops.multiply(_odd(rest, SINE), sign)


def _arctangent(x: ov.Output) -> ov.Node:
    size = ops.abs(x)
    large = ops.greater(size, _constant(1))
    value = _odd(ops.select(large, ops.divide(_constant(1), size), size), ARCTANGENT)
    value = ops.select(large, ops.subtract(_constant(math.pi / 2), value), value)
    return ops.select(ops.less(x, _constant(0)), ops.negative(value), value)


MAKERS = {"Sin": lambda x: _sine(x, 0.0), "Cos": lambda x: _sine(x, 0.5), "Atan": _arctangent}
