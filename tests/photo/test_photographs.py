"""`tools/infer.py` on photographs: what is written where, what is refused, and tiles that leave no trace."""

import json
import os

import numpy as np
import paddle
import pytest
from PIL import Image, ImageOps

import ppuhdfour
from ppcore import config, weights
from ppcore.config import InferSection
from ppcore.deploy import networks, tiles
from ppcore.engine import enhance_files, predict
from ppcore.errors import ConfigError, DataError
from ppcore.metrics import psnr_ssim
from ppcore.photo import enhance, output_paths
from ppcore.photo.photo_form import AS_IT_IS
from ppcore.photo.photo_io import read_photograph
from ppcore.photo.photograph import Photograph

RNG = np.random.default_rng(0)
SMALL = {"scale": 2, "extract": 2, "widths": [4, 4, 4], "fusion": 4}


def brighter(x):
    """Stands for a network; what it is given must be what the contract says."""
    assert x.dtype == np.float32
    assert x.shape[:2] == (1, 3)
    assert 0 <= x.min() <= x.max() <= 1
    return x * 1.5


def picture(path, size=(12, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path, **options)
    return path


def enhance_all(inputs, output, compute=brighter, form=AS_IT_IS, **options):
    wanted = InferSection(input=[str(i) for i in inputs], output=str(output), **options)
    jobs = output_paths.plan(list(wanted.input), output)
    return enhance_files.enhance_files(compute, jobs, output, wanted, "weights", form)


def written(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "enhanced.jsonl")


class TestPixels:
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_full_depth_is_seen_clamped_and_rounded(self, kind):
        most = np.iinfo(kind).max
        pixels = RNG.integers(0, most + 1, (300, 5, 3)).astype(kind)  # more rows than are converted at once
        photo = Photograph(pixels, None, "PNG")
        same = enhance.enhance(lambda x: x, photo, "f").pixels
        np.testing.assert_array_equal(same, pixels)
        assert same.dtype == kind
        result = enhance.enhance(lambda x: x * np.float32(2) - np.float32(0.25), photo, "f").pixels
        expected = np.rint(np.clip(pixels / most * 2 - 0.25, 0, 1) * most)
        assert np.abs(result - expected).max() <= 1  # a float32 may fall on the other side of a half
        assert (result == expected).mean() > 0.99

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_rounds_as_the_metrics_do(self, kind):
        most, halves = np.iinfo(kind).max, np.arange(200) + 0.5
        near = (halves / most).astype(np.float32)
        near = np.concatenate([np.nextafter(near, np.float32(0)), near, np.nextafter(near, np.float32(1))])
        exact = np.rint(near.astype(np.float64) * most)
        assert (np.rint(near * np.float32(most)) != exact).any()  # what is to be told apart
        y = np.broadcast_to(near[:, None], (1, 3, len(near), 1))
        result = enhance.enhance(lambda x: y, Photograph(np.zeros((len(near), 1, 3), kind), None, "PNG"), "f").pixels
        np.testing.assert_array_equal(result[:, 0], np.stack([exact] * 3, axis=1))
        if kind == np.uint8:
            np.testing.assert_array_equal(result[:, 0, 0], psnr_ssim.round_to_8_bits(near) * 255)

    def test_grey_stays_grey(self):
        grey = RNG.integers(0, 256, (6, 5, 1)).astype(np.uint8)
        result = enhance.enhance(
            lambda x: x * np.float32([1, 0, 0]).reshape(1, 3, 1, 1), Photograph(grey, None, "PNG"), "f"
        )
        np.testing.assert_array_equal(result.pixels, np.rint(grey * np.float32(0.299)))

    def test_a_result_that_is_not_finite_is_no_picture(self):
        photo = Photograph(np.zeros((2, 2, 3), np.uint8), None, "PNG")
        for value in (np.nan, np.inf):
            if value == np.inf:  # clamped to white
                assert enhance.enhance(lambda x: x + np.inf, photo, "f").pixels.min() == 255
                continue
            with pytest.raises(DataError, match="f: the network's result is not finite"):
                enhance.enhance(lambda x: x * np.nan, photo, "f")


class TestNames:
    def test_folders_keep_their_tree(self, tmp_path):
        for name in ("a.jpg", "a.png", "A.jpeg", "night/a.jpg", "night/deep/b.tif"):
            picture(tmp_path / "in" / name)
        (tmp_path / "in" / "notes.txt").write_text("no image")
        records = enhance_all([tmp_path / "in"], tmp_path / "out")
        assert written(tmp_path / "out") == ["A.jpeg", "a.jpg", "a.png", "night/a.jpg", "night/deep/b.tif"]
        assert [r["output"] for r in records] == [r["file"].removeprefix(f"{tmp_path}/in/") for r in records]

    def test_equal_names_are_numbered(self, tmp_path):
        for name in ("x/a.png", "y/a.png", "z/A.PNG", "x/b.gif", "y/b.png"):
            picture(tmp_path / name)
        enhance_all([tmp_path / "x", *sorted(tmp_path.glob("[yz]/*"))], tmp_path / "out")
        assert written(tmp_path / "out") == ["A_3.PNG", "a.png", "a_2.png", "b.png", "b_2.png"]

    def test_globs_and_repeats(self, tmp_path, monkeypatch):
        for name in ("in/a.png", "in/b.png", "in/deep/c.png"):
            picture(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        enhance_all(["in/**/*.png", "in/a.png", "./in/b.png", tmp_path / "in/a.png"], tmp_path / "out")
        assert written(tmp_path / "out") == ["a.png", "b.png", "deep/c.png"]
        jobs = output_paths.plan("in/*/../a.png", tmp_path / "other")
        assert [job.target for job in jobs] == [tmp_path / "other" / "a.png"]

    def test_photographs_that_are_not_read_are_mentioned(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr(output_paths.log, "info", lambda text, *values: said.append(text % values))
        picture(tmp_path / "a.png")
        for name in ("b.HEIC", "c.nef", "d.txt"):
            (tmp_path / name).write_bytes(b"")
        assert len(output_paths.plan(str(tmp_path), tmp_path / "out")) == 1
        assert len(said) == 1
        assert "2 files passed over" in said[0]

    def test_the_suffix_follows_the_content(self, tmp_path):
        picture(tmp_path / "in" / "really.jpg", format="PNG")
        enhance_all([tmp_path / "in"], tmp_path / "out")
        assert written(tmp_path / "out") == ["really.png"]

    @pytest.mark.parametrize("text", ["nothing/*.jpg", "x" * 5000, "a\0b", "empty"])
    def test_nothing_found(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="is no image"):
            output_paths.plan(text, tmp_path / "out")


class TestNothingIsLost:
    def test_the_folder_of_the_input(self, tmp_path):
        before = picture(tmp_path / "a.png").read_bytes()
        (tmp_path / "link").symlink_to(tmp_path)
        for folder, error in ((tmp_path, ConfigError), (tmp_path / "link", ConfigError)):
            with pytest.raises(error, match="is the folder of the input"):
                enhance_all([tmp_path], folder)
        for inputs in ([tmp_path / "a.png"], [f"{tmp_path}/*.png"]):
            for folder in (tmp_path, tmp_path / "link", tmp_path / "x" / ".."):
                (tmp_path / "x").mkdir(exist_ok=True)
                with pytest.raises(DataError, match="would replace the input"):
                    enhance_all(inputs, folder)
        assert (tmp_path / "a.png").read_bytes() == before
        assert not (tmp_path / "enhanced.jsonl").exists()

    @pytest.mark.parametrize("how", ["symlink", "hardlink", "dangling", "folder", "stranger"])
    def test_whatever_is_in_the_way(self, how, tmp_path):
        source = picture(tmp_path / "in" / "a.png")
        before, target = source.read_bytes(), tmp_path / "out" / "a.png"
        target.parent.mkdir()
        if how == "symlink":
            target.symlink_to(source)
        elif how == "hardlink":
            target.hardlink_to(source)
        elif how == "dangling":
            target.symlink_to(tmp_path / "nowhere")
        elif how == "folder":
            target.mkdir()
        else:
            target.write_bytes(b"the user's")
        with pytest.raises(DataError, match="choose another Infer") as error:
            enhance_all([tmp_path / "in"], tmp_path / "out", compute=None)  # refused before anything is computed
        assert "\n" not in str(error.value)
        assert source.read_bytes() == before
        if how == "stranger":
            assert target.read_bytes() == b"the user's"

    def test_another_input_is_in_the_way(self, tmp_path):
        """Written into a folder beside, where the other input of that name lies."""
        picture(tmp_path / "x" / "a.png")
        other = picture(tmp_path / "y" / "a.png").read_bytes()
        with pytest.raises(DataError, match=r"would replace the input .*y/a\.png"):
            enhance_all([tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"], tmp_path / "y")
        assert (tmp_path / "y" / "a.png").read_bytes() == other

    def test_it_comes_in_the_way_meanwhile(self, tmp_path):
        picture(tmp_path / "in" / "a.png")

        def slow(x):
            (tmp_path / "out" / "a.png").write_bytes(b"the user's")
            return x

        with pytest.raises(DataError, match="no earlier result"):
            enhance_all([tmp_path / "in"], tmp_path / "out", compute=slow)
        assert (tmp_path / "out" / "a.png").read_bytes() == b"the user's"

    def test_earlier_results_are_replaced_but_not_if_edited(self, tmp_path):
        picture(tmp_path / "in" / "a.png")
        for factor in (1, 2, 1):
            enhance_all([tmp_path / "in"], tmp_path / "out", compute=lambda x, by=factor: x * by)
        target = tmp_path / "out" / "a.png"
        np.testing.assert_array_equal(read_photograph(target).pixels, read_photograph(tmp_path / "in" / "a.png").pixels)
        target.write_bytes(target.read_bytes() + b"edited")
        with pytest.raises(DataError, match="no earlier result"):
            enhance_all([tmp_path / "in"], tmp_path / "out")

    def test_results_inside_the_input_are_not_enhanced_again(self, tmp_path):
        picture(tmp_path / "a.png")
        for _ in range(3):
            assert len(enhance_all([tmp_path], tmp_path / "out")) == 1
            assert len(enhance_all([f"{tmp_path}/**/*.png"], tmp_path / "out")) == 1
        assert written(tmp_path) == ["a.png", "out/a.png"]
        with pytest.raises(DataError, match="holds only earlier results"):
            enhance_all([f"{tmp_path}/out/*.png"], tmp_path / "out")
        with pytest.raises(DataError, match="would replace the input"):
            enhance_all([tmp_path / "out" / "a.png"], tmp_path / "out")

    def test_a_killed_run_leaves_no_half_file(self, tmp_path, monkeypatch):
        picture(tmp_path / "in" / "a.png")

        class Killed(BaseException):
            pass

        def kill(*_):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", kill)
            with pytest.raises(Killed):
                enhance_all([tmp_path / "in"], tmp_path / "out")
        assert written(tmp_path / "out") == []
        record = tmp_path / "out" / "enhanced.jsonl"
        record.write_text(record.read_text() + '{"cut')
        for _ in range(2):  # the second run recognises what the first wrote
            assert len(enhance_all([tmp_path / "in"], tmp_path / "out")) == 1

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        source = picture(tmp_path / "a.png")
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"cannot write .*enhanced\.jsonl"):
            enhance_all([source], tmp_path / "file", compute=None)  # found out before anything is computed


class TestUnreadable:
    def test_skipped_by_a_line_each(self, tmp_path, capsys):
        picture(tmp_path / "in" / "a.png")
        (tmp_path / "in" / "b.jpg").write_bytes(b"")
        (tmp_path / "in" / "c\nd.jpg").write_bytes(b"no image")
        cut = picture(tmp_path / "in" / "e.png")
        cut.write_bytes(cut.read_bytes()[:90])
        assert len(enhance_all([tmp_path / "in"], tmp_path / "out")) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
        assert len(lines) == 3
        assert "b.jpg" in lines[0]
        assert "c d.jpg" in lines[1]
        assert written(tmp_path / "out") == ["a.png"]

    def test_or_the_end(self, tmp_path):
        (tmp_path / "b.jpg").write_bytes(b"")
        with pytest.raises(DataError, match="the file is empty"):
            enhance_all([tmp_path / "b.jpg"], tmp_path / "out", unreadable="raise")
        with pytest.raises(DataError, match="none of 1 photographs"):
            enhance_all([tmp_path / "b.jpg"], tmp_path / "out")
        assert written(tmp_path / "out") == []

    def test_names_that_are_no_text(self, tmp_path, capsys):
        name = os.fsencode(tmp_path) + b"/in\xff.png"
        picture(tmp_path / "x.png").rename(os.fsdecode(name))
        assert len(enhance_all([os.fsdecode(name)], tmp_path / "out")) == 1
        assert "in\N{REPLACEMENT CHARACTER}.png ->" in capsys.readouterr().out
        assert json.loads((tmp_path / "out" / "enhanced.jsonl").read_text())["bits"] == 8
        assert len(enhance_all([os.fsdecode(name)], tmp_path / "out")) == 1  # its record is recognised


class TestTiles:
    @pytest.mark.parametrize("kwargs", [{}, {"scale": 8, "refine": 0, "tail": 1}, {"refine": 1, "tail": 3}])
    @pytest.mark.parametrize("size", [(1, 1), (9, 70), (65, 33), (120, 50)])
    def test_equal_the_whole(self, kwargs, size):
        paddle.seed(1)
        model = ppuhdfour.UHDFour(**{**SMALL, **kwargs})
        model.eval()
        x = paddle.rand([1, 3, *size])
        with paddle.no_grad():
            whole = model(x).numpy()
        for tile in (1, 7, 24, 500):
            tiled = tiles.run_eager(model, x, tile)
            assert np.abs(tiled - whole).max() <= 2e-6 * max(1.0, np.abs(whole).max()), tile

    def test_a_tile_needs_a_tail(self):
        with pytest.raises(ConfigError, match="does not split"):
            tiles.run_eager(paddle.nn.Identity(), paddle.rand([1, 3, 4, 4]), 2)


class TestEngines:
    class Method(paddle.nn.Layer):
        makes_images, needs_weights = True, False

        def forward(self, x):
            return x * 0.5

    def test_methods_without_weights_run_as_they_are(self, tmp_path):
        compute = networks.network(self.Method(), InferSection(), "cpu", tmp_path)
        assert compute(np.ones((1, 3, 2, 2), np.float32)).max() == 0.5
        with pytest.raises(ConfigError, match="has no weights"):
            networks.network(self.Method(), InferSection(engine="openvino"), "cpu", tmp_path)
        with pytest.raises(ConfigError, match="needs an exported network"):
            networks.network(self.Method(), InferSection(precision="bf16"), "cpu", tmp_path)

    def test_the_fastest_engine_computes_what_the_model_does(self, tmp_path):
        paddle.seed(0)
        model = ppuhdfour.UHDFour(**SMALL)
        model.eval()
        x = RNG.random((1, 3, 33, 50), np.float32)
        compute = networks.network(model, InferSection(tile=16), "cpu", tmp_path)
        np.testing.assert_allclose(compute(x), networks.eager(model, InferSection())(x), rtol=0, atol=1e-5)
        assert len(list(tmp_path.glob("exported/*"))) == 1

    def test_a_run_whose_folder_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="cannot be written"):
            networks.network(ppuhdfour.UHDFour(**SMALL), InferSection(), "cpu", tmp_path / "file" / "run")


CONFIG = """
Global: {{output_dir: {output}, device: cpu}}
Arch: {{name: ppuhdfour.UHDFour, scale: 2, extract: 2, widths: [4, 4, 4], fusion: 4}}
Infer: {{engine: eager}}
"""


@pytest.fixture
def network(tmp_path):
    """A configuration and a weight file of a tiny network."""
    paddle.seed(0)
    (tmp_path / "c.yaml").write_text(CONFIG.format(output=tmp_path / "run"))
    weights.save(ppuhdfour.UHDFour(**SMALL), tmp_path / "tiny.safetensors")
    return tmp_path / "c.yaml", tmp_path / "tiny.safetensors"


def test_the_tool_end_to_end(network, tmp_path, tool):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = picture(tmp_path / "in" / "a.jpg", (40, 60), exif=exif)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG")
    command = ("-c", network[0], "--weights", network[1], "-o", f"Infer.input={tmp_path / 'in'}")
    done = tool("infer", *command, "-o", "Infer.tile=16")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{source} -> {tmp_path / 'run' / 'infer' / 'a.jpg'}\n"
    assert "skipped: cannot decode image" in done.stderr
    assert "1/2 40x60 8 bit, " in done.stderr, "upright"
    assert "eta 0:00:00" not in done.stderr
    with Image.open(tmp_path / "run" / "infer" / "a.jpg") as image:
        assert image.size == (60, 40)
        assert ImageOps.exif_transpose(image).size == (40, 60)
    done = tool("infer", *command, "-o", f"Infer.output={tmp_path / 'in'}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: Infer.output")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arch", ["{name: ppllie.classical.Identity}", "{name: ppllie.classical.Gamma, gamma: 1}"])
def test_a_method_that_would_only_copy(network, tmp_path, arch):
    picture(tmp_path / "in" / "a.png")
    command = [f"Infer.input={tmp_path / 'in'}", "Infer.engine=auto"]
    others = "Baselines=[{name: ppllie.classical.Identity}, {name: ppllie.classical.LIME}]"
    settings = config.load(network[0], [f"Arch={arch}", others, *command])
    with pytest.raises(ConfigError, match=r"would only copy.*Arch.name=ppllie.classical.LIME") as caught:
        predict.run(settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "infer" / "a.png").exists()
    predict.run(config.load(network[0], ["Arch={name: ppllie.classical.Gamma}", *command]))
    assert (tmp_path / "run" / "infer" / "a.png").exists()


def test_a_classifier_is_not_asked_for_photographs(tiny_config, tmp_path):
    picture(tmp_path / "a.png")
    settings = config.load(tiny_config, [f"Infer.input={tmp_path / 'a.png'}"])
    with pytest.raises(ConfigError, match="makes no images"):
        enhance_files.run(settings, paddle.nn.Linear(1, 1), "x", "cpu")
