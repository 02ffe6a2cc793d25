"""The recipes of papers/*_recipes.yaml: each row of a published table has one, which loads, runs in order and says what the paper says."""

import math
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from test_configs import PAPERS, ROOT, RUNNABLE, header, label

from ppcore import config
from ppcore.config import components
from ppcore.config.durations import Plan
from ppcore.engine.run_folder import essentials
from ppcore.optim import AdamW, decayed_names
from ppcore.reproduce.recipes import Step, load_recipes
from ppcore.weights.fitting import fitting_of

RECIPES = {key: load_recipes(ROOT / "papers" / f"{key}.yaml", paper) for key, paper in PAPERS.items()}
ROWS = [(key, item) for key, items in RECIPES.items() for item in items]
# Every training of a paper once, by its run's name.
PIECES = (Path(__file__).parent / "paper_settings.yaml").read_text(encoding="utf-8")
OF_PAPERS = [
    yaml.safe_load(PIECES + file.read_text(encoding="utf-8"))
    for file in sorted(Path(__file__).parent.glob("pp*/*_settings.yaml"))
]
SETTINGS = {key: of[key] for of in OF_PAPERS for key in of.keys() - {"pieces", "no_recipe"}}
OF_NO_RECIPE = [stem for of in OF_PAPERS for stem in of.get("no_recipe", [])]


@cache
def load(step: Step) -> config.Config:
    return config.load([ROOT / file for file in step.configs], step.options)


@cache
def every(step: Step) -> dict:
    """The configuration with every default."""
    return yaml.safe_load(load(step).to_yaml(defaults=True))


@cache
def build(step: Step):
    """The model, without memory for its parameters."""
    with paddle.LazyGuard():
        return components.build(load(step).Arch)


def name(step: Step) -> str:
    return load(step).Global.output_dir.rpartition("/")[2]


def used(step: Step) -> dict[str, str]:
    """Weights that a training needs, by what it needs them for."""
    loaded = load(step)
    start = {"start": loaded.Global.pretrained.path} if loaded.Global.pretrained else {}
    if "teacher" not in (loaded.Loss or {}):
        return start
    weights = loaded.Loss["teacher"]["weights"]
    return start | {"teacher": weights if isinstance(weights, str) else weights["path"]}


def made_here(step: Step) -> bool:
    """Whether a training starts from weights that another recipe leaves."""
    return used(step).get("start", "").startswith("output/")


def views(steps: dict) -> dict:
    """The steps of a pipeline; of one that makes views, those of its first."""
    return next(iter(steps["views"]["views"].values()))["transforms"] if "views" in steps else steps


def folders(data: dict) -> set[str]:
    """The first two parts of the folder that a data set names."""
    if isinstance(data.get("dataset"), dict):  # part of another
        return folders(data["dataset"])
    named = [data[key] for key in ("root", "folder") if key in data]
    return {"/".join("/".join(named).split("/")[:2])} if named else set()


def runs(key: str) -> dict[str, Step]:
    return {name(step): step for item in RECIPES[key] for step in item.steps}


RUNS = [(key, run) for key in RECIPES for run in sorted(runs(key))]


def find(key: str, table: str, row: str):
    [item] = [item for item in RECIPES[key] if (item.table, item.row) == (table, row)]
    return item


