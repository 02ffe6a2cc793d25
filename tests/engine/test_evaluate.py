"""Evaluation gives one number, whatever the batch size, and infer and eval read what train wrote."""

import importlib.util
import json

import cv2
import numpy as np
import paddle
import pytest

import ppvit
from ppcore import config, weights
from ppcore.config import AMPSection, components
from ppcore.data import Digits, Normalize, find_images
from ppcore.deploy import Predictor
from ppcore.deploy.engine_choice import ENGINES
from ppcore.engine import evaluators
from ppcore.engine.distributed import World
from ppcore.engine.evaluate import evaluate
from ppcore.engine.evaluate import run as evaluate_run
from ppcore.engine.evaluators import Evaluation
from ppcore.engine.precision import Precision
from ppcore.errors import DataError
from ppcore.metrics.spec import MetricSpec

WORLD = World(0, 1, "cpu")
ONNX = importlib.util.find_spec("paddle2onnx") is not None
ENGINES_HERE = [
    name
    for name, kind in ENGINES.items()
    if importlib.util.find_spec(kind.package) and (kind.format == "paddle" or ONNX)
]
NAMES_OF = {"openvino": "OpenVINO", "onnxruntime": "onnxruntime", "paddle": "Paddle Inference"}


@pytest.fixture(scope="module")
def model():
    return ppvit.VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=10)


def test_independent_of_batch_size(model, tiny_config):
    found = []
    for batch_size in (1000, 64, 7):
        settings = config.load(tiny_config, [f"DataLoader.Eval.batch_size={batch_size}"])
        images = components.build(settings.DataLoader.Eval.dataset)
        run = Evaluation(settings, WORLD, Precision(AMPSection(), "cpu"), images)
        found.append(evaluate(model, evaluators.of(settings), run))
    assert {f["n"] for f in found} == {len(images)}
    assert len({(f["top1"], f["top5"]) for f in found}) == 1
    assert max(f["loss"] for f in found) - min(f["loss"] for f in found) < 1e-6


def test_train_eval_and_infer_agree(tiny_config, tmp_path, tool):
    assert tool("train", "-c", tiny_config, "-o", "Global.duration={steps: 60}").returncode == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = next(r for r in log if r["kind"] == "end")["best"]

    done = tool("eval", "-c", tiny_config, "--json", tmp_path / "eval.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "eval.json").read_text())
    assert result["top1"] == best["top1"]
    assert "Digits(split=test)" in result["protocol"]

    folder = tmp_path / "pictures"
    folder.mkdir()
    images = Digits(split="test")
    right = 0
    for i in range(40):
        cv2.imwrite(str(folder / f"{i:03d}.png"), images.load(i)["image"][:, :, ::-1])
    (folder / "broken.png").write_bytes(b"not an image")
    done = tool(
        "infer", "-c", tiny_config, "-o", f"Infer.input={folder}", "-o", f"Infer.output={tmp_path / 'out'}",
        "-o", "Infer.rollout=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(written["images"]) == 40
    assert written["skipped"] == 1
    assert "skipped: " in done.stderr
    assert "broken.png" in done.stderr
    for i, record in enumerate(written["images"]):
        assert sum(c["probability"] for c in record["topk"]) <= 1 + 1e-6
        assert record["topk"][0]["name"] == images.classes[record["topk"][0]["class"]]
        right += record["topk"][0]["class"] == images.load(i)["label"]
        assert cv2.imread(record["rollout"]).shape == (8, 8, 3)
    # The first 40 test images through files give what evaluation gives through the dataset.
    cfg = config.load(tiny_config)
    direct = components.build(cfg.Arch)
    from ppcore.engine.trained import load_model

    direct, _ = load_model(cfg)
    normalise = Normalize(mean=[0.5] * 3, std=[0.5] * 3)
    import paddle

    direct.eval()
    batch = np.stack([normalise(images.load(i)["image"], np.random.default_rng(0)) for i in range(40)])
    predicted = direct(paddle.to_tensor(batch)).numpy().argmax(axis=1)
    assert right == sum(int(p) == images.load(i)["label"] for i, p in enumerate(predicted))


def test_find_images(tmp_path):
    for name in ("a.png", "b.JPG", "c.txt", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [p.rsplit("/", 1)[1] for p in find_images(str(tmp_path))] == ["a.png", "b.JPG", "d.png"]
    assert len(find_images([str(tmp_path / "*.png"), str(tmp_path / "a.png")])) == 1
    with pytest.raises(DataError, match="no matching glob"):
        find_images(str(tmp_path / "*.gif"))


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_an_engine_gives_the_models_number(tiny_config, model, tmp_path, engine, monkeypatch):
    file = str(tmp_path / "net.safetensors")
    weights.save(model, file)
    itself = evaluate_run(config.load(tiny_config, ["Infer.engine=eager"]), file)
    computed = []
    real = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, x: computed.append(len(x)) or real(self, x))
    found = evaluate_run(config.load(tiny_config, [f"Infer.engine={engine}", "DataLoader.Eval.batch_size=100"]), file)
    assert sum(computed) >= itself["n"] == found["n"]
    assert found["top1"] == itself["top1"]
    assert abs(found["loss"] - itself["loss"]) < 1e-5
    assert NAMES_OF[engine] in found["protocol"]
    assert "fp32" in found["protocol"]
    assert NAMES_OF[engine] not in itself["protocol"]


def test_auto_exports_what_pays(tiny_config, model, tmp_path, monkeypatch):
    file = str(tmp_path / "net.safetensors")
    weights.save(model, file)
    settings = config.load(tiny_config)
    assert "float32" in evaluate_run(settings, file)["protocol"]
    assert not (tmp_path / "run" / "exported").exists()
    monkeypatch.setattr("ppcore.deploy.engine_choice.WORTH_EXPORTING", 1000)
    fastest = NAMES_OF[ENGINES_HERE[0]]
    assert fastest in evaluate_run(settings, file)["protocol"]
    assert fastest in evaluate_run(settings, file)["protocol"], "with the export that is there"


class Own:
    """An evaluator that runs the model itself."""

    specs = (MetricSpec("own", "own", "own"),)

    def evaluate(self, model, run):
        yield self.specs[0], float(model(paddle.zeros([1, 3, 8, 8])).shape[1])


def test_the_protocol_says_what_evaluators_of_their_own_compute_in(tiny_config, model, tmp_path, monkeypatch):
    """They run the model itself: no export is made for them alone, and none is said to have computed their numbers."""
    file = str(tmp_path / "net.safetensors")
    weights.save(model, file)
    settings = config.load(tiny_config)
    monkeypatch.setattr("ppcore.deploy.engine_choice.WORTH_EXPORTING", 1000)
    both = [*evaluators.of(settings), Own()]
    monkeypatch.setattr(evaluators, "of", lambda config: [Own()])
    assert "; float32; " in evaluate_run(settings, file)["protocol"]
    assert not (tmp_path / "run" / "exported").exists()
    monkeypatch.setattr(evaluators, "of", lambda config: both)
    found = evaluate_run(settings, file)
    assert found["own"] == 10
    assert f"; {NAMES_OF[ENGINES_HERE[0]]}" in found["protocol"]
    assert "(other evaluators: float32)" in found["protocol"]
