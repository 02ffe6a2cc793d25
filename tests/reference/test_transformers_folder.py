"""What is written for transformers and timm, loaded by them: the same logits, from tensors and from files.

Marker `reference`; needs torch, transformers and (for its part) timm.
"""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch transformers")
transformers = pytest.importorskip("transformers", minversion="5", reason="pip install transformers>=5")

import paddle  # noqa: E402
from PIL import Image  # noqa: E402

import ppdeit  # noqa: E402
import ppvit  # noqa: E402
from ppcore import config, weights  # noqa: E402
from ppcore.config import components, signatures  # noqa: E402
from ppcore.data import read_image  # noqa: E402
from ppcore.engine import build  # noqa: E402
from ppcore.weights.described_export import save_folder  # noqa: E402
from ppcore.weights.file_export import save_file  # noqa: E402
from ppcore.weights.provenance import Provenance  # noqa: E402

TINY = dict(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=5)
CASES = {
    "vit": (ppvit.VisionTransformer, {}),
    "vit-tanh": (ppvit.VisionTransformer, dict(act="gelu_tanh", norm_eps=1e-12)),
    "vit-relu-oblong": (ppvit.VisionTransformer, dict(act="relu", img_size=(32, 48), patch_size=(8, 16), mlp_dim=70)),
    "vit-no-bias-grey": (ppvit.VisionTransformer, dict(qkv_bias=False, in_chans=1)),
    "deit": (ppdeit.DeiT, {}),
    "distilled": (ppdeit.DistilledVisionTransformer, {}),
}


def network(name: str, **more):
    """A network whose every number counts: nothing is at its initial zero."""
    kind, options = CASES[name]
    paddle.seed(3)
    model = kind(**{**TINY, **options, **more})
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        z = rng.standard_normal(parameter.shape) * (0.3 if parameter.ndim == 1 else 1 / np.sqrt(parameter.shape[0]))
        parameter.set_value(paddle.to_tensor((z + (parameter.ndim == 1)).astype(np.float32)))
    model.eval()
    return model


def gap(got, want) -> float:
    """max |got - want| / max |want|."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    return float(np.abs(got - want).max() / np.abs(want).max())


@pytest.mark.parametrize("name", CASES)
def test_transformers_gives_the_same_logits(tmp_path, name):
    model = network(name)
    save_folder(model, tmp_path / "out", "transformers", Provenance(classes=list("abcde")))
    theirs, loading = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == dict(enumerate("abcde"))
    height, width = model.patch_embed.img_size
    channels = model.patch_embed.proj.weight.shape[1]
    x = np.random.default_rng(1).standard_normal((4, channels, height, width)).astype(np.float32)
    with torch.no_grad():
        got = theirs(torch.from_numpy(x)).logits.numpy()
    assert gap(got, model(paddle.to_tensor(x)).numpy()) < 1e-5


@pytest.mark.parametrize("name", ["vit", "distilled"])
@pytest.mark.parametrize("written", ["save_pretrained", "state_dict"])
def test_ours_gives_the_logits_of_theirs(tmp_path, name, written):
    sizes = dict(
        image_size=32, patch_size=8, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
        num_labels=5, hidden_act="gelu_pytorch_tanh", initializer_range=0.3,
    )  # fmt: skip
    if name == "vit":
        theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)).eval()
    else:
        theirs = transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**sizes)).eval()
    theirs.save_pretrained(tmp_path / "hf")
    if written == "state_dict":  # names as in memory, beside the same description
        (tmp_path / "hf" / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "hf" / "pytorch_model.bin")
    tool("convert_weights", "--source", "transformers", "--input", "hf", "--output", "ours.safetensors", cwd=tmp_path)
    card = json.loads((tmp_path / "ours.card.json").read_text())
    assert card["provenance"]["classes"] == [f"LABEL_{i}" for i in range(5)]
    arch = card["provenance"]["architecture"]
    model = components.build(arch)
    weights.load(model, tmp_path / "ours.safetensors")
    model.eval()
    x = np.random.default_rng(1).standard_normal((4, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        assert gap(model(paddle.to_tensor(x)).numpy(), theirs(torch.from_numpy(x)).logits.numpy()) < 1e-5


def tool(name: str, *arguments: str, cwd) -> str:
    from conftest import run_tool

    done = run_tool(name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


STEPS = {
    "resize and crop": [
        "resize: {name: ppcore.data.Resize, size: 40}",
        "crop: {name: ppcore.data.CenterCrop, size: 32}",
    ],
    "squash": ["resize: {name: ppcore.data.Resize, size: [32, 32], interpolation: bilinear}"],
    "lanczos": [
        "resize: {name: ppcore.data.Resize, size: 40, interpolation: lanczos}",
        "crop: {name: ppcore.data.CenterCrop, size: 32}",
    ],
}


@pytest.fixture
def photographs(tmp_path):
    """JPEG and PNG files of a real photograph whose sizes leave even margins to every crop."""
    from skimage.data import astronaut

    image = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    (tmp_path / "photos").mkdir()
    files = []
    for number, (height, width, suffix) in enumerate([(80, 96, "jpg"), (120, 80, "png"), (40, 40, "jpg")]):
        files.append(tmp_path / "photos" / f"{number}.{suffix}")
        cv2.imwrite(str(files[-1]), image[100 : 100 + height, 150 : 150 + width])
    return files


@pytest.mark.parametrize("steps", STEPS)
def test_from_files(tmp_path, photographs, steps):
    """The whole way: a YAML's preprocessing and network, exported; a file through transformers and through ours."""
    text = "\n      ".join([*STEPS[steps], "normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.25]}"])  # fmt: skip
    (tmp_path / "net.yaml").write_text(f"""
Global: {{output_dir: run}}
Arch: {{name: ppvit.VisionTransformer, img_size: 32, patch_size: 8, embed_dim: 48, depth: 2, num_heads: 3, num_classes: 5}}
DataLoader:
  Eval:
    dataset: {{name: ppcore.data.ImageFolder, root: photos}}
    transforms:
      {text}
    batch_size: 2
""")
    model = network("vit")
    weights.save(model, tmp_path / "w.safetensors")
    tool("export_weights", "-c", "net.yaml", "--weights", "w.safetensors", "--layout", "transformers", "--output", "hf", cwd=tmp_path)  # fmt: skip
    # With torchvision installed the default resizes tensors, which rounds some pixels to the next grey level.
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "hf", backend="pil")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "hf")
    ours = build.transforms(config.load(tmp_path / "net.yaml").DataLoader.Eval.transforms)
    for file in photographs:
        image = read_image(file)
        for step in ours:
            image = step(image, None)
        inputs = processor(Image.open(file), return_tensors="pt")
        assert np.abs(inputs["pixel_values"][0].numpy() - image).max() < 1e-5
        with torch.no_grad():
            got = theirs(**inputs).logits.numpy()
        assert gap(got, model(paddle.to_tensor(image[None])).numpy()) < 1e-5