class TestEveryRow:
    @pytest.mark.parametrize(("key", "item"), ROWS, ids=lambda v: v if isinstance(v, str) else f"{v.table} {v.row}")
    def test_loads_and_runs_in_order(self, key, item):
        """Whatever a training starts from is left by one before it, and every one is for the last."""
        written, needed = [], set()
        for step in item.steps:
            assert all(file.startswith("configs/") for file in step.configs)
            for weights in used(step).values():
                folder, _, inside = weights.partition("/checkpoints/")
                assert folder in written or weights in item.needs, f"{weights} comes from no training before"
                assert inside == "latest" or not inside, "the last weights, not those the test images chose"
                needed |= {folder, weights}
            assert load(step).Global.output_dir == f"output/{key}/{name(step)}"
            assert load(step).Global.output_dir not in written
            written.append(load(step).Global.output_dir)
        assert set(written[:-1]) <= needed, "a training that nothing uses"

    @pytest.mark.parametrize(("key", "item"), ROWS, ids=lambda v: v if isinstance(v, str) else f"{v.table} {v.row}")
    def test_says_what_it_needs(self, key, item):
        """Folders of images, a teacher's weights and VGG's: all that is not part of the suite, and nothing else."""
        found = set()
        for step in item.steps:
            data, loss = load(step).DataLoader.Train.dataset, load(step).Loss or {}
            found |= folders(data) | folders(data.get("source", {}))
            found |= {weights for weights in used(step).values() if weights.startswith(("output/teachers/", "data/"))}
            found |= {loss["vgg_weights"]} if "vgg_weights" in loss else set()
        assert found == {need for need in item.needs if "downloaded" not in need}

    def test_the_same_folder_is_the_same_run(self):
        seen = {}
        for _, item in ROWS:
            for step in item.steps:
                run = essentials(load(step).tree)
                assert seen.setdefault(load(step).Global.output_dir, run) == run

    def test_no_configuration_is_forgotten(self):
        named = {file for _, item in ROWS for step in item.steps for file in step.configs}
        leaves = [label(path) for path in RUNNABLE if not {"quick", "templates"} & set(path.parts)]
        assert set(leaves) - named == {f"configs/{stem}.yaml" for stem in OF_NO_RECIPE}

    def test_a_file_as_it_stands_expects_what_is_published(self):
        for _, item in ROWS:
            last = item.steps[-1]
            if not last.options and item.table not in ("table2", "table3", "table10"):
                [line] = [line for line in header(ROOT / last.configs[0]) if line.startswith("Expected")]
                assert str(item.published) in re.findall(r"\d+\.\d+", line), last.configs

    def test_a_base_that_rows_begin_with_says_their_commands_and_figures(self):
        rows = {}
        for key, item in ROWS:
            rows.setdefault(item.steps[-1].configs[0], []).append((key, item))
        bases = {file: named for file, named in rows.items() if file.startswith("configs/_base_")}
        assert len(bases) >= 5 + 2 + 2
        for file, named in bases.items():
            text = " ".join(header(ROOT / file))
            [said] = re.findall(r'tools/reproduce\.py (\w+) --scale full --table (\w+) --row "([^"]+)"', text)
            step = find(*said).steps[-1]
            alone = shlex.split(re.search(r"tools/train\.py (.*?) Hours", text)[1])
            assert alone == [
                *(w for c in step.configs for w in ("-c", c)),
                *(w for o in step.options for w in ("-o", o)),
            ]
            numbers = re.findall(r"(\d+\.\d+) \(([^)]+)\)", text.partition("Expected (published)")[2])
            assert [(float(n), row) for n, row in numbers] == [(item.published, item.row) for _, item in named], file


