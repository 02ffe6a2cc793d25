"""The authors' networks on LOL's test pairs, per image and column, against an independent run of them (golden `llie_real_s0`)."""

import json
from functools import cache

import numpy as np
import pytest
import yaml
from conftest import ROOT, run_tool

from ppcore import config
from ppcore.engine import evaluators
from ppcore.report import load_paper
from ppcore.reproduce import evaluated_networks

PSNR_DB, SSIM = 2e-3, 2e-5  # what the golden file's manifest allows
# Columns of the golden file, and the arguments that give them whatever the pixels: two keys where a metric gives both.
COLUMNS = {
    ("psnr_rgb", "ssim_rgb_gauss"): {},
    (None, "ssim_gray_gauss"): {"ssim_on": "luma"},
    ("psnr_y_studio", "ssim_y_studio_gauss"): {"psnr_on": "studio", "ssim_on": "studio"},
    (None, "ssim_rgb_uniform7"): {"window": "uniform"},
    (None, "ssim_gray8_uniform7"): {"ssim_on": "luma8", "window": "uniform"},
    ("psnr_rgb_gtmean", "ssim_rgb_gauss_gtmean"): {"gt_mean": True, "gt_mean_of": "file"},
}
RUNS_ON = {
    "openvino": "OpenVINO", "onnxruntime": "onnxruntime", "paddle": "Paddle Inference", "eager": "float32", "auto": "float32",
}  # fmt: skip
PIXELS = {"trunc8": "truncated", "round8": "rounded", "float": "float"}
NETWORKS = {  # golden row, and the suite's network
    "pairlie_g0.14": ("PairLIE", {"name": "ppllie.PairLIE", "gamma": 0.14}),
    "pairlie_g0.2": ("PairLIE", {"name": "ppllie.PairLIE", "gamma": 0.2}),
    **{
        f"mbllen_{weights}_{form}": (
            f"MBLLEN_{weights}",
            {"name": "ppllie.MBLLEN", "postprocess": "released" if form == "post" else "none"},
        )
        for weights in ("LOL_img_lowlight", "Syn_img_lowlight", "Syn_img_lowlight_withnoise")
        for form in ("raw", "post")
    },
}


def metrics(pixels) -> tuple[list[dict], dict[str, tuple[str, str]]]:
    """`Metric` for all columns, and where each stands: recorded key -> (column, pixels)."""
    nodes, places = [], {}
    for short in pixels:
        for number, ((signal, similar), arguments) in enumerate(COLUMNS.items()):
            node = {"name": "ppcore.metrics.ImageQuality", "protocol": "rounded", "pixels": PIXELS[short], **arguments}
            node |= {"key": f"{short}_{number}", "metrics": ["psnr", "ssim"] if signal else ["ssim"]}
            nodes.append(node)
            mark = "_gt_mean" if "gt_mean" in arguments else ""
            if signal:
                places[f"psnr_{short}_{number}{mark}"] = signal, short
            places[f"ssim_{short}_{number}{mark}"] = similar, short
    return nodes, places


@cache
def load_golden(folder) -> tuple[dict, dict[str, np.ndarray]]:
    manifest = json.loads((folder / "llie_real_s0.json").read_text())
    return manifest, dict(np.load(folder / "llie_real_s0.npz"))


def evaluate(real_data, tmp_path, arch, weights, engine, pixels, *options) -> list[dict]:
    """What `tools/eval.py` says of single images."""
    tree = {
        "Global": {"output_dir": str(tmp_path / "run"), "device": "cpu"},
        "Arch": arch,
        "DataLoader": {
            "Eval": {
                "dataset": {
                    "name": "ppcore.data.PairedFolder", "root": str(real_data / "lol_eval15"), "low": "low", "high": "high",
                },
                "transforms": {"to_float": {"name": "ppcore.data.PairToFloat"}},
                "batch_size": 1,
            }
        },
        "Metric": metrics(pixels)[0],
        "Infer": {"engine": engine},
    }  # fmt: skip
    if weights:
        source = arch["name"].rpartition(".")[2].lower()
        path = str(real_data / "weights" / f"{weights}.safetensors")
        tree["Global"]["pretrained"] = {"path": path, "source": source}
    (tmp_path / "lol.yaml").write_text(yaml.safe_dump(tree))
    done = run_tool("eval", "-c", tmp_path / "lol.yaml", "--json", tmp_path / "eval.json", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "eval.json").read_text())
    assert RUNS_ON[engine] in found["protocol"]  # OpenVINO and Paddle Inference agree to the bit: numbers cannot tell
    return found["images"]


