"""docs/hierarchical.md says what the code does."""

import importlib.util
import json
import re
import shlex
import sys

import numpy as np
import paddle
import pytest
from conftest import ROOT, as_checkout, run_lines, run_python

import ppswin
from ppcore import config, weights
from ppcore.layers.relative_bias import relative_position_index
from ppcore.layers.token_windows import RULES
from ppcore.report import load_paper
from ppcore.reproduce.fidelity import count_parameters
from ppcore.reproduce.recipes import load_recipes, recipe

sys.path.append(str(ROOT / "tests" / "weights"))
from pickles import dictionary, tensor, torch_file

PAGE = (ROOT / "docs" / "hierarchical.md").read_text(encoding="utf-8")
SWIN = PAGE.partition("\n## Swin Transformer\n")[2].partition("\n## ")[0]
# Networks of the page's builders, small enough for a test.
TINY = {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2]}


def commands(text: str) -> list[str]:
    return [
        line for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.S | re.M) for line in block.splitlines()
    ]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    lines = SWIN[SWIN.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def official_file(path, model) -> None:
    """A .pth as the official code writes it: under `model`, with a layer's index."""
    arrays = weights.export(model, layout="swin")
    arrays["layers.0.blocks.0.attn.relative_position_index"] = relative_position_index(model.blocks[0].window)
    entries, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        kind, stored = ("LongStorage", "<i8") if array.dtype == np.int64 else ("FloatStorage", "<f4")
        strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        entries[name] = tensor(kind, str(key), array.size, 0, array.shape, strides)
        storages[str(key)] = array.astype(stored).tobytes()
    torch_file(path, dictionary({"model": dictionary(entries)}), storages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a checkout has, a few pictures as ImageNet, and the files the page names (small, random)."""
    folder = tmp_path_factory.mktemp("hierarchical")
    as_checkout(folder)
    paddle.seed(0)
    for builder in ("swin_tiny_patch4_window7_224", "swin_base_patch4_window7_224_22k"):
        official_file(folder / f"{builder}.pth", getattr(ppswin, builder)(**TINY))
    return folder


class TestSwin:
    def test_its_commands_in_their_order(self, folder):
        lines = [line for line in commands(SWIN) if "reproduce.py" not in line]
        assert len(lines) == 6
        small = " ".join(f"-o {shlex.quote(f'Arch.{key}={value}')}" for key, value in TINY.items())
        more = {
            "tools/eval.py -c configs": f"{small} -o DataLoader.Eval.num_workers=0",
            "tools/convert_weights.py": small.replace("Arch.", ""),
            "tools/train.py": f"{small} -o AMP.level=O0 -o 'Global.duration={{steps: 1}}' -o 'Global.eval_every={{steps: 1}}'"
            " -o DataLoader.Train.batch_size=4 -o DataLoader.Train.num_workers=0 -o DataLoader.Eval.num_workers=0",
        }
        if importlib.util.find_spec("paddle2onnx") is None:
            more["tools/export_model.py"] = "-o Export.formats=[paddle]"
        added = [" ".join([line, *(text for begin, text in more.items() if begin in line)]) for line in lines]
        said = dict(zip([line.split()[1] for line in lines], run_lines(added, folder), strict=True))
        best = json.loads((folder / "output/swin_base_384/metrics.jsonl").read_text().splitlines()[-1])["best"]
        result = json.loads(said["tools/eval.py"])
        assert (result["n"], result["top1"]) == (4, best["top1"])
        card = json.loads((folder / "swin_base_384.card.json").read_text())["provenance"]
        assert card["architecture"]["name"] == "ppswin.swin_base_patch4_window12_384"
        text = (folder / "output/swin_base_384/log.txt").read_text()
        assert "position bias: 4 tables of 7x7 windows resampled to 12x12 (swin_bicubic)" in text
        assert "head: the 1000 classes of ImageNet-1k taken from 21841 (map22kto1k)" in text
        assert (folder / "swin_base_384" / "manifest.json").is_file()
        model = ppswin.swin_tiny_patch4_window7_224(**TINY)
        weights.load(model, folder / "swin_tiny.safetensors", source="timm")

    def test_its_python(self, folder):
        [code] = re.findall(r"^```python\n(.*?)^```", SWIN, flags=re.S | re.M)
        wanted = re.findall(r"# (.*)$", code, flags=re.M)
        assert run_python(code, folder).splitlines()[-1:] == wanted

    def test_its_builders(self):
        paper = load_paper(ROOT / "papers" / "swin.yaml")
        published = {
            (f.builder, f.group): f.value for f in paper.figures() if f.table.id == "readme" and f.metric == "top1"
        }
        found = rows("builder in `ppswin`")
        assert len(found) == 6
        for builder, count, count_22k, _, accuracy in found:
            builder = builder.strip("`")
            for name, said in ((builder, count), (f"{builder}_22k", count_22k)):
                assert count_parameters(getattr(ppswin, name)) == int(said.replace(",", ""))
            both = [published.get((builder, group)) for group in ("ImageNet-1k", "ImageNet-22k, then 1k")]
            wanted = {f"{both[0]}", f"{both[1]} after ImageNet-22k"} - {"None", "None after ImageNet-22k"}
            assert set(accuracy.split("; ")) <= wanted

    def test_its_rules_layouts_and_heads(self):
        assert {cells[0].split("`")[1] for cells in rows("`window_rule`")} == set(RULES)
        model = ppswin.SwinTransformer(img_size=32, window_size=4, **TINY)
        maps = {name: layout.pos_embed for name, layout in model.weight_maps().items()}
        assert {cells[0].strip("`"): cells[2].strip("`") for cells in rows("layout")} == maps
        assert {cells[0].strip("`") for cells in rows("`new_head`")} == {"true", *model.weight_fitting().heads}

    def test_its_rows_are_the_recipes(self):
        paper = load_paper(ROOT / "papers" / "swin.yaml")
        recipes = load_recipes(ROOT / "papers" / "swin.yaml", paper)
        first, second = [shlex.split(line) for line in commands(SWIN) if "reproduce.py" in line]
        assert first[2:] == ["swin"]
        assert recipe(recipes, second[second.index("--table") + 1], second[second.index("--row") + 1]).published == 86.4
        plain = config.load([ROOT / "configs/swin/tiny_224.yaml"]).Arch
        ablations = {item.row: item for item in recipes if item.table == "table4"}
        found = rows("row ")
        assert len(found) == 6
        for row, published, option in found:
            item = ablations[row.partition(",")[0]]
            assert item.published == float(published)
            loaded = config.load([ROOT / "configs/swin/tiny_224.yaml"], option.strip("`").split())
            [step] = item.steps
            assert loaded.Arch == config.load([ROOT / file for file in step.configs], step.options).Arch
            assert (loaded.Arch == plain) == (not option)