class TestStarts:
    """A training that starts from another's weights takes all it can."""

    @pytest.mark.parametrize(("key", "run"), [(key, run) for key, run in RUNS if made_here(runs(key)[run])])
    def test_fits(self, key, run):
        step = runs(key)[run]
        source = runs(key)[used(step)["start"].split("/")[2]]
        start = load(step).Global.pretrained
        assert load(source).EMA is None or load(source).EMA.headline == "ema"
        if start.source == "pretraining":
            return self.takes_the_encoder(step, source, start)
        ours, theirs = ({n: tuple(p.shape) for n, p in build(s).named_parameters()} for s in (step, source))
        every_head = {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
        heads = every_head & set(theirs)
        # The pre-training head's hidden layer is left out (ViT, section 3.2).
        assert {n for n in theirs if n not in ours} <= {"pre_logits.fc.weight", "pre_logits.fc.bias"}
        # An encoder has no classifier.
        assert set(ours) - set(theirs) <= (every_head if start.new_head and not heads else set())
        differ = {n for n in ours if n in theirs and ours[n] != theirs[n]}
        positions = {n for n in ours if re.fullmatch(fitting_of(build(step)).resampled, n)}
        assert differ - positions <= (heads if start.new_head else set())
        if not positions:
            assert start.pos_embed is None
            return
        # DeiT III keeps the position embedding's grid: nothing to interpolate.
        assert (start.pos_embed is not None) >= bool(differ & positions)
        if key in ("deit", "deit3") and not load(step).Global.length().steps:
            assert (start.pos_embed == "deit_bicubic") == bool(differ & positions)

    def takes_the_encoder(self, step, source, start):
        """A network that was trained without labels gives all of its encoder, whose names the layout lists."""
        ours, theirs = (build(s).state_dict() for s in (step, source))
        small = {name: np.zeros(1, np.float32) for name in theirs}
        taken = build(step).weight_maps()["pretraining"].to_paddle(small, build(step))
        assert taken.keys() <= ours.keys()
        differ = {name for name in taken if ours[name].shape != theirs[name].shape}
        assert differ == ({"pos_embed"} if start.pos_embed else set())
        fresh = {name.split(".")[0] for name in ours.keys() - taken.keys()}
        assert fresh <= {"head", "fc_norm"}
        assert start.new_head
        assert {"patch_embed", "blocks", "cls_token"} <= {name.split(".")[0] for name in taken}


def count(key: str) -> dict[str, int]:
    return {table: sum(item.table == table for item in RECIPES[key]) for table in {i.table for i in RECIPES[key]}}


class TestEveryNumberOfTheTables:
    def test_deit(self):
        assert count("deit") == {
            "table2": 5 * 2, "table3": 6 * 4, "table5": 12, "table7": 4 * 6, "table8": 13 * 2, "table10": 4, "scratch": 3,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("key", "table", "least"),
        [("deit", "table3", 24), ("deit", "table7", 24), ("deit", "table8", 26), ("deit", "scratch", 3),
         ("deit3", "in1k", 8), ("deit3", "in21k", 8), ("vit", "table5", 24), ("uhdfour", "ablation", 8)],
    )  # fmt: skip
    def test_has_its_recipe(self, key, table, least):
        figures = [f for f in PAPERS[key].figures() if f.table.id == table]
        if key == "deit3":
            figures = [f for f in figures if f.dataset == "imagenet-1k"]
        found = sorted(item.published for item in RECIPES[key] if item.table == table)
        assert len(found) == least
        values = sorted(f.value for f in figures)
        assert all(found.count(value) <= values.count(value) for value in found)

    @pytest.mark.parametrize(("key", "item"), ROWS, ids=lambda v: v if isinstance(v, str) else f"{v.table} {v.row}")
    def test_of_the_model_and_data_that_it_trains(self, key, item):
        """Where a table says model and data of a number, it is that of what is trained last."""
        arch, data = load(item.steps[-1]).Arch, load(item.steps[-1]).DataLoader.Eval.dataset
        builder = arch["name"].rpartition(".")[2]
        known = PAPERS[key].datasets
        said = [f for f in PAPERS[key].figures() if f.table.id == item.table and f.value == item.published]
        assert said
        if all(f.builder and f.dataset for f in said) and (key, item.table) != ("deit", "table3"):
            # What learns without labels has no classes; its linear classifier is an evaluation.
            classes = (None, arch.get("num_classes"))
            encoder = load(item.steps[-1]).Loss is None and not arch.get("num_classes")
            fits = [f for f in said if f.builder == builder and (encoder or known[f.dataset].classes in classes)]
            assert fits, (builder, said)
            loaders = [loader for f in fits for loader in known[f.dataset].loaders]
            assert not loaders or any(loader.items() <= data.items() for loader in loaders)


def node(tree: dict, path: str):
    for part in path.split("."):
        tree = tree.get(part) if tree is not None else None
    return tree


def rates(loaded: config.Config, images: int) -> list[float]:
    """The learning rate of every epoch."""
    batch, epochs = loaded.DataLoader.Train.batch_size, round(loaded.Global.length().epochs)
    plan = Plan(images // batch, batch, epochs * (images // batch))
    schedule = components.build(loaded.Optimizer.lr).bind(plan)
    found = []
    for epoch in range(epochs):
        within = {schedule(epoch * plan.steps_per_epoch + step) for step in (0, 1, plan.steps_per_epoch - 1)}
        assert len(within) == 1, "one rate an epoch, as the official code steps"
        found += within
    return found


def applying(key: str, run: str) -> list[dict]:
    return [rule for rule in SETTINGS[key] if re.fullmatch(rule["runs"], run)]


class TestPublishedSettings:
    """tests/pp*/<paper>_settings.yaml, against the resolved configurations."""

    @pytest.mark.parametrize(("key", "run"), RUNS)
    def test_are_what_is_trained(self, key, run):
        step = runs(key)[run]
        plain, full = load(step).tree, every(step)
        wrong = {}
        for rule in applying(key, run):
            for path, wanted in rule["settings"].items():
                found = node(plain, path)
                found = node(full, path) if found is None else found
                if path == "Arch.img_size" and found is None:
                    found = int(load(step).Arch["name"].rpartition("_")[2])
                choices = wanted["one_of"] if isinstance(wanted, dict) and "one_of" in wanted else [wanted]
                if found not in choices:
                    wrong[path] = (rule["source"], wanted, found)
            order = list(load(step).DataLoader.Train.transforms)
            if "order" in rule and order != [one for one in rule["order"] if one in order or one != "trim"]:
                wrong["order"] = order
        assert not wrong

    @pytest.mark.parametrize(
        ("key", "run"), [(key, run) for key, run in RUNS if any("rates" in rule for rule in applying(key, run))]
    )
    def test_rates(self, key, run):
        loaded = load(runs(key)[run])
        for rule in (rule["rates"] for rule in applying(key, run) if "rates" in rule):
            lr = rates(loaded, rule["images"])
            for epoch, rate in rule["by_epoch"].items():
                assert lr[epoch] == pytest.approx(rate, rel=3e-4), epoch
            if "highest" in rule:
                assert lr[rule["highest"]] == max(lr)
            if "peak" in rule:  # the cosine has begun when warm-up ends
                assert max(lr) == pytest.approx(rule["peak"], rel=0.03)
                # The last epoch runs at the cosine's last but one place: the rate is stepped after the epoch.
                low, n = loaded.Optimizer.lr["min_lr"], len(lr)
                end = low + (rule["peak"] - low) * (1 + math.cos(math.pi * (n - 2) / n)) / 2
                assert lr[-1] == pytest.approx(end, rel=0.02)
            if "last" in rule:
                assert rule["last"] < lr[-1] < 1.04 * rule["last"]

    @pytest.mark.parametrize("key", sorted(SETTINGS))
    def test_each_is_of_a_run(self, key):
        for rule in SETTINGS[key]:
            assert any(re.fullmatch(rule["runs"], run) for run in runs(key)), rule

    @pytest.mark.parametrize(("key", "run"), RUNS)
    def test_each_run_has_some(self, key, run):
        least = {"table2": 0, "table8": 0}.get(run.split("_")[0], 1)
        assert len(applying(key, run)) >= least


class TestTheNetworks:
    @pytest.mark.parametrize(("key", "run"), [(key, run) for key, run in RUNS if key in ("deit", "deit3")])
    def test_decay_leaves_out_vectors_and_positions_and_nothing_more(self, key, run):
        """With timm 0.3.2 the official DeiT run decays the distillation token."""
        model, rules = build(runs(key)[run]), load(runs(key)[run]).Optimizer.no_weight_decay
        spared = () if "regnety" in run and "from" not in run else ("pos_embed", "cls_token")
        wanted = {name for name, p in model.named_parameters() if p.ndim > 1 and name not in spared}
        assert decayed_names(model, rules) == wanted
        assert ("dist_token" in wanted) == hasattr(model, "dist_token")

    @pytest.mark.parametrize(("key", "run"), [(key, run) for key, run in RUNS if key in ("deit", "deit3")])
    def test_stochastic_depth(self, key, run):
        """Linear over depth in DeiT, constant in DeiT III."""
        model, rate = build(runs(key)[run]), load(runs(key)[run]).Arch["drop_path_rate"]
        if hasattr(model, "blocks"):
            found = [block.drop_path1.rate for block in model.blocks]
            last = len(found) - 1
            assert found == [pytest.approx(rate if key == "deit3" else rate * i / last) for i in range(last + 1)]
        assert every(runs(key)[run])["Arch"].get("drop_rate") in (None, 0.1 if "dropout" in run else 0.0)

    def test_pictures_that_are_not_whole_patches_are_cut(self):
        for run, (pixels, read) in {
            "in1k_huge_pretrain_160": (160, 154),
            "in21k_huge_pretrain_128": (128, 126),
        }.items():
            step = runs("deit3")[run]
            data = load(step).DataLoader
            assert build(step).patch_embed.img_size[0] == read == pixels - pixels % 14
            assert data.Train.transforms["trim"]["size"] == data.Eval.transforms["crop"]["size"] == read
            assert data.Train.transforms["crop"]["size"] == data.Eval.transforms["resize"]["size"] == pixels

    @pytest.mark.parametrize(("key", "run"), [(key, run) for key, run in RUNS if key != "uhdfour"])
    def test_see_one_size(self, key, run):
        """Training and evaluation give what the network takes; DeiT III and ViT evaluate the whole picture (crop ratio 1.0)."""
        step = runs(key)[run]
        data, model = load(step).DataLoader, build(step)
        if hasattr(model, "patch_embed"):
            size = model.patch_embed.img_size[0]
            steps = views(data.Train.transforms)
            assert steps.get("trim", steps["crop"])["size"] == size
            if data.Eval is not None:
                evaluate = data.Eval.transforms.get("crop", data.Eval.transforms["resize"])["size"]
                assert evaluate in (size, [size, size])
            if key == "deit3":
                assert data.Eval.transforms["resize"]["size"] == data.Train.transforms["crop"]["size"]

    def test_a_pre_training_head_is_as_wide_as_the_model(self):
        for run, step in runs("vit").items():
            if run.startswith("in21k_pretrain") and "finetune" not in run:
                assert load(step).Arch["representation_size"] == build(step).embed_dim


def flat(value, path=()) -> dict:
    if isinstance(value, (dict, list, tuple)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: one for part, below in pairs for key, one in flat(below, (*path, str(part))).items()}
    return {".".join(path): value}


def changes(run: str, base: str) -> dict:
    """What a run of DeiT's sets otherwise than another; a key that only the other has is None."""
    before, after = (flat(load(runs("deit")[one]).tree) for one in (base, run))
    differ = {key: after.get(key) for key in {*before, *after} if before.get(key) != after.get(key)}
    return {key: value for key, value in differ.items() if key not in ("Global.output_dir", "Global.pretrained.path")}


# Table 8's row: the part of its runs' names, and all it changes; a key that is gone is None.
TABLE8 = {
    "no RandAugment": ("no_randaugment", {"DataLoader.Train.transforms.randaugment.prob": 0.0}),
    "no random erasing": ("no_erasing", {"DataLoader.Train.transforms.erase.prob": 0.0}),
    "no Mixup": ("no_mixup", {"DataLoader.Train.batch_transforms.mixup.mixup_alpha": 0.0}),
    "no CutMix": ("no_cutmix", {"DataLoader.Train.batch_transforms.mixup.cutmix_alpha": 0.0}),
    "neither Mixup nor CutMix": ("no_mixing", {"DataLoader.Train.batch_transforms.mixup.prob": 0.0}),
    "no stochastic depth": ("no_stochastic_depth", {"Arch.drop_path_rate": 0.0}),
    "no repeated augmentation": ("no_repeats", {"DataLoader.Train.repeats": 1}),
    "with dropout": ("dropout", {"Arch.drop_rate": 0.1}),
    "with EMA": ("ema", {"EMA.decay": 0.99996, "EMA.headline": "ema"}),
    "nothing changed": ("default", {}),
    "AutoAugment instead of RandAugment": (
        "autoaugment",
        {f"DataLoader.Train.transforms.randaugment.{key}": None
         for key in ("magnitude", "magnitude_std", "num_ops", "prob", "increasing")}
        | {"DataLoader.Train.transforms.randaugment.name": "ppcore.data.AutoAugment"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE8)
@pytest.mark.parametrize("size", [224, 384])
def test_table_8_changes_one_thing(row, size):
    key, values = TABLE8[row]
    item = find("deit", "table8", f"{row} {size} px")
    assert [name(step) for step in item.steps] == [f"table8_{key}_{n}" for n in (224, 384) if n <= size]
    assert changes(f"table8_{key}_{size}", f"base_{size}") == values
    order = list(load(item.steps[-1]).DataLoader.Train.transforms)
    assert order == ["crop", "flip", "randaugment", "normalize", "erase"]


def test_sgd_changes_the_optimizer_of_one_stage():
    for run, base in (("table8_sgd_training_224", "base_224"), ("table8_sgd_finetuning_384", "base_384")):
        assert {key.split(".")[0] for key in changes(run, base)} == {"Optimizer"}
    assert changes("table8_sgd_training_384", "base_384") == {}


def test_table_2_changes_the_teacher_alone():
    for run in runs("deit"):
        if run.startswith("table2_from"):
            assert {key.rpartition("teacher")[0] for key in changes(run, f"base_distilled_{run[-3:]}")} == {"Loss."}


def test_a_head_alone_is_an_evaluation_of_the_trained_model():
    heads = [item for item in RECIPES["deit"] if item.row.endswith((" class embedding", " distillation embedding"))]
    assert len(heads) == 8
    for item in heads:
        train, read = item.steps[-2:]
        assert load(read).Arch["eval_head"] == item.row.split()[-2]
        assert used(read)["start"] == f"{load(train).Global.output_dir}/checkpoints/latest"
        assert components.build(load(read).Optimizer.lr).bind(Plan(1251, 1024, 1))(0) == 0.0
        assert load(read).DataLoader.Eval == load(train).DataLoader.Eval


def test_adamw_at_a_rate_of_zero_changes_nothing():
    paddle.seed(0)
    layer = paddle.nn.Linear(3, 2)
    before = layer.weight.numpy().copy()
    optimizer = AdamW(parameters=layer.parameters(), decayed={layer.weight.name}, weight_decay=0.05)
    optimizer.set_lr(0.0)
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    assert (layer.weight.numpy() == before).all()


def test_deits_ablations_stand_in_the_papers_order_with_its_numbers():
    paper = PAPERS["deit"]
    ablations = {ablation.id: ablation for ablation in paper.ablations}
    [table3] = [table for table in paper.tables if table.id == "table3"]
    assert [row.published for row in ablations["table3"].rows] == [row.values[0] for row in table3.rows]
    assert [row.published for row in ablations["recipe"].rows] == [77.9, 83.1]
    token = [row for row in ablations["table3"].rows if any("_token" in file for file in row.quick)]
    assert [row.eval_options for row in token] == [["Arch.eval_head=class"], ["Arch.eval_head=distillation"], []]
    analyses = {analysis.id: analysis for analysis in paper.analyses}
    assert [(p.x, p.y) for p in analyses["tokens"].published] == [("first", 0.06), ("last", 0.93)]
    assert [(p.x, p.y) for p in analyses["two_class_tokens"].published] == [("last", 0.999)]
    students = {item.config: item for item in paper.quick if item.name.rpartition("_")[2] in ("soft", "hard", "token")}
    assert len(students) == 6
    for file, item in students.items():
        teacher = file.rpartition("_")[0] + "_teacher.yaml"
        assert item.uses == {"Loss.teacher.weights": teacher}
        assert item.run_seeds == [0, 1, 2]
