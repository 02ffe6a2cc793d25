"""papers/vit.yaml against the reference table, and the schema against mistakes."""

from pathlib import Path

import pytest
import yaml

from ppcore.errors import ConfigError
from ppcore.report import load_paper
from ppcore.report.formats import decimals

VIT = Path(__file__).parents[2] / "papers" / "vit.yaml"

# Trained parameters with 1000 classes: 224 px from vit_jax's own tests, 384 px from timm. Typed here a second time.
COUNTS = {
    "vit_tiny_patch16_224": 5_717_416,
    "vit_tiny_patch16_384": 5_790_376,
    "vit_small_patch16_224": 22_050_664,
    "vit_small_patch16_384": 22_196_584,
    "vit_small_patch32_224": 22_878_952,
    "vit_small_patch32_384": 22_915_432,
    "vit_base_patch8_224": 86_576_872,
    "vit_base_patch16_224": 86_567_656,
    "vit_base_patch16_384": 86_859_496,
    "vit_base_patch32_224": 88_224_232,
    "vit_base_patch32_384": 88_297_192,
    "vit_large_patch16_224": 304_326_632,
    "vit_large_patch16_384": 304_715_752,
    "vit_large_patch32_224": 306_535_400,
    "vit_large_patch32_384": 306_632_680,
    "vit_huge_patch14_224": 632_045_800,
    "vit_tiny_r_s16_p8_224": 6_337_704,
    "vit_tiny_r_s16_p8_384": 6_355_944,
    "vit_small_r26_s32_224": 36_431_912,
    "vit_small_r26_s32_384": 36_468_392,
    "vit_base_r50_s16_224": 98_659_112,
    "vit_base_r50_s16_384": 98_950_952,
    "vit_large_r50_s32_224": 328_994_856,
    "vit_large_r50_s32_384": 329_092_136,
}


def plain_vit_params(width: int, depth: int, mlp: int, patch: int, size: int) -> int:
    """The count by hand: patches, class token and positions, blocks, final norm, 1000-class head."""
    tokens = (size // patch) ** 2 + 1
    embed = 3 * patch * patch * width + width + width + tokens * width
    block = 4 * width + (3 * width * width + 3 * width) + (width * width + width) + (2 * width * mlp + mlp + width)
    return embed + depth * block + 2 * width + 1000 * width + 1000


@pytest.fixture(scope="module")
def paper():
    return load_paper(VIT)


def test_every_builder_has_the_reference_count(paper):
    assert {item.builder: item.params for item in paper.architecture} == COUNTS
    assert len(paper.architecture) == len(COUNTS)  # no builder twice


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("tiny", (192, 12, 768)),
        ("small", (384, 12, 1536)),
        ("base", (768, 12, 3072)),
        ("large", (1024, 24, 4096)),
        ("huge", (1280, 32, 5120)),
    ],
)
def test_plain_counts_follow_from_the_architecture(paper, size, shape):
    found = 0
    for item in paper.architecture:
        if item.builder.startswith(f"vit_{size}_patch"):
            patch, pixels = (int(part) for part in item.builder.removeprefix(f"vit_{size}_patch").split("_"))
            assert item.params == plain_vit_params(*shape, patch, pixels), item.builder
            found += 1
    assert found >= 1


def test_known_cells_stand_where_the_paper_has_them(paper):
    cells = {(f.table.id, f.group, f.dataset, f.model, f.builder): f.value for f in paper.figures()}
    assert cells["table5", "ImageNet-1k", "imagenet-1k", "B/16", "vit_base_patch16_384"] == 77.91
    assert cells["table5", "ImageNet-21k", "imagenet-1k", "H/14", None] == 85.13
    assert cells["table5", "JFT-300M", "pets", "L/32", "vit_large_patch32_384"] == 95.83
    assert cells["table2", "", "imagenet-1k", "H/14, JFT-300M", None] == 88.55
    assert cells["augreg", "AugReg", "imagenet-1k", "R50+L/32", "vit_large_r50_s32_384"] == 85.99
    assert len(paper.figures()) == 24 + 84 + 9 + 14 + 29


def test_accuracies_are_percentages_and_top5_is_above_top1(paper):
    for figure in paper.figures():
        if figure.metric in ("top1", "top5"):
            assert 50 < figure.value < 100, figure
    by_model = {(f.model, f.group, f.metric): f.value for f in paper.figures() if f.table.id == "timm"}
    pairs = [
        (value, by_model[model, group, "top1"])
        for (model, group, metric), value in by_model.items()
        if metric == "top5"
    ]
    assert len(pairs) == 3
    assert all(top5 > top1 for top5, top1 in pairs)