class TestCards:
    """Every snippet of a card is run where the folder lies, and gives the logits."""

    def run(self, code: str, folder, *, torch_model: bool) -> np.ndarray:
        ask = "import torch; y = model.eval()(torch.from_numpy(x)); y = getattr(y, 'logits', y).detach().numpy()"
        ask = ask if torch_model else "import paddle; model.eval(); y = model(paddle.to_tensor(x)).numpy()"
        whole = f"{code}\nimport numpy as np\nx = np.load('x.npy')\n{ask}\nnp.save('y.npy', y)\n"
        done = subprocess.run([sys.executable, "-c", whole], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return np.load(folder / "y.npy")

    @pytest.mark.parametrize("name", ["vit", "distilled"])
    @pytest.mark.parametrize("layout", ["transformers", "timm"])
    def test_each_snippet(self, tmp_path, name, layout):
        model = network(name)
        arch = {"name": f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}", **TINY}
        known = Provenance(architecture=arch)
        if layout == "timm":
            pytest.importorskip("timm", exc_type=ImportError, reason="pip install timm torchvision")
            save_file(model, tmp_path / "net.safetensors", layout, known)
            card = json.loads((tmp_path / "net.card.json").read_text())
        else:
            save_folder(model, tmp_path / "net", layout, known)
            card = json.loads((tmp_path / "net" / "card.json").read_text())
        x = np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        want = model(paddle.to_tensor(x)).numpy()
        assert len(card["loaders"]) == 2
        for one in card["loaders"]:
            assert one["code"].count("\n") <= 3, one
            got = self.run(one["code"], tmp_path, torch_model="Paddle" not in one["framework"])
            assert gap(got, want) < 1e-5, one["framework"]

    def test_a_named_model_of_timm(self, tmp_path):
        pytest.importorskip("timm", exc_type=ImportError, reason="pip install timm torchvision")
        model = ppdeit.deit_tiny_distilled_patch16_224(num_classes=7)
        model.eval()
        known = Provenance(architecture={"name": "ppdeit.deit_tiny_distilled_patch16_224", "num_classes": 7})
        save_file(model, tmp_path / "net.safetensors", "timm", known)
        [code] = [one["code"] for one in json.loads((tmp_path / "net.card.json").read_text())["loaders"][1:]]
        x = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        assert gap(self.run(code, tmp_path, torch_model=True), model(paddle.to_tensor(x)).numpy()) < 1e-5

    def test_every_named_model_is_timms(self):
        timm = pytest.importorskip("timm", exc_type=ImportError, reason="pip install timm torchvision")
        from ppcore.config import catalogue

        for entry in catalogue.components_of("models"):
            made = signatures.made_by(entry.target)
            snippet = catalogue.weight_maps_of(made).get("timm")
            builder = entry.name.rpartition(".")[2]
            if snippet is not None and builder[0].islower() and snippet.snippet("x", {"name": entry.name}, None):
                assert builder in timm.list_models(), entry.name

    def test_hugging_face_reads_the_block(self, tmp_path):
        hub = pytest.importorskip("huggingface_hub")
        known = Provenance(
            licence="apache-2.0", task="image-classification",
            metrics=[{"key": "top1", "name": "top-1 accuracy", "value": 81.25, "unit": "%", "digits": 2, "protocol": "p",
                      "data": "ImageFolder(root=x)", "n": 16}],
        )  # fmt: skip
        save_folder(network("vit"), tmp_path / "net", "transformers", known)
        card = hub.ModelCard.load(tmp_path / "net" / "README.md")
        assert card.data.license == "apache-2.0"
        assert card.data.library_name == "transformers"
        assert card.data.pipeline_tag == "image-classification"
        [result] = card.data.eval_results
        assert (result.metric_type, result.metric_value, result.dataset_type) == ("top1", 81.25, "imagefolder")
