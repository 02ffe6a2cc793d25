"""SimCLR's head and task: counts, what trains, gradients against torch's formula in numpy, refusals."""

import numpy as np
import paddle
import pytest
from ssl_configs import ALLOW, written

from ppcore.errors import ConfigError
from ppcore.model import parameter_count
from ppssl import ProjectionHead, SimCLRSchedule
from ppssl.image_views import crops_of

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")


@pytest.mark.parametrize(
    ("width", "layers", "count"),
    [(2048, 2, 4_460_672), (2048, 3, 8_659_072), (768, 2, 689_792), (768, 3, 1_281_152), (512, 2, 328_832),
     (512, 3, 592_000)],
)  # fmt: skip
def test_published_counts(width, layers, count):
    with paddle.LazyGuard():
        assert parameter_count(ProjectionHead(width, num_layers=layers)) == count


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_parameter_has_a_gradient(layers):
    """Paddle's batch norm with a weight and no bias gives the weight none."""
    paddle.seed(0)
    head = ProjectionHead(6, 4, num_layers=layers)
    (head(paddle.randn([8, 6])) * paddle.randn([8, 4])).sum().backward()
    trained = {name: p for name, p in head.named_parameters() if not p.stop_gradient}
    assert len(trained) == 3 * (layers - 1) + 2
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in trained.values())


def test_computes_dense_norm_relu_dense_norm():
    paddle.seed(1)
    head = ProjectionHead(6, 4)
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    head.layers[1].scale.set_value(np.array([1, 2, 3, 4], np.float32))

    def normed(values):
        return (values - values.mean(axis=0)) / np.sqrt(values.var(axis=0) + 1e-5)

    wide = x.astype(np.float64)
    hidden = np.maximum(normed(wide @ head.layers[0].dense.weight.numpy()), 0)
    want = normed(hidden @ head.layers[1].dense.weight.numpy()) * [1, 2, 3, 4]
    np.testing.assert_allclose(head(paddle.to_tensor(x)).numpy(), want, rtol=1e-3, atol=1e-4)


def test_batches_without_views_are_refused():
    with pytest.raises(ConfigError, match="no views called view, only image"):
        crops_of({"image": paddle.zeros([2, 3, 4, 4])}, ["view"], "ppssl.SimCLR")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("Optimizer.accumulate=2", "negatives are its micro-batch"),
        ("Task.features=17", "gives 16 features, Task.features is 17"),
        ("DataLoader.Train.transforms.views.views.view.count=3", "are 3 views, but must be two"),
        ("Task.temperature=0", "temperature is 0"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, tool, option, said):
    done = tool("train", "-c", written("simclr", tmp_path), *ALLOW, "-o", option)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_scalings_meet_at_4096():
    from ppcore.config.durations import Duration, Plan

    plan = Plan(10, 4096, 100)
    rates = [
        SimCLRSchedule(base_lr=base, scaling=scaling, warmup=Duration(steps=10)).bind(plan)(10)
        for base, scaling in ((0.3, "linear"), (0.075, "sqrt"))
    ]
    assert rates == pytest.approx([4.8, 4.8])
