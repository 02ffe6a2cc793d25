"""Classifiers beside their peers: the same function, rounds in turn, shares of the machine's limit, output a person can read."""

import json

import numpy as np
import pytest
from PIL import Image

import benchmarks
from benchmarks import bars, gemm, inference, turns
from ppcore.errors import ConfigError

SMALL = {
    "arch": {"name": "ppvit.VisionTransformer", "img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 10},
    "layouts": ["timm", "paddleclas", "transformers"],
    "timm": {"name": "vit_tiny_patch16_224", "img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 10},
    "paddleclas": {"module": "ppcls.arch.backbone.model_zoo.vision_transformer", "name": "VisionTransformer", "qkv_bias": True, "epsilon": 1e-6,
                   "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "mlp_ratio": 4},
    "transformers": {"patch_size": 16, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96},
}  # fmt: skip
OURS = {"kind": "predictor", "engine": "openvino", "precision": "fp32", "ours": True}


@pytest.fixture(autouse=True)
def one_library(monkeypatch):
    """The machine is measured by one library: faster to start."""
    monkeypatch.setattr(gemm, "LIBRARIES", {"openvino": gemm.openvino_product})


def small(contenders, models=None):
    return inference.infer(
        models or {"small": SMALL},
        contenders,
        batches=[1, 2],
        number=2,
        seconds=None,
        threads=1,
        turn=0.01,
        gemm_size=256,
    )


def test_ours_and_a_failing_one(tmp_path):
    result = small(
        {
            "ours": OURS,
            "eager": {"kind": "eager", "precision": "fp32", "ours": True},
            "odd": {**OURS, "engine": "abacus"},
        }
    )
    rows = {(row["contender"], row.get("batch")): row for row in result["rows"]}
    assert rows.keys() == {("ours", 1), ("ours", 2), ("eager", 1), ("eager", 2), ("odd", None)}
    assert "'abacus' is none" in rows["odd", None]["reason"]
    row = rows["ours", 2]
    assert 0 < row["lowest"] <= row["images_per_second"] <= row["highest"]
    assert row["difference"] < 1e-4
    limit = result["machine"]["gemm"]["fp32"]["gflops"] * 1e9
    assert row["share"] == pytest.approx(row["images_per_second"] * row["flop"] / limit)
    assert 0 < row["share"] < 1.1
    text = inference.table(result)
    assert f"| {row['images_per_second']:.1f} |" in text
    assert "'abacus' is none" in text
    bars.write(tmp_path / "out", result, text)
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == json.loads(json.dumps(result))
    assert "**small**" in (tmp_path / "out" / "result.md").read_text()
    image = np.asarray(Image.open(tmp_path / "out" / "plot.png").convert("RGB"))
    blue = (np.abs(image.astype(int) - (0x2A, 0x6C, 0xB0)) < 8).all(-1)
    assert blue.sum() > 1000  # the bars


@pytest.mark.slow
def test_peers_compute_the_same_function():
    peers = {"torch": "fp32", "openvino": "fp32", "onnxruntime": "fp32", "paddleclas": "fp32", "transformers": "fp32"}
    for package in ("torch", "timm", "paddleclas", "openvino", "onnxruntime"):
        pytest.importorskip(package) if package not in ("timm", "paddleclas") else _installed(package)
    result = small(
        {"ours": OURS, **{kind: {"kind": kind, "precision": precision} for kind, precision in peers.items()}}
    )
    rows = {row["contender"]: row for row in result["rows"]}
    if "reason" in rows["transformers"]:  # a version without that layout
        assert "no weight layout" in rows.pop("transformers")["reason"]
    for row in rows.values():
        assert row["difference"] < 1e-4, row
    assert {r["ours"] for r in inference.ratios(result["rows"])} == {"ours"}


@pytest.mark.slow
def test_windows_of_peers_compute_the_same_function():
    """PaddleClas's Swin has lost a rule, and an index among its weights: both stand in a model's row."""
    for package in ("torch", "timm", "paddleclas"):
        _installed(package)
    sizes = {"img_size": 32, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
    module = "ppcls.arch.backbone.legendary_models.swin_transformer"
    spec = {
        "arch": {"name": "ppswin.SwinTransformer", "num_classes": 5, **sizes},
        "layouts": ["timm", "paddleclas"],
        "timm": {"name": "swin_tiny_patch4_window7_224", "num_classes": 5, **sizes},
        "paddleclas": {
            "module": module,
            "name": "SwinTransformer",
            **sizes,
            "then": {"layers.1.blocks.1.shift_size": 0},
        },
    }
    del spec["paddleclas"]["img_size"]
    kinds = {"torch": "fp32", "openvino": "fp32", "paddleclas": "fp32"}
    contenders = {kind: {"kind": kind, "precision": precision} for kind, precision in kinds.items()}
    rows = small({"ours": OURS, **contenders}, {"small": spec})["rows"]
    assert len(rows) == 8
    for row in rows:
        assert row.get("difference", 1) < 1e-4, row


def test_a_peer_that_a_model_does_not_name():
    model = {key: value for key, value in SMALL.items() if key != "timm"}
    rows = small({"ours": OURS, "timm": {"kind": "torch", "precision": "fp32"}}, {"m": model})["rows"]
    assert {row["contender"] for row in rows} == {"ours"}


def _installed(package):
    import importlib.util

    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def test_another_function_is_found_out(monkeypatch):
    monkeypatch.setattr(inference, "SAME", {"fp32": -1.0})
    [row] = small({"ours": OURS})["rows"]
    assert "computes another function" in row["reason"]


def test_turns():
    assert [turns.rotated(["a", "b", "c"], n) for n in range(3)] == [["a", "b", "c"], ["a", "c", "b"], ["c", "a", "b"]]
    assert list(turns.rounds(3, None, lambda: None)) == [0, 1, 2]
    measured = []
    assert list(turns.rounds(3, 0.0, lambda: measured.append(1))) == [0]
    assert len(measured) == 2  # before and after
    assert turns.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    assert turns.share(rate=100, flop=2e9, limit=400) == 0.5
    assert turns.share(1, 1, None) is None
    assert turns.reason("timm", None) == "timm is not installed: `pip install --no-deps timm`"
    with pytest.raises(ConfigError, match="did you mean 'DeiT-Ti'"):
        benchmarks.chosen(["DeiT-T"], {"DeiT-Ti": 1}, "--models")


def test_ratios_take_the_fastest_of_each_side():
    def row(contender, ours, rate, precision="fp32"):
        return {
            "model": "m",
            "batch": 1,
            "precision": precision,
            "contender": contender,
            "ours": ours,
            "images_per_second": rate,
        }

    rows = [
        row("a", True, 2.0),
        row("b", True, 3.0),
        row("p", False, 2.0),
        row("q", False, 1.0),
        row("c", True, 1.0, "bf16"),
    ]
    [found] = inference.ratios(rows)
    assert (found["ours"], found["peer"], found["ratio"]) == ("b", "p", 1.5)


def test_a_limit_is_in_the_unit_of_its_panel():
    gemm = {"fp32": {"gflops": 100.0}, "bf16": {"gflops": 200.0}}
    row = {"contender": "c", "precision": "fp32", "ours": True, "lowest": 1.0, "highest": 2.0}
    fast = {**row, "model": "m", "batch": 1, "flop": 5e9, "images_per_second": 1.5}
    [panel] = bars.panels({"what": "infer", "machine": {"gemm": gemm}, "rows": [fast]})
    assert panel.limits == {"fp32": 20.0}
    slow = {**row, "width": 4, "height": 2, "flop": 5e11, "seconds": 6.0}
    [panel] = bars.panels({"what": "enhance", "machine": {"gemm": gemm}, "rows": [slow]})
    assert panel.limits == {"fp32": 5.0}