def compare(images, golden, row_of, pixels, only=None) -> dict[str, float]:
    """The largest gaps in dB and SSIM to the golden columns, image by image; asserts that they are allowed."""
    manifest, arrays = load_golden(golden)
    _, places = metrics(pixels)
    assert {column for column, _ in places.values()} == set(manifest["columns"])
    gaps = {"psnr": 0.0, "ssim": 0.0}
    assert len(images) == (only or 15)
    for image in images:
        for key, (column, short) in places.items():
            place = manifest["images"].index(image["image"]), manifest["columns"].index(column)
            wanted = arrays[f"metrics/{row_of(short)}"][place]
            gap = abs(image[key] - wanted)
            assert gap < (PSNR_DB if key.startswith("psnr") else SSIM), (
                image["image"],
                column,
                short,
                image[key],
                wanted,
            )
            gaps[key[:4]] = max(gaps[key[:4]], gap)
    return gaps


def test_all_nine_columns_of_the_input(real_data, golden, tmp_path):
    """No network, so the protocols alone: to rounding."""
    arch = {"name": "ppllie.classical.Identity"}
    images = evaluate(real_data, tmp_path, arch, None, "auto", ["round8"])
    gaps = compare(images, golden, lambda short: "input", ["round8"])
    assert max(gaps.values()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "openvino", "onnxruntime", "paddle"])
@pytest.mark.parametrize("row", NETWORKS)
def test_all_nine_columns_of_every_network(real_data, golden, tmp_path, row, engine, record_property):
    weights, arch = NETWORKS[row]
    several = row.startswith("pairlie")
    pixels = list(PIXELS) if several else ["round8"]
    images = evaluate(real_data, tmp_path, arch, weights, engine, pixels)
    gaps = compare(images, golden, lambda short: f"{row}_{short}" if several else row, pixels)
    record_property("gaps", gaps)
    print(f"{row} {engine}: PSNR within {gaps['psnr']:.1e} dB, SSIM within {gaps['ssim']:.1e}")


@pytest.mark.parametrize("paper", ["pairlie", "mbllen"])
def test_the_papers_pages_name_what_their_configurations_give(paper):
    page = load_paper(ROOT / "papers" / f"{paper}.yaml")
    for item in page.evaluations:
        settings = config.load(ROOT / item.config)
        methods = {network.method for network in settings.Networks}
        keys = {spec.key for spec in evaluators.metric_specs(settings)}
        assert {figure.method for figure in item.figures} <= methods
        assert {figure.metric for figure in item.figures} <= keys
        assert len(evaluated_networks.columns(settings)) == 7


def test_the_table_of_all_methods_has_the_networks_of_the_papers():
    every = config.load(ROOT / "configs/llie/lol_eval15.yaml")
    networks = {network.method: network for network in every.Networks}
    for paper in ("pairlie", "mbllen"):
        for network in config.load(ROOT / f"configs/{paper}/lol_eval15.yaml").Networks:
            assert networks.pop(network.method) == network
    assert list(networks) == ["UHDFour (2x), LOL"]
    assert len(every.Baselines) == 11


@pytest.mark.parametrize("name", ["llie", "pairlie", "mbllen"])
def test_published_words_are_numbers_of_the_papers(name):
    """What stands beside our numbers in the table is what papers/*.yaml hold."""
    known = {
        f"{figure.value:.{digits}f}"
        for paper in ("pairlie", "mbllen", "uhdfour")
        for figure in load_paper(ROOT / "papers" / f"{paper}.yaml").figures()
        for digits in (2, 3, 4)
    }
    for network in config.load(ROOT / f"configs/{name}/lol_eval15.yaml").Networks:
        if network.published:
            numbers = network.published.partition(",")[0].partition("(")[0].split("/")
            assert {number.strip() for number in numbers} <= known, network.published
