"""A model of open sizes in two: tables that follow from the sizes of its inputs alone, and the rest, which reads them.

The tables of a Fourier transform or of a resize are made in the graph from the size. In a graph compiled
for any size that is hundreds of small operators, which cost more than a second to compile and 60 ms at every image
(UHDFour at 0.8 megapixels). Taken out, they are computed once for a size by OpenVINO's reference operators,
which need no compiling (12 to 70 ms).
"""

from collections import OrderedDict

import numpy as np
import openvino as ov
from openvino import opset13 as ops

KEPT = 64  # sizes whose tables are kept, some megabytes each at most


class Tables:
    """What a stage computes from the sizes of its inputs.

    Args:
        model: from inputs, of which it reads the sizes, to tables.
    """

    def __init__(self, model: ov.Model):
        self.model = model
        self.kept: OrderedDict[tuple, dict[str, np.ndarray]] = OrderedDict()

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tables by name for inputs (C-contiguous) of these sizes."""
        key = tuple((name, array.shape) for name, array in inputs.items())
        if key not in self.kept:
            given = [ov.Tensor(inputs[value.any_name], shared_memory=True) for value in self.model.inputs]
            made = [ov.Tensor(value.element_type, [0] * len(value.partial_shape)) for value in self.model.outputs]
            self.model.evaluate(made, given)
            self.kept[key] = {_name(number): tensor.data.copy() for number, tensor in enumerate(made)}
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def drop_identities(model: ov.Model) -> None:
    """Removes operators that change nothing, which Paddle2ONNX writes by the hundred and which have no reference operator."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Identity":
            node.output(0).replace(node.input_value(0))


def take_out(model: ov.Model) -> Tables | None:
    """Makes the model read its tables as further inputs, and returns what computes them; None if it has none.

    A table is an array of numbers, or an index of Gather, that follows from the sizes of the inputs. Sizes themselves, which
    Reshape and its like read, stay: OpenVINO computes them where it infers shapes. The model has no identities.
    """
    sized = _from_sizes(model)
    tables, parameters = [], []
    for node in model.get_ordered_ops():
        for output in node.outputs() if node.get_name() in sized else ():
            readers = [reader for reader in output.get_target_inputs() if reader.get_node().get_name() not in sized]
            readers = [reader for reader in readers if _reads_table(output, reader)]
            if not readers:
                continue
            name = _name(len(tables))
            parameter = ops.parameter(output.get_partial_shape(), output.get_element_type(), name=name)
            parameter.output(0).get_tensor().set_names({name})
            for reader in readers:
                reader.replace_source_output(parameter.output(0))
            parameters.append(parameter)
            tables.append(ops.result(output))
    if not tables:
        return None
    found = Tables(ov.Model(tables, model.get_parameters(), "tables").clone())
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()
    return found


def _name(number: int) -> str:
    """Of a table, as the model's input."""
    return f"table{number}"


def _from_sizes(model: ov.Model) -> set[str]:
    """Names of the operators whose results follow from the sizes of the inputs, constants left out."""
    known, sized = set(), set()
    for node in model.get_ordered_ops():
        name, sources = node.get_name(), [value.get_node() for value in node.input_values()]
        kind = node.get_type_name()
        if kind == "Constant":
            known.add(name)
        elif kind == "ShapeOf" and sources[0].get_type_name() == "Parameter":
            known.add(name)
            sized.add(name)
        elif sources and all(source.get_name() in known for source in sources) and kind != "Result":
            known.add(name)
            if any(source.get_name() in sized for source in sources):
                sized.add(name)
    return sized


def _reads_table(output: ov.Output, reader: ov.Input) -> bool:
    if output.get_partial_shape().rank.get_length() == 0:
        return False
    index = reader.get_node().get_type_name() == "Gather" and reader.get_index() == 1
    return output.get_element_type() == ov.Type.f32 or (index and output.get_partial_shape().is_dynamic)
