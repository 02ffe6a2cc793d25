"""The authors' networks on Set5 through `tools/eval.py`, per image, eager and by every engine (golden `sr_real_s0`)."""

import importlib.util
import json

import numpy as np
import pytest
import yaml
from conftest import run_tool

PSNR_DB, SSIM = 2e-3, 2e-5  # what is asked of every image
RUNS_ON = {
    "eager": "float32", "openvino": "OpenVINO", "onnxruntime": "onnxruntime", "paddle": "Paddle Inference",
}  # fmt: skip
NETWORKS = {  # the golden's name: arch, input, protocol, weights; {s} is the scale
    "srcnn_955_imagenet_x{s}": (
        {"name": "ppsr.srcnn_955"}, "bicubic", "matlab_y8_replicate",
        {"path": "SRCNN_official", "source": "srcnn", "key": "9-5-5(ImageNet)/x{s}"},
    ),
    "fsrcnn_official_x{s}": (
        {"name": "ppsr.fsrcnn", "scale": "{s}"}, "lr", "matlab_y8_replicate",
        {"path": "FSRCNN_official", "source": "fsrcnn", "key": "FSRCNN/x{s}"},
    ),
    "vdsr_official_x{s}": (
        {"name": "ppsr.vdsr"}, "bicubic", "matlab_y8_symmetric_clip16", {"path": "VDSR_official", "source": "vdsr"},
    ),
}  # fmt: skip


def filled(node: dict, scale: int) -> dict:
    found = {key: value.replace("{s}", str(scale)) for key, value in node.items()}
    return {key: int(value) if key == "scale" else value for key, value in found.items()}


def tree_of(row: str, scale: int, real_data, output) -> dict:
    arch, given, protocol, weights = NETWORKS[row]
    source = {"name": "ppsr.ImagesOf", "root": str(real_data), "folder": "sr/Set5"}
    images = {"name": "ppsr.DegradedImages", "source": source, "scale": scale, "input": given, "protocol": protocol}
    weights = filled(weights, scale)
    weights["path"] = str(real_data / "weights" / f"{weights['path']}.safetensors")
    return {
        "Global": {"output_dir": str(output), "device": "cpu", "pretrained": weights},
        "Arch": filled(arch, scale),
        "DataLoader": {"Eval": {"dataset": images, "batch_size": 1}},
        "Metric": {"name": "ppsr.LumaQuality", "protocol": protocol},
    }


def compare(found: dict, golden, row: str, scale: int) -> tuple[float, float]:
    """The largest gaps in dB and SSIM over the images; asserts that they are allowed."""
    manifest = json.loads((golden / "sr_real_s0.json").read_text())
    protocol = NETWORKS[row][2]
    with np.load(golden / "sr_real_s0.npz") as arrays:
        wanted = arrays[f"{row.replace('{s}', str(scale))}/{protocol}"]
    columns = [manifest["columns"].index(name) for name in ("psnr", "ssim")]
    assert [image["image"] for image in found["images"]] == manifest["images"]
    numbers = np.array([[image["psnr_y"], image["ssim_y"]] for image in found["images"]])
    gaps = np.abs(numbers - wanted[:, columns]).max(axis=0)
    assert gaps[0] < PSNR_DB
    assert gaps[1] < SSIM
    return tuple(gaps)


@pytest.mark.slow
@pytest.mark.parametrize("engine", RUNS_ON)
@pytest.mark.parametrize("row", NETWORKS)
def test_every_image_of_set5(row, engine, real_data, golden, tmp_path, record_property):
    if engine in ("openvino", "onnxruntime") and not importlib.util.find_spec("paddle2onnx"):
        pytest.skip("paddle2onnx is not installed")
    if not (real_data / "sr" / "Set5").is_dir():
        pytest.skip(f"no sr/Set5 in {real_data}: set PP_DATA_DIR")
    for scale in (2, 3, 4):
        file, said = tmp_path / f"x{scale}.yaml", tmp_path / f"x{scale}.json"
        file.write_text(yaml.safe_dump(tree_of(row, scale, real_data, tmp_path / "run")))
        done = run_tool("eval", "-c", file, "--json", said, "-o", f"Infer.engine={engine}")
        assert done.returncode == 0, done.stderr
        found = json.loads(said.read_text())
        assert RUNS_ON[engine] in found["protocol"]
        gaps = compare(found, golden, row, scale)
        record_property(f"x{scale}", gaps)
        print(
            f"{row} x{scale} {engine}: {found['psnr_y']:.4f} dB, PSNR within {gaps[0]:.1e} dB, SSIM within {gaps[1]:.1e}"
        )
