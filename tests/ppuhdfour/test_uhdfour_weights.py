"""The official layout: names, transposed convolutions, the prefix of DataParallel, unused tensors."""

import re
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcore.weights
import ppuhdfour
from ppcore.errors import WeightsError
from ppuhdfour import UHDFour
from ppuhdfour.weights import UNUSED

TINY = dict(extract=4, widths=[4, 8, 12], fusion=4)
UHD = dict(scale=4, **TINY)
LOL = dict(scale=2, refine=2, tail=3, **TINY)


@pytest.fixture(params=[UHD, LOL], ids=["uhd", "lol"])
def model(request):
    paddle.seed(3)
    return UHDFour(**request.param)


def released(model: UHDFour) -> dict[str, np.ndarray]:
    """A file as released: our weights under the official names, what the code never calls, and the prefix."""
    arrays = ppcore.weights.export(model, layout="uhdfour")
    for place in [f"lownet.conv{n}" for n in range(1, 6)] + ["highnet.conv1"]:
        for name in ("frequency_spatial", "spatial_frequency"):
            arrays |= {f"{place}.{name}.weight": np.zeros((4, 4, 3, 3)), f"{place}.{name}.bias": np.zeros(4)}
    if len(model.high.tail) == 1:
        for name in ("con_temp1", "con_temp2"):
            arrays |= {f"highnet.{name}.weight": np.zeros((4, 4, 3, 3)), f"highnet.{name}.bias": np.zeros(4)}
        arrays["highnet.conv3.cat.weight"] = np.zeros((4, 8, 1, 1))
        arrays["highnet.conv4.spatial_process.block.F.norm.weight"] = np.zeros(4)
    return {f"module.{name}": array.astype(np.float32) for name, array in arrays.items()}


def test_a_released_file_loads_whole(model):
    before = ppcore.weights.export(model, layout="paddle")
    arrays = released(model)
    fresh = UHDFour(**(UHD if len(model.high.tail) == 1 else LOL))
    fresh.set_state_dict(ppcore.weights.convert(arrays, source="uhdfour", model=fresh))
    after = ppcore.weights.export(fresh, layout="paddle")
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_up_layers_are_transposed_convolutions_there(model):
    arrays = ppcore.weights.export(model, layout="uhdfour")
    ours = model.low.up1.weight.numpy()  # (out, in, 1, 1)
    assert ours.shape == (8, 20, 1, 1)
    np.testing.assert_array_equal(arrays["lownet.up1.weight"], ours.transpose(1, 0, 2, 3))


def test_a_missing_and_an_unknown_tensor_are_named(model):
    arrays = released(model)
    del arrays["module.lownet.conv2.cat.weight"]
    arrays["module.lownet.conv6.cat.weight"] = np.zeros((4, 4, 1, 1))
    with pytest.raises(
        WeightsError, match=r"missing low\.block2\.merge\.weight.*unexpected lownet\.conv6\.cat\.weight"
    ):
        ppcore.weights.convert(arrays, source="uhdfour", model=model)


def test_what_only_the_other_variant_uses_is_not_dropped_by_the_one_that_does():
    model = UHDFour(**LOL)
    arrays = released(model)
    del arrays["module.highnet.con_temp1.weight"]
    with pytest.raises(WeightsError, match=r"missing high\.tail\.0\.weight"):
        ppcore.weights.convert(arrays, source="uhdfour", model=model)


def test_the_variant_of_the_text_has_no_place_in_it():
    model = UHDFour(paper=True, **UHD)
    with pytest.raises(WeightsError, match="no place for"):
        ppcore.weights.export(model, layout="uhdfour")


def test_names_are_the_released_ones():
    facts = Path(__file__).parents[3] / "shared" / "references" / "uhdfour_keys.txt"
    if not facts.is_file():
        pytest.skip(f"no list of the released names: {facts} is absent")
    shapes = dict(line.split("\t") for line in facts.read_text().splitlines())
    with paddle.LazyGuard():
        model = ppuhdfour.uhdfour()
    ours = {name: np.zeros(tensor.shape, np.int8) for name, tensor in model.state_dict().items()}
    exported = model.weight_maps()["uhdfour"].from_paddle(ours, model)
    for name, array in exported.items():
        assert shapes[name] == str(tuple(array.shape)).replace(" ", " "), name
    left = set(shapes) - set(exported)
    assert len(shapes) == 342
    assert len(exported) == 238
    assert all(any(re.fullmatch(pattern, name) for pattern in UNUSED) for name in left)


def test_a_file_survives_the_way_out_and_in(model, tmp_path):
    for suffix in (".safetensors", ".npz"):
        path = tmp_path / f"weights{suffix}"
        ppcore.weights.save(model, path, layout="uhdfour")
        other = UHDFour(**(UHD if len(model.high.tail) == 1 else LOL))
        ppcore.weights.load(other, path, source="uhdfour")
        for name, tensor in other.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), model.state_dict()[name].numpy())
