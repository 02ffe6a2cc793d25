"""MBLLEN exported: the network's own images through every engine, whole, in tiles and small, raw and post-processed."""

import numpy as np
import paddle
import pytest

import ppllie
from ppcore.deploy import Predictor
from ppcore.deploy.export import export_model

FORMATS = ("paddle",) if paddle.__version__.startswith("2.") else ("paddle", "onnx")
ENGINES = ("paddle",) if FORMATS == ("paddle",) else ("paddle", "onnxruntime", "openvino")


def network(postprocess: str) -> ppllie.MBLLEN:
    paddle.seed(0)
    model = ppllie.MBLLEN(width=4, depth=2, postprocess=postprocess)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # so that no ReLU is dead
            parameter.set_value(parameter + 0.05)
    model.eval()
    return model


@pytest.fixture(scope="module", params=["none", "released"])
def exported(request, tmp_path_factory):
    model = network(request.param)
    return model, export_model(model, tmp_path_factory.mktemp("export") / "mbllen", FORMATS)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [(40, 36), (13, 90), (5, 7), (1, 1)])
def test_every_engine_makes_the_models_images(exported, engine, size):
    model, folder = exported
    x = np.random.default_rng(0).random((2, 3, *size), np.float32) * np.float32(0.3)
    with paddle.no_grad():
        want = model(paddle.to_tensor(x)).numpy()
    for tile in (None, 9):
        got = Predictor(folder, engine, tile=tile, quiet=True)(x)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_tiles_and_what_follows_them(exported):
    """The network is cut; what looks at the whole image is not."""
    model, folder = exported
    predictor = Predictor(folder, "paddle", tile=4, quiet=True)
    assert [stage.name for stage in predictor.manifest.stages] == (
        ["network"] if model.postprocess == "none" else ["network", "postprocess"]
    )
    assert predictor.manifest.tiles.stage == "network"
    assert predictor.manifest.tiles.halo == model.reach == 15
