"""The page with the section on LITv2 and HiLo says what the code does."""

import importlib.util
import json
import re
import shlex

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT, as_checkout, run_lines, run_python

import pplit
from ppcore import config, weights
from ppcore.report import load_paper
from ppcore.reproduce.recipes import load_recipes, recipe

HEADING = "## LITv2 and HiLo\n"
[PAGE] = [text for file in (ROOT / "docs").glob("*.md") if HEADING in (text := file.read_text(encoding="utf-8"))]
LITV2 = PAGE.partition(HEADING)[2].partition("\n## ")[0]
# A network of the page's builders, small enough for a test.
TINY = {"embed_dim": 4, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
PAPER = load_paper(ROOT / "papers" / "litv2.yaml")


def commands() -> list[str]:
    return [
        line for block in re.findall(r"^```bash\n(.*?)^```", LITV2, flags=re.S | re.M) for line in block.splitlines()
    ]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    lines = LITV2[LITV2.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def shapes_alone(builder: str, **options):
    with paddle.LazyGuard():
        return getattr(pplit, builder)(**options)


def counted(model) -> str:
    return f"{sum(p.size for p in model.parameters() if p.trainable):,}"


def figures(table: str) -> dict:
    return {(f.builder or f.model): f.value for f in PAPER.figures() if f.table.id == table and f.metric == "top1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a checkout has, a few pictures as ImageNet, and the files the page names (small, random)."""
    folder = tmp_path_factory.mktemp("litv2")
    as_checkout(folder)
    paddle.seed(0)
    for name in ("litv2_s", "litv2_b"):
        arrays = weights.export(pplit.LITv2(**TINY), layout="litv2")
        if importlib.util.find_spec("torch"):
            import torch

            torch.save({"model": {n: torch.from_numpy(a.copy()) for n, a in arrays.items()}}, folder / f"{name}.pth")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch, which writes the authors' files")
def test_its_commands_in_their_order(folder):
    lines = [line for line in commands() if "reproduce.py" not in line]
    assert len(lines) == 6
    small = " ".join(f"-o {shlex.quote(f'Arch.{key}={value}')}" for key, value in TINY.items())
    more = {
        "tools/convert_weights.py": small.replace("Arch.", ""),
        "tools/e": f"{small} -o DataLoader.Eval.num_workers=0",
        "tools/train.py": f"{small} -o AMP.level=O0 -o 'Global.duration={{steps: 1}}' -o 'Global.eval_every={{steps: 1}}'"
        " -o DataLoader.Train.batch_size=4 -o DataLoader.Train.num_workers=0 -o DataLoader.Eval.num_workers=0",
    }
    if importlib.util.find_spec("paddle2onnx") is None:
        more["tools/export_model.py"] = "-o Export.formats=[paddle]"
    added = [" ".join([line, *(text for begin, text in more.items() if begin in line)]) for line in lines]
    said = run_lines(added, folder)
    best = json.loads((folder / "output/litv2/base_384/metrics.jsonl").read_text().splitlines()[-1])["best"]
    result = json.loads(said[3])
    assert (result["n"], result["top1"]) == (4, best["top1"])
    assert (folder / "litv2_b_384" / "manifest.json").is_file()
    model = pplit.litv2_small(**TINY)
    weights.load(model, folder / "litv2_small.safetensors")
    weights.load(pplit.litv2_base_384(**TINY), folder / "litv2_b_384.safetensors", "litv2")
    assert np.isfinite(model.head.weight.numpy()).all()


def test_its_python(folder):
    [code] = re.findall(r"^```python\n(.*?)^```", LITV2, flags=re.S | re.M)
    wanted = re.findall(r"# (.*)$", code, flags=re.M)
    assert run_python(code, folder).splitlines()[-1:] == wanted


def test_its_builders():
    found, published = rows("builder in `pplit`"), figures("readme")
    assert [cells[0] for cells in found] == [item.builder for item in PAPER.architecture]
    for builder, count, gflops, heads, accuracy in found:
        model = shapes_alone(builder)
        attention = model.layers[2].blocks[0].attn
        assert count == counted(model)
        assert gflops == f"{model.flops(224, 224) / 1e9:.2f} G ({model.flops(384, 384) / 1e9:.2f} G)"
        assert heads == f"{attention.h_heads}, {attention.l_heads}"
        assert float(accuracy) == published[builder]


def test_its_alphas():
    found = rows("alpha |")
    published = {row.name: row.values[0] for table in PAPER.tables if table.id == "alpha" for row in table.rows}
    assert len(found) == 7
    for alpha, heads, count, gflops, accuracy in found:
        model = shapes_alone("litv2_small", alpha=float(alpha))
        attention = model.layers[2].blocks[0].attn
        assert heads == f"{attention.l_heads}, {attention.h_heads}"
        assert count == counted(model)
        assert gflops == f"{model.flops() / 1e9:.2f} G"
        assert float(accuracy) == published[f"alpha {alpha}"]


def test_its_optimizer_is_the_recipes():
    [text] = re.findall(r"^```yaml\n(.*?)^```", LITV2, flags=re.S | re.M)
    said = yaml.safe_load(text)["Optimizer"]
    optimizer = config.load([ROOT / "configs/litv2/small_224.yaml"]).Optimizer
    assert said["base_lr_factors"] == optimizer.base_lr_factors
    assert {
        key: float(v) if isinstance(v, str) and v[0].isdigit() else v for key, v in said["lr"].items()
    } == optimizer.lr


def test_its_rows_are_the_recipes():
    recipes = load_recipes(ROOT / "papers" / "litv2.yaml", PAPER)
    first, *others = [shlex.split(line) for line in commands() if "reproduce.py" in line]
    assert first[2:] == ["litv2"]
    found = [recipe(recipes, one[one.index("--table") + 1], one[one.index("--row") + 1]) for one in others]
    assert [one.published for one in found] == [84.7, 81.88]
