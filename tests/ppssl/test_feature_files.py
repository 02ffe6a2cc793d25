"""`tools/infer.py` with networks that have no classes: features of files of several sizes, and the pictures they draw."""

import cv2
import numpy as np
import paddle
import pytest
import skimage.data
import yaml
from conftest import run_tool
from ssl_configs import ALLOW, NORMALIZE, VIT, written

import ppcore.weights
import ppssl
import ppvit
from ppcore import config
from ppcore.data import CenterCrop, Normalize, Resize
from ppcore.engine import feature_files, predict
from ppcore.errors import ConfigError, DataError
from ppcore.layers import patchify
from ppcore.model import traits
from ppcore.photo.heat import overlay, unit_range
from ppcore.photo.panels import rgb, stretched
from ppssl.head_attention import draw
from ppssl.masking import mask_of_images
from ppssl.reconstructions import unpatchify

SIDE, MARGIN = 160, 8  # of a panel of 16 pixels; around it
DECODER = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2}
MAE = {"name": "ppssl.MaskedAutoencoder", **VIT, **DECODER}
DINO = {"name": "ppssl.DINOVisionTransformer", **VIT}
SIZES = [(24, 40), (50, 32), (16, 16)]


def photographs(folder):
    """JPEG files of two shapes and one as large as the networks take, in a folder."""
    folder.mkdir()
    for number, (height, width) in enumerate(SIZES):
        picture = cv2.resize(skimage.data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number}.jpg"), np.roll(picture, 3 * number, axis=1))
    return folder


def seen(file) -> np.ndarray:
    """What of a photograph the transforms below leave, uint8 [16, 16, 3]."""
    image = cv2.imread(str(file))[..., ::-1]
    return CenterCrop(16)(Resize(16)(image))


def prepared(*images) -> paddle.Tensor:
    normalize = Normalize(NORMALIZE["mean"], NORMALIZE["std"])
    return paddle.to_tensor(np.stack([normalize(np.ascontiguousarray(image)) for image in images]))


def configured(folder, arch, **more):
    """A configuration for photographs as a file; its weights are the network's first ones."""
    transforms = {
        "resize": {"name": "ppcore.data.Resize", "size": 16},
        "crop": {"name": "ppcore.data.CenterCrop", "size": 16},
        "normalize": NORMALIZE,
    }
    dataset = {"name": "ppcore.data.Digits", "split": "test", "image_size": 16}
    part = {"dataset": dataset, "transforms": transforms, "batch_size": 10}
    tree = {"Global": {"output_dir": str(folder / "run"), "device": "cpu"}, "Arch": arch, "DataLoader": {"Eval": part}}
    file = folder / "features.yaml"
    file.write_text(yaml.safe_dump(tree | more, sort_keys=False))
    return file


def network(arch):
    paddle.seed(3)
    model = getattr({"ppvit": ppvit, "ppssl": ppssl}[arch["name"].split(".")[0]], arch["name"].split(".")[1])
    made = model(**{key: value for key, value in arch.items() if key != "name"})
    for value in made.parameters():  # attention that differs between patches and heads
        value.set_value(value + 0.3 * paddle.randn(value.shape))
    made.eval()
    return made


def infer(folder, arch, *overrides):
    """Runs inference in this process with the network's weights; its model, its records and its arrays."""
    model, file = network(arch), configured(folder, arch)
    ppcore.weights.save(model, folder / "weights.safetensors")
    photos = folder / "photos"
    if not photos.exists():
        photographs(photos)
    settings = config.load(file, [f"Infer.input={photos}", f"Infer.output={folder / 'out'}", *overrides])
    found = predict.run(settings, str(folder / "weights.safetensors"))
    with np.load(folder / "out" / "features.npz") as arrays:
        return model, found, {name: arrays[name] for name in arrays}


def panels(file, count, height=SIDE, width=SIDE) -> list[np.ndarray]:
    """The pictures side by side in a PNG, without captions."""
    sheet = cv2.imread(str(file))[..., ::-1]
    assert sheet.shape[1] == count * (width + MARGIN)
    starts = range(MARGIN, sheet.shape[1], width + MARGIN)
    return [sheet[MARGIN : MARGIN + height, start : start + width] for start in starts]


def tenfold(image) -> np.ndarray:
    return np.kron(image, np.ones((10, 10, 1), np.uint8))


