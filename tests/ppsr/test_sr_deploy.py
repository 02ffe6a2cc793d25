"""Networks of super-resolution exported: every engine's images, whole and in tiles, as large as the scale says."""

import numpy as np
import paddle
import pytest
from sr_reference import randomized

import ppsr
from ppcore.deploy import Predictor
from ppcore.deploy.export import export_model
from ppcore.errors import ConfigError

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


def test_a_network_that_makes_its_images_smaller_is_not_exported(tmp_path):
    with pytest.raises(ConfigError, match="SRCNN: border is 'valid', but must be replicate or zero to be exported"):
        export_model(ppsr.SRCNN(border="valid"), tmp_path / "export", FORMATS)
