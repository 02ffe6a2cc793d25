"""Quick trainings: the plan of jobs, a student that uses a teacher's run, and what is measured on the runs."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import yaml

from ppcore import config
from ppcore.engine import evaluate
from ppcore.engine.train import train
from ppcore.errors import CheckpointError, ConfigError
from ppcore.report import load_paper, read_run
from ppcore.reproduce import ablations, analyses, classified, quick
from ppcore.reproduce.finished_runs import first_images, load_run, shown_run
from ppcore.reproduce.launch import StepFailed
from ppcore.reproduce.paper_page import PaperPage

ROOM = {"test_images": 360, "expected": None, "spread": None, "seeds": None, "minutes": None}
DISTILLED = [
    "Arch.name=ppdeit.DistilledVisionTransformer",
    "Loss={name: ppdeit.BothHeads, base: {name: ppcore.losses.CrossEntropy}}",
]
CONVNET = [
    "Arch={name: ppdeit.RegNet, widths: [8], depths: [1], group_width: 4, stem_width: 8, stem_stride: 1, num_classes: 10}",
    "Optimizer.no_weight_decay=[1d]",
]


@pytest.fixture
def page(root, tmp_path):
    """Makes papers/vit.yaml with other quick configs, ablations and analyses."""

    def make(items: list[dict], **sections) -> PaperPage:
        tree = yaml.safe_load((root / "papers" / "vit.yaml").read_text())
        tree["quick"] = [{"dataset": f"data {i}", **ROOM, **item} for i, item in enumerate(items)]
        path = tmp_path / "paper.yaml"
        path.write_text(yaml.safe_dump({**tree, **sections}))
        return PaperPage(path, load_paper(path), root, root / "tools")

    return make


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """Calls `quick.train` without running its jobs; returns (jobs by name, runs)."""

    def plan(page: PaperPage, device: str = "cpu", cores: int = 4):
        seen = {}
        monkeypatch.setattr(quick, "run_all", lambda jobs, cores: seen.update(jobs={job.name: job for job in jobs}))
        monkeypatch.setattr("ppcore.runtime.available_cores", lambda: cores)
        runs = quick.train(page, tmp_path / "out", device)
        return seen["jobs"], runs

    return plan


VIT = "configs/quick/vit_digits.yaml"
CIFAR = "configs/quick/vit_cifar10.yaml"


class TestPlan:
    def test_one_process_with_its_threads_runs_beside_others(self, page, planned, tmp_path):
        items = [{"config": VIT, "run_seeds": [3, 4], "processes": 1, "threads": 1}, {"config": CIFAR, "processes": 2}]
        jobs, runs = planned(page(items))
        assert {name: job.cores for name, job in jobs.items()} == {
            "vit_digits seed 3": 1, "vit_digits seed 4": 1, "vit_cifar10 seed 0": None,
        }  # fmt: skip
        first, both = jobs["vit_digits seed 3"], jobs["vit_cifar10 seed 0"]
        assert first.environment == {"OMP_NUM_THREADS": "1"}
        assert "Global.seed=3" in first.command
        assert f"Global.output_dir={tmp_path / 'out' / 'vit_digits_seed3'}" in first.command
        assert first.log == tmp_path / "out" / "logs" / "vit_digits_seed3.txt"
        assert both.environment == {"OMP_NUM_THREADS": "2"}
        assert both.command[1:3] == ["-m", "paddle.distributed.launch"]
        assert both.command[both.command.index("--nproc_per_node") + 1] == "2"
        assert [(run.config, run.seed, run.folder.name) for run in runs] == [
            (VIT, 3, "vit_digits_seed3"), (VIT, 4, "vit_digits_seed4"), (CIFAR, 0, "vit_cifar10_seed0"),
        ]  # fmt: skip

    def test_without_threads_it_has_the_machine(self, page, planned):
        jobs, _ = planned(page([{"config": VIT}]))
        assert jobs["vit_digits seed 0"].cores is None
        assert jobs["vit_digits seed 0"].environment == {"OMP_NUM_THREADS": "4"}

    def test_no_more_threads_and_processes_than_cores(self, page, planned):
        jobs, _ = planned(page([{"config": VIT, "threads": 3}, {"config": CIFAR, "processes": 2}]), cores=1)
        assert jobs["vit_digits seed 0"].cores == 1
        assert "paddle.distributed.launch" not in jobs["vit_cifar10 seed 0"].command

    def test_on_a_gpu_one_after_the_other(self, page, planned):
        jobs, _ = planned(page([{"config": VIT, "threads": 1}, {"config": CIFAR, "processes": 2}]), device="gpu")
        assert {job.cores for job in jobs.values()} == {None}
        assert "paddle.distributed.launch" not in jobs["vit_cifar10 seed 0"].command

    def test_a_user_waits_and_gets_the_folder_of_the_first_seed(self, page, planned, tmp_path):
        items = [
            {"config": VIT, "run_seeds": [5, 6], "threads": 1},
            {"config": CIFAR, "uses": {"Global.pretrained.path": VIT}},
        ]
        jobs, runs = planned(page(items))
        user = jobs["vit_cifar10 seed 0"]
        assert user.after == ("vit_digits seed 5",)
        assert (
            f"Global.pretrained.path={tmp_path / 'out' / 'vit_digits_seed5' / 'checkpoints' / 'latest'}" in user.command
        )
        assert [(run.uses, run.used) for run in runs] == [(False, True), (False, True), (True, False)]

    def test_a_user_gets_the_run_of_its_own_seed_where_there_is_one(self, page, planned, tmp_path):
        items = [
            {"config": VIT, "run_seeds": [0, 1], "threads": 1},
            {"config": CIFAR, "run_seeds": [0, 1, 2], "threads": 1, "uses": {"Global.pretrained.path": VIT}},
        ]
        jobs, _ = planned(page(items))
        for seed, used in ((0, 0), (1, 1), (2, 0)):
            user = jobs[f"vit_cifar10 seed {seed}"]
            assert user.after == (f"vit_digits seed {used}",)
            assert f"vit_digits_seed{used}/checkpoints/latest" in " ".join(user.command)

    def test_what_has_no_data_is_left_out_with_what_uses_it(self, page, planned, monkeypatch):
        monkeypatch.delenv("PP_DATA_DIR", raising=False)
        said = []
        monkeypatch.setattr("ppcore.reproduce.quick.log.info", lambda text, *args: said.append(text % args))
        items = [
            {"config": CIFAR, "needs": "classification/x.npz"},
            {"config": VIT, "uses": {"Global.pretrained.path": CIFAR}},
        ]
        jobs, runs = planned(page(items))
        assert (jobs, runs) == ({}, [])
        assert said == [
            f"left out {CIFAR}: PP_DATA_DIR is not set (it would hold classification/x.npz)",
            f"left out {VIT}: it uses {CIFAR}, which is left out",
        ]

    def test_a_wrong_option_is_found_before_anything_runs(self, page, planned):
        items = [{"config": VIT}, {"config": CIFAR, "uses": {"Global.pretained.path": VIT}}]
        with pytest.raises(ConfigError, match="did you mean 'pretrained'"):
            planned(page(items))


def test_missing_data(tmp_path, monkeypatch):
    monkeypatch.setenv("PP_DATA_DIR", str(tmp_path))
    assert quick.missing_data(None) is None
    assert quick.missing_data("a.npz") == "PP_DATA_DIR has no a.npz"
    (tmp_path / "a.npz").touch()
    assert quick.missing_data("a.npz") is None
    assert quick.missing_data(["b", "a.npz", "c"]) == "PP_DATA_DIR has no b and no c"
    (tmp_path / "b").mkdir()
    assert quick.missing_data(["b", "a.npz"]) is None
    monkeypatch.delenv("PP_DATA_DIR")
    assert quick.missing_data(["b", "c"]) == "PP_DATA_DIR is not set (it would hold b and c)"
    assert quick.missing_data(None) is None


@pytest.fixture
def configs(tiny_config, tmp_path):
    """Two configurations of different names, 20 steps each, as `configs` of a paper."""
    (tmp_path / "first.yaml").write_text(tiny_config.read_text())
    (tmp_path / "second.yaml").write_text(tiny_config.read_text())
    return str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml")


def test_trainings_that_use_each_other_and_are_kept(page, configs, tmp_path):
    first, second = configs
    items = [
        {"config": first, "run_seeds": [1], "threads": 1},
        {"config": second, "run_seeds": [7], "threads": 1, "uses": {"Global.pretrained.path": first}},
    ]
    made, out = page(items), tmp_path / "out"
    runs = quick.train(made, out, "cpu")
    assert [run.folder for run in runs] == [out / "first_seed1", out / "second_seed7"]
    for run in runs:
        assert read_run(run.folder).seed == run.seed
        assert "done in" in (out / "logs" / f"{run.folder.name}.txt").read_text()
    taught = read_run(out / "second_seed7")
    assert taught.config["Global"]["pretrained"]["path"] == str(out / "first_seed1" / "checkpoints" / "latest")
    assert taught.start["time"] > read_run(out / "first_seed1").end["time"]

    # Again: nothing runs, nothing is rewritten.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert quick.train(made, out, "cpu") == runs
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before

    # Another configuration is not trained over the run, nor taken for it.
    Path(second).write_text(Path(second).read_text().replace("embed_dim: 16", "embed_dim: 32"))
    with pytest.raises(CheckpointError, match=r"Arch.embed_dim was 16 and is now 32"):
        quick.train(made, out, "cpu")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_training_that_fails_says_how_to_repeat_it(page, configs, tmp_path):
    first, _ = configs
    Path(first).write_text(Path(first).read_text().replace("base_lr: 1e-3", "base_lr: 1e+9"))
    with pytest.raises(StepFailed, match=r"first seed 0 failed \(exit status 2\)") as error:
        quick.train(page([{"config": first, "threads": 1}]), tmp_path / "out", "cpu")
    assert str(error.value).endswith(
        f"-o Global.output_dir={tmp_path / 'out' / 'first_seed0'} -o Global.seed=0 -o Global.device=cpu"
    )
    assert "diverged" in (tmp_path / "out" / "logs" / "first_seed0.txt").read_text()


def run_with(configs, tmp_path, options: list[str], name: str = "first", seed: int = 0) -> quick.QuickRun:
    """Trains in this process as `quick.train` would."""
    folder = tmp_path / f"{name}_seed{seed}"
    train(
        config.load(configs[0], [f"Global.output_dir={folder}", f"Global.seed={seed}", "Global.device=cpu", *options])
    )
    return quick.QuickRun(configs[0], seed, folder)


SOURCE = {"source": {"ref": "paper", "where": "Table 3"}}


class TestMeasurements:
    def ablation(self, configs, **row) -> dict:
        rows = [{"name": "a", "published": 1.0, "quick": [configs[0]]},
                {"name": "b", "published": 2.0, "quick": [configs[0]], **row}]  # fmt: skip
        return {"id": "c", "title": "C", "published_on": "p", "metric": "top1", "rows": rows, **SOURCE}

    def test_weights_are_evaluated_once_more_with_the_options(self, page, configs, tmp_path):
        run = run_with(configs, tmp_path, [*DISTILLED, "EMA={decay: 0.5, headline: ema}"])
        made = page([{"config": configs[0]}], ablations=[self.ablation(configs, eval_options=["Arch.eval_head=class"])])
        [row] = ablations.measure(made.tables, [run])
        assert (row.ablation, row.row, row.config, row.seed) == ("c", "b", configs[0], 0)
        assert row.run == "first_seed0"
        assert row.weights.endswith("step_20/ema.safetensors")  # those that the report headlines
        assert row.n == 360
        settings = config.load(run.folder / "config.yaml", ["Arch.eval_head=class"])
        assert row.numbers["top1"] == evaluate.run(settings, str(run.folder / "checkpoints" / "latest"))["top1"]
        assert row.numbers["loss"] != read_run(run.folder).result["loss"]  # not what the mean of both heads gave
        json.dumps(dataclasses.asdict(row))

    def test_without_options_nothing_is_evaluated(self, page, configs, tmp_path):
        made = page([{"config": configs[0]}], ablations=[self.ablation(configs)])
        assert ablations.measure(made.tables, [quick.QuickRun(configs[0], 0, tmp_path / "absent")]) == []

    def test_an_option_that_does_not_fit_is_found_before_training(self, page, configs):
        made = page([{"config": configs[0]}], ablations=[self.ablation(configs, eval_options=["Arch.eval_haed=class"])])
        with pytest.raises(ConfigError, match=r"ablations: 'c', row 'b': .*eval_haed"):
            ablations.check(made.tables, made.root)

    def analysis(self, configs, measure: str) -> dict:
        return {"id": "f", "title": "F", "measure": measure, "x": "layer", "y": "y", "quick": [configs[0]], **SOURCE}

    def test_an_analysis_is_measured_on_the_first_test_images(self, page, configs, tmp_path):
        run = run_with(configs, tmp_path, DISTILLED)
        made = page([{"config": configs[0]}], analyses=[self.analysis(configs, "ppdeit.tokens.token_cosine")])
        [row] = analyses.measure(made.tables, [run])
        assert (row.analysis, row.run, row.images) == ("f", "first_seed0", 256)
        finished = load_run(run.folder)
        settings, model, world = finished.settings, finished.model, finished.world
        images = first_images(finished)
        assert images.shape == [256, 3, 8, 8]
        whole = next(
            iter(
                evaluate.build.eval_loader(
                    settings.DataLoader.Eval, evaluate.build.dataset(settings.DataLoader.Eval, 10), world
                )
            )
        )
        assert (images[:100].numpy() == whole["image"]).all()  # in the order of the test set
        assert not model.training
        from ppdeit import token_cosine

        assert row.values == token_cosine(model, images)
        assert len(row.values) == 3  # entering the first of two blocks, leaving each
        assert all(math.isfinite(value) for value in row.values)

    def test_a_measure_that_does_not_exist_is_found_before_training(self, page, configs):
        made = page([{"config": configs[0]}], analyses=[self.analysis(configs, "ppdeit.tokens.token_cosin")])
        with pytest.raises(ConfigError, match="did you mean 'token_cosine'"):
            analyses.check(made.tables)

    def test_a_measure_must_give_numbers(self, page, configs, tmp_path, monkeypatch):
        run = run_with(configs, tmp_path, [])
        made = page([{"config": configs[0]}], analyses=[self.analysis(configs, "ppdeit.tokens.token_cosine")])
        nothing = lambda model, images: [float("nan")]  # noqa: E731
        nothing.__module__ = "ppdeit.tokens"
        monkeypatch.setattr("ppdeit.tokens.token_cosine", nothing)
        with pytest.raises(ConfigError, match="expected finite numbers"):
            analyses.measure(made.tables, [run])


class TestPictures:
    def test_a_student_is_shown_rather_than_its_teacher(self):
        def run(name: str, **about: bool) -> quick.QuickRun:
            return quick.QuickRun(f"{name}.yaml", 0, Path(name), **about)

        teacher, plain = run("teacher", used=True), run("plain")
        student, middle = run("student", uses=True), run("middle", uses=True, used=True)
        assert shown_run([teacher, student, plain, teacher]) == Path("student")
        assert shown_run([student, middle]) == Path("student")
        assert shown_run([teacher, plain, run("later"), teacher]) == Path("later")
        assert shown_run([teacher]) == Path("teacher")
        assert shown_run([]) is None

    def test_a_model_with_two_prefix_tokens(self, configs, tmp_path):
        run = run_with(configs, tmp_path, DISTILLED)
        shown, about = classified.classify(load_run(run.folder))
        assert about == "Classified by the run first_seed0."
        assert len(shown) == 12
        assert all(card.attention.shape == (2, 2) for card in shown)

    def test_a_convnet_is_shown_without_attention_and_says_why(self, configs, tmp_path):
        run = run_with(configs, tmp_path, CONVNET)
        shown, about = classified.classify(load_run(run.folder), count=5)
        assert about == "Classified by the run first_seed0. Without attention rollout: RegNet has none."
        assert len(shown) == 5
        assert all(card.attention is None for card in shown)
        assert {len(card.topk) for card in shown} == {3}