def check_reconstruction(model, files, records, ratio=0.75, seed=0):
    """The pixels of a masked autoencoder's pictures are what the network makes of the files."""
    for number, (file, record) in enumerate(zip(files, records, strict=True)):
        masked, filled, original = panels(record["picture"], 3)
        image = seen(file)
        np.testing.assert_array_equal(original, tenfold(image))
        mask = mask_of_images(np.array([number]), 16, ratio, seed)
        removed = mask.removed.numpy().reshape(4, 4)
        assert removed.sum() == 16 * ratio
        where = np.kron(removed, np.ones((40, 40)))[..., None].astype(bool)
        np.testing.assert_array_equal(masked, np.where(where, 128, original))
        x = prepared(image)
        predicted = model.reconstruct(x, mask.keep, mask.restore)
        if model.norm_pix_loss:
            own = patchify(x, 4)
            predicted = predicted * paddle.sqrt(own.var(-1, keepdim=True) + 1e-6) + own.mean(-1, keepdim=True)
        pixels = np.rint((unpatchify(predicted.numpy(), (4, 4), 4)[0].clip(-1, 1) + 1) / 2 * 255).transpose(1, 2, 0)
        expected = np.where(where, tenfold(pixels.astype(np.uint8)), original)
        assert np.abs(filled.astype(int) - expected).max() <= 1  # rounded in another order
        assert (filled != original).any()


