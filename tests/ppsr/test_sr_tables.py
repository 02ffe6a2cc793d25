"""Networks that others trained, on Set5: per image against an independent run of them (golden `sr_real_s0`), and the papers' pages."""

import json

import numpy as np
import pytest
from conftest import ROOT, run_tool

from ppcore import config
from ppcore.engine import evaluate
from ppcore.errors import ConfigError
from ppcore.report import load_paper
from ppcore.reproduce import evaluated_networks
from ppcore.reproduce.paper_page import find_paper

PSNR_DB, SSIM = 2e-3, 2e-5  # what the golden file's manifest allows
PAPERS = ("srcnn", "fsrcnn", "vdsr", "srgan")
OFFICIAL = {
    **{f"SRCNN 9-5-5, ×{s}": f"srcnn_955_imagenet_x{s}/matlab_y8_replicate" for s in (2, 3, 4)},
    **{f"SRCNN 9-1-5, 91 images, ×{s}": f"srcnn_915_91_x{s}/matlab_y8_replicate" for s in (2, 3, 4)},
    "SRCNN 9-3-5, ×3": "srcnn_935_imagenet_x3/matlab_y8_replicate",
    "SRCNN 9-1-5, ×3": "srcnn_915_imagenet_x3/matlab_y8_replicate",
    "SRCNN 9-5-5, ×4, newer MATLAB": "srcnn_955_imagenet_x4/matlab_y8_symmetric",
    "SRCNN 9-5-5, ×3, nothing rounded": "srcnn_955_imagenet_x3/float_y",
    "SRCNN 9-5-5, ×3, LR of 8 bits": "srcnn_955_imagenet_x3/lr_u8",
    "SRCNN 9-5-5, ×3, references resized": "srcnn_955_imagenet_x3/pil_nocrop",
    **{f"FSRCNN, ×{s}": f"fsrcnn_official_x{s}/matlab_y8_replicate" for s in (2, 3, 4)},
    **{f"FSRCNN-s, ×{s}": f"fsrcnn_s_official_x{s}/matlab_y8_replicate" for s in (2, 3, 4)},
    **{f"FSRCNN of yjn870, ×{s}": f"fsrcnn_yjn870_x{s}/pil_nocrop" for s in (2, 3, 4)},
    "FSRCNN of yjn870, ×3, MATLAB": "fsrcnn_yjn870_x3/matlab_y8_symmetric",
    **{f"VDSR, ×{s}": f"vdsr_official_x{s}/matlab_y8_symmetric_clip16" for s in (2, 3, 4)},
    "VDSR, ×3, older MATLAB": "vdsr_official_x3/matlab_y8_replicate",
    **{f"VDSR of caffe-vdsr, ×{s}": f"vdsr_caffe_adam_x{s}/matlab_y8_symmetric_clip16" for s in (2, 3, 4)},
    **{f"VDSR of pytorch-vdsr, ×{s}": f"vdsr_pytorch_x{s}/float_y" for s in (2, 3, 4)},
}
BICUBIC = {f"Bicubic(scale={s}, border=replicate)" for s in (3, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "openvino", "onnxruntime", "paddle"])
@pytest.mark.parametrize("paper", ["srcnn", "fsrcnn", "vdsr"])
def test_every_image_of_set5(real_data, golden, tmp_path, paper, engine):
    manifest, arrays = json.loads((golden / "sr_real_s0.json").read_text()), np.load(golden / "sr_real_s0.npz")
    options = ("-o", f"Infer.engine={engine}", "-o", f"Global.output_dir={tmp_path / 'run'}")
    file = tmp_path / "table.json"
    done = run_tool("eval", "-c", ROOT / f"configs/{paper}/set5.yaml", "--json", file, *options)
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(file.read_text())["networks"]}
    assert set(rows) - set(OFFICIAL) == BICUBIC
    for method in rows.keys() - BICUBIC:
        assert [image["image"] for image in rows[method]["images"]] == manifest["images"]
        found = np.array([[image["psnr_y"], image["ssim_y"]] for image in rows[method]["images"]])
        gaps = np.abs(found - arrays[OFFICIAL[method]][:, 2:4]).max(axis=0)
        assert gaps[0] < PSNR_DB, method
        assert gaps[1] < SSIM, method


