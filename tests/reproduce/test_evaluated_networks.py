"""Networks with weights in one table, and a paper's page that sets their numbers beside what was published."""

import json

import cv2
import numpy as np
import paddle
import pytest
import yaml
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import ppllie
from ppcore import config, weights
from ppcore.deploy.engine_choice import ENGINES
from ppcore.engine import evaluate, evaluation_table, evaluators
from ppcore.errors import ConfigError
from ppcore.reproduce import evaluated_networks
from ppcore.reproduce.paper_page import find_paper
from ppcore.reproduce.reproduction import Reproduction

GAMMAS = 0.14, 0.5


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two pairs and the weights of a small network, where PP_DATA_DIR says."""
    rng = np.random.default_rng(0)
    for name in ("low", "high"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            image = cv2.resize(rng.integers(0, 120, (7, 9, 3)).astype(np.float32), (40 + i, 32))
            cv2.imwrite(str(tmp_path / "data" / name / f"{7 * i}.png"), image)
    paddle.seed(3)
    weights.save(ppllie.PairLIE(width=4), tmp_path / "data" / "small.safetensors")
    monkeypatch.setenv("PP_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def written(data, tmp_path):
    def network(gamma, file="small.safetensors", **more):
        return {
            "method": f"gamma {gamma}",
            "arch": {"name": "ppllie.PairLIE", "width": 4, "gamma": gamma},
            "weights": str(data / file),
            **more,
        }

    quality = {"name": "ppcore.metrics.ImageQuality"}
    tree = {
        "Global": {"output_dir": str(tmp_path / "run"), "device": "cpu"},
        "Arch": {"name": "ppllie.classical.Identity"},
        "DataLoader": {
            "Eval": {
                "dataset": {"name": "ppcore.data.PairedFolder", "root": str(data), "low": "low", "high": "high"},
                "transforms": {"to_float": {"name": "ppcore.data.PairToFloat"}},
                "batch_size": 1,
            }
        },
        "Metric": [
            {**quality, "protocol": "truncated", "key": "truncated"},
            {**quality, "protocol": "rounded", "gt_mean": True, "gt_mean_of": "file", "key": "rounded"},
        ],
        "Networks": [network(GAMMAS[0], published="9.99, truncated (somebody)"), network(GAMMAS[1]), network(1.0, "no.pth")],
    }  # fmt: skip
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "table.yaml"


def by_hand(data, gamma) -> list[tuple[float, float]]:
    """(PSNR, SSIM) of each pair, truncated, by Paddle and scikit-image alone."""
    model = ppllie.PairLIE(width=4, gamma=gamma)
    weights.load(model, data / "small.safetensors")
    model.eval()
    found = []
    for name in ("0.png", "7.png"):
        low, high = (cv2.imread(str(data / part / name))[..., ::-1] for part in ("low", "high"))
        x = (low.transpose(2, 0, 1)[None] / 255).astype("float32")
        with paddle.no_grad():
            output = model(paddle.to_tensor(x)).numpy()[0].transpose(1, 2, 0)
        image = (output * 255).clip(0, 255).astype(np.uint8)
        similar = structural_similarity(
            high, image, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        found.append((peak_signal_noise_ratio(high, image), similar))
    return found


def test_networks_stand_in_one_table_with_their_own_weights(written, data, tool, tmp_path):
    done = tool("eval", "-c", written, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    for row, gamma in zip(found["networks"][:2], GAMMAS, strict=True):
        numbers = by_hand(data, gamma)
        for image, (signal, similar) in zip(row["images"], numbers, strict=True):
            assert image["psnr_truncated"] == pytest.approx(signal, abs=2e-3)
            assert image["ssim_truncated"] == pytest.approx(similar, abs=2e-5)
        assert row["psnr_truncated"] == pytest.approx(np.mean([s for s, _ in numbers]), abs=2e-3)
        assert [image["image"] for image in row["images"]] == ["0", "7"]
    lines = done.stdout.splitlines()
    assert "PSNR rounded GT-mean dB" in lines[0]
    assert lines[0].endswith("published")
    assert lines[2].endswith("9.99, truncated (somebody)")
    assert lines[4] == f"left out: gamma 1.0: there is no {data / 'no.pth'}"
    assert "images scaled to the reference's mean luma (GT-mean)" in done.stdout


def test_the_network_computes_once_whatever_the_metrics(written, monkeypatch):
    settings = config.load(written)
    calls = []
    forward = ppllie.PairLIE.forward
    monkeypatch.setattr(ppllie.PairLIE, "forward", lambda self, x: calls.append(x.shape) or forward(self, x))
    evaluate.networks(settings)
    assert len(calls) == 2 * len(GAMMAS)  # two images by two networks; two metrics with two numbers each


def test_two_metrics_of_one_name_are_refused(written):
    settings = config.load(
        written, ["Metric=[{name: ppcore.metrics.ImageQuality}, {name: ppcore.metrics.ImageQuality}]"]
    )
    with pytest.raises(ConfigError, match="several give a number of one name"):
        evaluate.run(settings)


def test_a_networks_argument_is_checked(written):
    with pytest.raises(ConfigError, match=r"Networks\.0\.arch\.gama"):
        config.load(written, ["Networks=[{method: a, weights: b, arch: {name: ppllie.PairLIE, gama: 1}}]"])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_export_gives_the_networks_numbers(written, data, engine):
    pytest.importorskip("paddle2onnx" if ENGINES[engine].format == "onnx" else "paddle")
    pytest.importorskip(ENGINES[engine].package)
    settings = config.load(written, [f"Infer.engine={engine}"])
    row = evaluate.networks(settings)[0]
    assert row["runs_on"].endswith("fp32")
    assert row["runs_on"] != "float32"
    signals = [signal for signal, _ in by_hand(data, GAMMAS[0])]
    assert [image["psnr_truncated"] for image in row["images"]] == pytest.approx(signals, abs=2e-3)


def test_a_precision_needs_an_engine(written):
    settings = config.load(written, ["Infer.precision=bf16", "Infer.engine=eager"])
    with pytest.raises(ConfigError, match=r"Infer\.precision"):
        evaluate.networks(settings)


@pytest.fixture
def page(written, data, tmp_path):
    """A paper that published what its weights give at one gamma, rounded, and something that nothing gives."""
    signal, similar = np.mean(by_hand(data, GAMMAS[0]), axis=0)
    source = {"ref": "paper", "where": "Table 1"}
    tree = {
        "paper": {"key": "p", "short": "P", "title": "T", "authors": "A", "venue": "V", "url": "https://example.org"},
        "metrics": [
            {"key": "psnr", "name": "PSNR", "title": "PSNR", "unit": "dB", "higher_is_better": True},
            {"key": "ssim", "name": "SSIM", "title": "SSIM", "higher_is_better": True},
        ],
        "sources": {"paper": {"title": "A, 2026", "url": "https://example.org"}},
        "datasets": {"d": {"title": "D", "test_images": 2, "classes": None, "loaders": [{"root": "x"}]}},
        "primary_dataset": "d",
        "tables": [
            {
                "id": "t", "short": "Table 1", "title": "T", "metric": "psnr", "protocol": "truncated", "source": source,
                "at_a_glance": False, "columns": [{"name": "PSNR"}, {"name": "SSIM", "metric": "ssim"}],
                "rows": [
                    {"name": "theirs", "values": [float(f"{signal:.2f}"), float(f"{similar:.3f}")]},
                    {"name": "another", "values": [99.5, None], "protocol": "not named"},
                ],
            }
        ],
        "evaluations": [
            {
                "config": "table.yaml", "title": "Their weights", "needs": ["small.safetensors"], "picture": 1,
                "figures": [
                    {"table": "t", "row": "theirs", "column": "PSNR", "digits": 2, "method": "gamma 0.14", "metric": "psnr_truncated"},
                    {"table": "t", "row": "theirs", "column": "SSIM", "digits": 3, "method": "gamma 0.14", "metric": "ssim_truncated"},
                ],
                "unexplained": [{"table": "t", "row": "another", "column": "PSNR", "metric": "psnr"}],
            }
        ],
    }  # fmt: skip
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "paper.yaml"


def reproduced(page, tmp_path) -> dict:
    Reproduction(find_paper(str(page), tmp_path), tmp_path / "out", "cpu").quick()
    return json.loads((tmp_path / "out" / "report" / "report.json").read_text())


def test_a_papers_own_row_with_its_authors_weights(page, data, tmp_path):
    said = reproduced(page, tmp_path)
    [table] = said["protocol_tables"]
    assert [one["equal"] for one in table["reached"]] == [True, True]
    assert table["reached"][0]["ours"] == pytest.approx(np.mean([s for s, _ in by_hand(data, 0.14)]), abs=2e-3)
    assert table["unexplained"][0]["same"] == []
    assert [row["method"] for row in table["rows"]] == ["Identity", "gamma 0.14", "gamma 0.5"]
    assert [row["trained"] for row in table["rows"]] == [False, True, True]
    [level] = said["fidelity"]["levels"]
    assert [(row["level"], row["passed"], row["tolerance"]) for row in level["rows"]] == [
        (5, True, "the last digit")
    ] * 2
    assert (tmp_path / "out" / "report" / "pictures" / "methods_1.jpg").is_file()
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert page.count("✓ equal") == 2
    assert "gamma 0.5: " in page


def test_a_wrong_number_fails_its_check(page, tmp_path):
    tree = yaml.safe_load(page.read_text())
    tree["tables"][0]["rows"][0]["values"][0] += 0.01
    page.write_text(yaml.safe_dump(tree))
    said = reproduced(page, tmp_path)
    assert said["fidelity"]["failed"] == 1
    assert [one["equal"] for one in said["protocol_tables"][0]["reached"]] == [False, True]


def test_without_the_data_it_is_said(page, monkeypatch, tmp_path):
    monkeypatch.setenv("PP_DATA_DIR", str(tmp_path))
    said = reproduced(page, tmp_path)
    assert said["protocol_tables"][0]["missing"] == "PP_DATA_DIR has no small.safetensors"
    assert said["fidelity"] | {"levels": None, "reference": None} == {
        "reference": None, "passed": 0, "failed": 0, "not_run": 2, "levels": None,
    }  # fmt: skip


def test_a_page_that_names_no_method_is_refused_before_anything_is_computed(page, tmp_path):
    tree = yaml.safe_load(page.read_text())
    tree["evaluations"][0]["figures"][0]["method"] = "gamma 0.3"
    page.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match=r"evaluations: table\.yaml gives no psnr_truncated of 'gamma 0\.3'"):
        evaluated_networks.check(find_paper(str(page), tmp_path))


def test_the_table_as_text(written):
    found = evaluate.run(config.load(written))
    lines = evaluation_table.table(found, evaluators.metric_specs(config.load(written))).splitlines()
    assert len(lines) == 5
    assert sum(line.count("*") for line in lines) >= 4