def test_every_number_has_a_source_and_a_protocol(paper):
    for item in [*paper.architecture, *paper.tables, *paper.peers]:
        assert paper.sources[item.source.ref].url.startswith("https://")
        assert item.source.where.strip()
    for item in [*paper.tables, *paper.peers]:
        assert item.protocol.strip()


def test_unmeasured_expectations_are_whole_or_null(paper):
    for quick in paper.quick:
        fields = (quick.expected, quick.spread, quick.seeds, quick.test_images)
        assert all(value is None for value in fields) or all(value is not None for value in fields), quick.config


def broken(tmp_path: Path, change) -> Path:
    data = yaml.safe_load(VIT.read_text())
    change(data)
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(tabels=d.pop("tables")), ["tables"]),
        (lambda d: d.update(extra=1), ["extra", "unknown key"]),
        (lambda d: d["tables"][0]["rows"][0].update(value=[1.0]), ["tables.0.rows.0.value", "unknown key"]),
        (lambda d: d["architecture"][3].update(params="22,196,584"), ["architecture.3.params", "integer"]),
        (lambda d: d["architecture"][3].update(params=22.5), ["architecture.3.params"]),
        (lambda d: d["tables"][1]["rows"][0]["values"].pop(), ["table5", "CIFAR-10", "4 values for 5 columns"]),
        (lambda d: d["tables"][1]["rows"][0]["values"].__setitem__(0, float("nan")), ["tables.1.rows.0.values.0"]),
        (lambda d: d["tables"][1].pop("source"), ["tables.1.source"]),
        (lambda d: d["tables"][1].update(protocol=""), ["tables.1.protocol"]),
        (lambda d: d["peers"][0]["source"].update(ref="padleclas"), ["padleclas", "did you mean 'paddleclas'"]),
        (lambda d: d["tables"][1]["rows"][0].update(dataset="cifar-10"), ["cifar-10", "did you mean 'cifar10'"]),
        (
            lambda d: d["peers"][1]["rows"][0].update(builder="vit_tinny_patch16_224"),
            ["did you mean 'vit_tiny_patch16_224'"],
        ),
        (lambda d: d["fidelity"]["levels"][0].update(level=6), ["fidelity.levels.0.level"]),
        (lambda d: d.pop("metrics"), ["metrics"]),
        (lambda d: d.update(metrics=[]), ["metrics"]),
        (lambda d: d["metrics"][0].pop("higher_is_better"), ["metrics.0.higher_is_better", "required"]),
        (lambda d: d["metrics"][0].update(digit=2), ["metrics.0.digit", "unknown key"]),
        (lambda d: d["metrics"].append(d["metrics"][0]), ["the key 'top1' is used twice"]),
        (lambda d: d["tables"][1].update(metric="top_1"), ["metric 'top_1' is not in metrics", "did you mean 'top1'"]),
        (lambda d: d["tables"][1]["rows"][0].update(metric="rank"), ["metric 'rank' is not in metrics"]),
        (lambda d: d["tables"][1]["columns"][0].update(metric="rank"), ["metric 'rank' is not in metrics"]),
        (lambda d: d["quick"][0].update(metric="rank"), ["metric 'rank' is not in metrics"]),
        (
            lambda d: d["quick"][0].update(published={"table": "table5", "row": "ViT", "column": "none"}),
            ["published: table 'table5', row 'ViT', column 'none': no such number"],
        ),
        (lambda d: d["fidelity"]["trained"][0].update(metric="rank"), ["metric 'rank' is not in metrics"]),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, change, words):
    path = broken(tmp_path, change)
    with pytest.raises(ConfigError) as error:
        load_paper(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["a: [1", "- just\n- a list\n", "", "\x00"])
def test_what_is_no_mapping_is_one_line(tmp_path, text):
    path = tmp_path / "paper.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_paper(path)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_paper(path)


@pytest.mark.parametrize(
    ("values", "least", "digits"),
    [
        ([82.0, 81.0], 2, 2),
        ([82.044, None, 81.5], 2, 3),
        ([28.0, 49.0], 0, 0),
        ([28.0, 2.36], 0, 2),
        ([940.4, 2536.5], 1, 1),
        ([None], 2, 2),
    ],
)
def test_a_column_has_the_decimals_of_its_figures_and_at_least_its_metrics(values, least, digits):
    assert decimals(values, least) == digits