@pytest.mark.parametrize("paper", PAPERS)
def test_the_pages_name_what_their_configurations_give(paper):
    evaluated_networks.check(find_paper(paper, ROOT))


def test_the_table_of_all_has_the_networks_of_the_papers():
    every = {network.method: network for network in config.load(ROOT / "configs/sr/set5.yaml").Networks}
    assert set(OFFICIAL) | BICUBIC | {"SRGAN of leftthomas, ×4"} == set(every)
    for paper in ("srcnn", "fsrcnn", "vdsr"):
        for network in config.load(ROOT / f"configs/{paper}/set5.yaml").Networks:
            assert every[network.method] == network


def test_published_words_are_numbers_of_the_papers():
    """What stands beside our numbers in the table is what papers/*.yaml hold."""
    figures = [figure for paper in PAPERS for figure in load_paper(ROOT / "papers" / f"{paper}.yaml").figures()]
    known = {f"{figure.value:.{digits}f}".removeprefix("0") for figure in figures for digits in (2, 4)}
    for name in ("sr", "srgan"):
        for network in config.load(ROOT / f"configs/{name}/set5.yaml").Networks:
            words = network.published.replace(",", " ").split()
            numbers = {word for word in words if word[0].isdigit() or word[0] == "."}
            assert numbers <= known, network.published


def test_a_row_without_weights_must_need_none():
    settings = config.load(
        ROOT / "configs/sr/set5.yaml", ["Networks=[{method: a, arch: {name: ppsr.vdsr, depth: 2, width: 2}}]"]
    )
    with pytest.raises(ConfigError, match=r"a: ppsr\.vdsr has weights: say where they are"):
        evaluate.network(settings, settings.Networks[0])


def test_a_row_that_gives_other_numbers_is_refused(real_data, monkeypatch):
    monkeypatch.setenv("PP_DATA_DIR", str(real_data))
    row = "{method: a, arch: {name: ppsr.Bicubic, scale: 2}, set: {Metric.metrics: [psnr]}}"
    settings = config.load(ROOT / "configs/sr/set5.yaml", [f"Networks=[{row}]"])
    with pytest.raises(ConfigError, match=r"Networks\.0\.set: its metrics give psnr_y, the table has psnr_y, ssim_y"):
        evaluate.run(settings)


def test_each_row_is_measured_with_what_it_sets(tmp_path):
    """On photographs of the dependencies, bicubic."""
    (tmp_path / "table.yaml").write_text(
        """
Global: {output_dir: OUT, device: cpu}
Arch: {name: ppsr.Bicubic, scale: 1}
DataLoader:
  Eval:
    dataset: {name: ppsr.DegradedImages, source: {name: ppcore.data.Photographs, split: test}, scale: 2}
    batch_size: 1
Metric: {name: ppsr.LumaQuality, metrics: [psnr]}
Networks:
  - {method: x3, arch: {name: ppsr.Bicubic, scale: 1}, set: {DataLoader.Eval.dataset.scale: 3}}
  - {method: x4, arch: {name: ppsr.Bicubic, scale: 1}, set: {DataLoader.Eval.dataset.scale: 4}}
""".replace("OUT", str(tmp_path / "out"))
    )
    settings = config.load(tmp_path / "table.yaml")
    found = evaluate.run(settings)
    two, three, four = found["psnr_y"], *(row["psnr_y"] for row in found["networks"])
    assert two > three + 2 > four + 3
    assert three == pytest.approx(31.2138, abs=1e-3)
    assert all("matlab_y8_replicate" in row["protocol"] for row in found["networks"])
