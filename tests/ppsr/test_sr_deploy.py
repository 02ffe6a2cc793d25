"""Networks of super-resolution exported: every engine's images, whole and in tiles, as large as the scale says."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from sr_reference import randomized

import ppsr
from ppcore.deploy import Padding, Predictor, by_size, manifest
from ppcore.deploy.export import export_model
from ppcore.errors import ConfigError
from ppcore.photo.photo_form import PhotoForm

FORMATS = ("paddle",) if paddle.__version__.startswith("2.") else ("paddle", "onnx")
ENGINES = ("paddle",) if FORMATS == ("paddle",) else ("paddle", "onnxruntime", "openvino")
NETWORKS = {
    "srcnn": lambda: ppsr.SRCNN(widths=(6, 4)),
    "srcnn_zero": lambda: ppsr.SRCNN(form="9-1-5", widths=(6, 4), border="zero"),
    "fsrcnn_x2": lambda: ppsr.fsrcnn(2, d=6, s=4, m=1),
    "fsrcnn_x3": lambda: ppsr.fsrcnn(3, d=6, s=4, m=1),
    "fsrcnn_x4_zero": lambda: ppsr.fsrcnn(4, d=6, s=4, m=1, border="zero", slopes="channel"),
    "fsrcnn_x2_cut": lambda: ppsr.fsrcnn(2, d=6, s=4, m=1, shift=1),
    "vdsr": lambda: ppsr.VDSR(depth=4, width=6),
    "srresnet": lambda: ppsr.SRResNet(width=4, blocks=1, output="clamp"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_engine_makes_the_models_images(name, tmp_path):
    model = randomized(NETWORKS[name]())
    folder = export_model(model, tmp_path / "export", FORMATS)
    for engine in ENGINES:
        for size, tile in (((23, 19), None), ((40, 17), 3 * model.scale), ((2, 3), None)):
            x = np.random.default_rng(0).random((2, model.in_chans, *size), np.float32)
            with paddle.no_grad():
                want = model(paddle.to_tensor(x)).numpy()
            got = Predictor(folder, engine, tile=tile, quiet=True)(x)
            assert got.shape == (2, model.in_chans, size[0] * model.scale, size[1] * model.scale)
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max(), err_msg=f"{engine} {size}")


@pytest.mark.parametrize("name", ["srcnn", "fsrcnn_x3", "vdsr", "srresnet"])
def test_in_bfloat16(name, tmp_path):
    """As near as eight bits of a product are; on processors that have it."""
    if "openvino" not in ENGINES:
        pytest.skip("needs paddle2onnx")
    model = randomized(NETWORKS[name]())
    folder = export_model(model, tmp_path / "export", ("onnx",))
    x = np.random.default_rng(0).random((1, model.in_chans, 24, 19), np.float32)
    exact = Predictor(folder, "openvino", quiet=True)(x)
    try:
        short = Predictor(folder, "openvino", "bf16", tile=7, quiet=True)(x)
    except ConfigError as error:
        assert "this processor has no bfloat16" in str(error)  # noqa: PT017
        pytest.skip(str(error))
    assert short.shape == exact.shape
    assert 0 < np.abs(short - exact).max() < 0.03 * np.abs(exact).max()


def test_the_manifest_says_what_becomes_of_a_photograph(tmp_path):
    for name, form in (
        ("srcnn", PhotoForm("y", 3, enlarged_first=True)),
        ("fsrcnn_x3", PhotoForm("y", 3)),
        ("srresnet", PhotoForm("rgb", 4)),
    ):
        export_model(NETWORKS[name](), tmp_path / name, ("paddle",))
        assert manifest.read(tmp_path / name).photo_form(form.scale) == form


def test_another_output_size_is_not_written(tmp_path):
    model = ppsr.fsrcnn(3, d=6, s=4, m=1)
    spec = model.export_spec()
    model.export_spec = lambda: replace(spec, padding=Padding(scale=2), tiles=None)
    with pytest.raises(
        ConfigError, match=r"gives \[2, 1, 122, 166\] where FSRCNN gives \[2, 1, 183, 249\].*nothing was"
    ):
        export_model(model, tmp_path / "export", ("paddle",))
    assert not list(tmp_path.iterdir())


def test_the_size_of_the_result_chooses_the_engine(tmp_path, monkeypatch):
    folder, used = export_model(NETWORKS["srresnet"](), tmp_path / "export", ("paddle",)), []
    monkeypatch.setattr(by_size, "Predictor", lambda folder, engine, tile: used.append(engine) or np.copy)
    compute = by_size.BySize(folder, None, [(2000, 1996), (2000, 2000)])
    for size in ((500, 499), (500, 500)):
        compute(np.zeros((1, 3, *size), np.float32))
    assert used == ["onnxruntime", "openvino"]


def test_a_network_that_makes_its_images_smaller_is_not_exported(tmp_path):
    with pytest.raises(ConfigError, match="SRCNN: border is 'valid', but must be replicate or zero to be exported"):
        export_model(ppsr.SRCNN(border="valid"), tmp_path / "export", FORMATS)