def test_trained_and_asked(tmp_path):
    """Three steps of MAE by the tools, then features and reconstructions of photographs of two sizes."""
    views = {"crop": {"name": "ppcore.data.RandomCrop", "size": 16, "padding": 1}, "normalize": NORMALIZE}
    digits = {"name": "ppcore.data.Digits", "split": "train", "image_size": 16}
    file = configured(tmp_path, MAE | {"norm_pix_loss": True})
    tree = yaml.safe_load(file.read_text())
    tree["Global"] |= {"duration": {"steps": 3}, "visualdl": False, "eval_every": {"steps": 3}}
    tree["Task"] = {"name": "ppssl.MAE"}
    tree["Metric"] = {"name": "ppssl.ReconstructionError"}
    tree["Optimizer"] = {"name": "ppcore.optim.AdamW", "lr": {"name": "ppcore.schedules.Constant", "base_lr": 1e-3}}
    tree["DataLoader"]["Train"] = {"dataset": digits, "transforms": views, "batch_size": 8}
    tree["DataLoader"]["Eval"]["dataset"]["limit"] = 20
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    done = run_tool("train", "-c", file, *ALLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    photos = photographs(tmp_path / "photos")
    done = run_tool("infer", "-c", file, *ALLOW, "-o", f"Infer.input={photos}")
    assert done.returncode == 0, done.stdout + done.stderr
    files, out = [photos / f"{number}.jpg" for number in range(3)], tmp_path / "run" / "infer"
    pictures = [out / f"0000{number}_{number}.png" for number in range(3)]
    assert done.stdout.splitlines() == [f"{a} -> {b}" for a, b in zip(files, pictures, strict=True)]
    model = ppssl.MaskedAutoencoder(**VIT, **DECODER, norm_pix_loss=True)
    ppcore.weights.load(model, tmp_path / "run" / "checkpoints" / "step_3" / "weights.safetensors")
    model.eval()
    with np.load(out / "features.npz") as arrays:
        assert set(arrays) == {"features", "paths"}
        features, paths = arrays["features"], arrays["paths"]
    assert (features.dtype, features.shape) == (np.float32, (3, 16))
    assert paths.tolist() == [str(each) for each in files]
    np.testing.assert_allclose(features, model(prepared(*map(seen, files))).numpy(), rtol=0, atol=2e-6)
    assert np.abs(features[0] - features[1]).max() > 1e-3
    check_reconstruction(model, files, [{"picture": str(path)} for path in pictures])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_masks_follow_the_file_and_the_arguments(tmp_path, batch_size):
    arguments = ("Infer.pictures.mask_ratio=0.5", "Infer.pictures.seed=4", f"Infer.batch_size={batch_size}")
    model, records, _ = infer(tmp_path, MAE, *arguments)
    files = [tmp_path / "photos" / f"{number}.jpg" for number in range(3)]
    check_reconstruction(model, files, records, 0.5, 4)


def test_where_each_head_looks(tmp_path):
    """Over the image in its own colours; the maps are the last block's, of the class token."""
    model, records, arrays = infer(tmp_path, DINO, "Infer.rollout=true")
    files = [tmp_path / "photos" / f"{number}.jpg" for number in range(3)]
    x = prepared(*map(seen, files))
    np.testing.assert_allclose(arrays["features"], model(x).numpy(), rtol=0, atol=2e-6)
    maps = model.attention_maps(x)[-1][:, :, 0, 1:].numpy().reshape(3, 2, 4, 4)
    assert maps.std(axis=(2, 3)).min() > 1e-3
    assert np.abs(maps[:, 0] - maps[:, 1]).max() > 1e-3
    for file, record, heads in zip(files, records, maps, strict=True):
        image, mean, *drawn = panels(record["picture"], 4)
        np.testing.assert_array_equal(image, tenfold(seen(file)))
        for panel, values in zip((mean, *drawn), (heads.mean(0), *heads), strict=True):
            heat = np.kron(unit_range(values), np.ones((40, 40)))
            assert np.abs(panel.astype(int) - overlay(image, heat)).max() <= 1
        assert cv2.imread(record["rollout"]) is not None


def test_images_of_any_whole_number_of_patches(tmp_path):
    """With batches of one image, without a crop."""
    only = [f"DataLoader.Eval.transforms.{step}=null" for step in ("resize", "crop")]
    (tmp_path / "photos").mkdir()
    for number, size in enumerate(((16, 24), (32, 16))):
        image = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.jpg"), image)
    model, records, arrays = infer(tmp_path, DINO, *only, "Infer.batch_size=1", "Infer.rollout=true")
    for number, (height, width) in enumerate(((16, 24), (32, 16))):
        image = cv2.imread(str(tmp_path / "photos" / f"{number}.jpg"))[..., ::-1]
        np.testing.assert_allclose(arrays["features"][number], model(prepared(image)).numpy()[0], rtol=0, atol=2e-6)
        shown, *others = panels(records[number]["picture"], 4, 10 * height, 10 * width)
        np.testing.assert_array_equal(shown, tenfold(image))
        assert all((other != shown).any() for other in others)
    cv2.imwrite(str(tmp_path / "photos" / "2.jpg"), np.zeros((16, 18, 3), np.uint8))
    with pytest.raises(ConfigError, match="images of 16x18 are no whole number of 4x4 patches"):
        infer(tmp_path, DINO, *only, "Infer.batch_size=1")


def test_a_plain_encoder_draws_nothing(tmp_path):
    arch = {"name": "ppvit.VisionTransformer", "num_classes": 0, "pool": "gap", **VIT}
    model, records, arrays = infer(tmp_path, arch)
    assert [set(record) for record in records] == [{"file"}] * 3
    assert not list((tmp_path / "out").glob("*.png"))
    x = prepared(*(seen(record["file"]) for record in records))
    np.testing.assert_allclose(arrays["features"], model(x).numpy(), rtol=0, atol=2e-6)


def test_features_with_axes_of_length_one_are_rows(tmp_path):
    """A convnet without its classifier gives [B, D, 1, 1]."""
    arch = {"name": "paddle.vision.models.resnet18", "num_classes": 0}
    file = configured(tmp_path, arch)
    ppcore.weights.save(paddle.vision.models.resnet18(num_classes=0), tmp_path / "weights.safetensors")
    photos = photographs(tmp_path / "photos")
    settings = config.load(file, [f"Infer.input={photos}", "Infer.batch_size=2"])
    predict.run(settings, str(tmp_path / "weights.safetensors"))
    with np.load(tmp_path / "run" / "infer" / "features.npz") as arrays:
        assert arrays["features"].shape == (3, 512)
    with pytest.raises(
        ConfigError, match=r"^Infer\.rollout: paddle\.vision\.models\.resnet18 has no attention rollout$"
    ):
        predict.run(
            config.load(file, [f"Infer.input={photos}", "Infer.rollout=true"]), str(tmp_path / "weights.safetensors")
        )


def test_unreadable_files(tmp_path, capsys, monkeypatch):
    """Left out and said, or refused; nothing readable is an error."""
    photographs(tmp_path / "photos")
    (tmp_path / "photos" / "1.jpg").write_bytes(b"no image")
    said = []
    monkeypatch.setattr(feature_files.log, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr("ppcore.engine.pace.FIRST", 0.0)
    model, records, arrays = infer(tmp_path, MAE, "Infer.batch_size=1")
    assert [path[-5:] for path in arrays["paths"].tolist()] == ["0.jpg", "2.jpg"]
    assert "1.jpg" in capsys.readouterr().err
    assert any("/3 images, " in line and "images/s, eta " in line for line in said)
    assert '"features": [2, 16], "skipped": 1' in said[-1]
    np.testing.assert_allclose(arrays["features"][1], model(prepared(seen(records[1]["file"]))).numpy()[0], atol=2e-6)
    assert records[1]["picture"].endswith("00002_2.png")
    with pytest.raises(DataError, match=r"1\.jpg"):
        infer(tmp_path, MAE, "Infer.unreadable=raise")
    with pytest.raises(DataError, match="no image could be read"):
        infer(tmp_path, MAE, f"Infer.input={tmp_path / 'photos' / '1.jpg'}")


@pytest.mark.parametrize(
    ("arch", "override", "message"),
    [
        (MAE, "Infer.topk=3", r"Infer\.topk: ppssl\.MaskedAutoencoder has no classes; leave it out"),
        (DINO, "Infer.class_names=[a, b]", r"Infer\.class_names: ppssl\.DINOVisionTransformer has no classes; leave it out"),
        (MAE, "Infer.format=csv", r"Infer\.format: .* has no classes"),
        (MAE, "Infer.tile=8", r"Infer\.tile: MaskedAutoencoder makes no images"),
        (MAE, "Infer.pictures.mask_ration=0.5",
         r"Infer\.pictures\.mask_ration: the pictures of ppssl\.MaskedAutoencoder have no argument 'mask_ration' \(did you mean 'mask_ratio'"),
        (MAE, "Infer.pictures.mask_ratio=half", r"Infer\.pictures\.mask_ratio: .*number"),
        (MAE, "Infer.pictures.mask_ratio=1.0", r"mask_ratio is 1\.0, but must be a number in \[0, 1\)"),
        (DINO, "Infer.pictures.mask_ratio=0.5", r"the pictures of ppssl\.DINOVisionTransformer have no argument 'mask_ratio'"),
        ({"name": "ppvit.VisionTransformer", "num_classes": 0, **VIT}, "Infer.pictures=true",
         r"Infer\.pictures: ppvit\.VisionTransformer draws none; leave it out"),
        ({"name": "ppvit.VisionTransformer", "num_classes": 10, **VIT}, "Infer.pictures=true",
         r"Infer\.pictures: ppvit\.VisionTransformer is a classifier"),
        (MAE, "DataLoader.Eval.transforms.crop=null", r"DataLoader\.Eval\.transforms give images of .*takes 16x16"),
    ],
)  # fmt: skip
def test_what_it_has_not_is_one_line(tmp_path, arch, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        infer(tmp_path, arch, override, "Infer.batch_size=1")
    assert "\n" not in str(caught.value)


def test_no_pictures_where_none_are_wanted(tmp_path):
    _, records, arrays = infer(tmp_path, MAE, "Infer.pictures=false")
    assert arrays["features"].shape == (3, 16)
    assert [set(record) for record in records] == [{"file"}] * 3


def test_the_reports_figure_is_the_same_picture():
    model = network(DINO)
    x = paddle.randn([5, 3, 16, 16])
    drawn = draw(model, x)
    assert len(drawn["rows"]) == 4
    assert [panel["caption"] for panel in drawn["rows"][0]["panels"]] == [
        "the image", "mean of the heads", "head 1", "head 2",
    ]  # fmt: skip
    of_one = traits(model).pictures(x[2:3], show=stretched)[0]
    for panel, other in zip(drawn["rows"][2]["panels"], of_one, strict=True):
        assert np.abs(panel["image"].astype(int) - other["image"]).max() <= 1
    assert rgb(np.zeros((1, 2, 3))).shape == (2, 3, 3)


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path):
    """Rows in the order of the files; masks follow the files."""
    file = written("dino", tmp_path)
    tree = yaml.safe_load(file.read_text()) | {"Arch": MAE}
    file.write_text(yaml.safe_dump({key: tree[key] for key in tree if key not in ("Task", "Metric")}, sort_keys=False))
    ppcore.weights.save(network(MAE), tmp_path / "weights.safetensors")
    (tmp_path / "photos").mkdir()
    for number in range(5):
        image = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    (tmp_path / "photos" / "2.png").write_bytes(b"no image")
    command = (
        "-c",
        file,
        *ALLOW,
        "--weights",
        tmp_path / "weights.safetensors",
        "-o",
        f"Infer.input={tmp_path / 'photos'}",
    )
    for name, more in (("one", {}), ("two", {"launch": 2, "log_dir": tmp_path / "log"})):
        done = run_tool("infer", *command, "-o", "Infer.batch_size=2", "-o", f"Infer.output={tmp_path / name}", **more)
        assert done.returncode == 0, done.stdout + done.stderr
    with np.load(tmp_path / "one" / "features.npz") as one, np.load(tmp_path / "two" / "features.npz") as two:
        assert one["paths"].tolist() == two["paths"].tolist()
        assert len(one["paths"]) == 4
        np.testing.assert_allclose(one["features"], two["features"], rtol=0, atol=2e-6)
    drawn = sorted(path.name for path in (tmp_path / "one").glob("*.png"))
    assert drawn == sorted(path.name for path in (tmp_path / "two").glob("*.png"))
    assert len(drawn) == 4
    for name in drawn:
        first, second = (cv2.imread(str(tmp_path / folder / name)).astype(int) for folder in ("one", "two"))
        assert np.abs(first - second).max() <= 1
