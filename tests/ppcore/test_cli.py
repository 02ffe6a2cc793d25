"""The options every configured tool has, and how mistakes are said."""

import re

import pytest
import yaml

from ppcore import cli, config
from ppcore.config import roles
from ppcore.errors import ConfigError, ConfigErrors

CONFIGURED = ("train", "eval", "infer", "export_model", "export_weights")


def mistakes(path, *overrides) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config.load(path, overrides)
    error = raised.value
    return error.messages if isinstance(error, ConfigErrors) else [str(error)]


@pytest.mark.parametrize("name", [*CONFIGURED, "convert_weights", "reproduce", "compare", "list"])
def test_help_says_where_the_keys_are(tool, name, root):
    done = tool(name, "--help")
    assert done.returncode == 0
    assert "docs/configuration.md" in done.stdout
    assert "tools/list.py" in done.stdout
    assert (root / "docs" / "configuration.md").is_file()


@pytest.mark.parametrize("name", [*CONFIGURED, "convert_weights", "reproduce", "list"])
def test_what_reads_a_configuration_can_be_allowed_a_package(root, name):
    source = (root / "tools" / f"{name}.py").read_text()
    assert "config_parser(" in source or "add_allow(" in source


class TestParser:
    @pytest.fixture(autouse=True)
    def _forget(self):
        yield
        roles.disallow_all()

    @pytest.mark.parametrize(
        "words",
        [
            ["-o", "A.b=1", "-o", "C=2"],
            ["-o", "A.b=1", "C=2"],
            ["-o", "A.b=1", "--override", "C=2"],
            ["-o", "A.b=1", "C=2", "--print-config"],
        ],
    )
    def test_several_overrides(self, words):
        assert cli.config_parser("x").parse_args(["-c", "f.yaml", *words]).override == ["A.b=1", "C=2"]

    def test_packages_are_allowed_from_then_on(self):
        cli.config_parser("x").parse_args(["-c", "f.yaml", "--allow", "json", "--allow", "html"])
        assert roles.allowed() == ("json", "html")

    def test_a_package_that_is_not_there(self):
        with pytest.raises(ConfigError, match="--allow no_such_thing: no such package"):
            cli.config_parser("x").parse_args(["-c", "f.yaml", "--allow", "no_such_thing"])


class TestPrintConfig:
    @pytest.mark.parametrize("name", CONFIGURED)
    def test_every_tool_has_it(self, root, name):
        assert "= cli.configured(" in (root / "tools" / f"{name}.py").read_text()

    @pytest.mark.parametrize("name", ["train", "export_weights"])
    def test_prints_and_ends(self, tool, name, tiny_config):
        needed = ["--output", "x.safetensors"] if name == "export_weights" else []
        done = tool(name, "-c", tiny_config, *needed, "-o", "Global.seed=7", "Metric.topk=[1,3]", "--print-config")
        assert done.returncode == 0, done.stderr
        printed = yaml.safe_load(done.stdout)
        assert printed["Global"]["seed"] == 7
        assert printed["Global"]["keep_checkpoints"] == 2  # a default
        assert printed["Metric"] == {"name": "ppcore.metrics.TopK", "topk": [1, 3]}
        assert printed["Optimizer"]["beta2"] == 0.999  # a component's default
        assert not (tiny_config.parent / "run").exists()

    def test_of_several_files_each_is_over_those_before_it(self, tool, tmp_path, tiny_config):
        over = tmp_path / "over.yaml"
        over.write_text("Arch: {depth: 3}\nDataLoader: {Train: {transforms: {crop: null}}}\n")
        done = tool("train", "-c", tiny_config, "-c", over, "-o", "Global.seed=7", "--print-config")
        assert done.returncode == 0, done.stderr
        printed = yaml.safe_load(done.stdout)
        assert (printed["Arch"]["depth"], printed["Arch"]["embed_dim"], printed["Global"]["seed"]) == (3, 16, 7)
        assert list(printed["DataLoader"]["Train"]["transforms"]) == ["normalize"]
        wrong = tool("train", "-c", tiny_config, "-c", over, "-o", "Arch.dept=2")
        assert f"error: {tiny_config} + {over}: Arch.dept" in wrong.stderr

    def test_what_is_printed_is_the_configuration(self, tmp_path, tiny_config):
        one = config.load(tiny_config)
        path = tmp_path / "printed.yaml"
        path.write_text(one.to_yaml(defaults=True))
        two = config.load(path)
        assert two.to_yaml(defaults=True) == one.to_yaml(defaults=True)
        assert two.Global == one.Global
        assert two.Infer == one.Infer

    @pytest.mark.parametrize("file", ["deit/base_distilled_224", "uhdfour/lol_v1", "vit/in1k_pretrain_b16_224"])
    def test_nested_components_too(self, root, tmp_path, file):
        one = config.load(root / "configs" / f"{file}.yaml")
        path = tmp_path / "printed.yaml"
        path.write_text(one.to_yaml(defaults=True))
        assert config.load(path).to_yaml(defaults=True) == one.to_yaml(defaults=True)

    def test_a_builders_network_stays_the_builders(self, tmp_path, tiny_config):
        """The class's depth is 12, this builder's is not: a default of the class must not come in its place."""
        tree = yaml.safe_load(tiny_config.read_text())
        tree["Arch"] = {"name": "ppvit.vit_large_patch16_224"}
        tree["Optimizer"]["lr"]["base_lr"] = 1e-3
        assert yaml.safe_load(config.check(tree).to_yaml(defaults=True))["Arch"] == tree["Arch"]

    def test_a_runs_own_configuration(self, tiny_config):
        from ppcore.engine import evaluate
        from ppcore.engine.train import train

        train(config.load(tiny_config, ["Global.duration={steps: 2}", "Metric.topk=[1,2]"]))
        saved = tiny_config.parent / "run" / "config.yaml"
        again = config.load(saved)
        assert again.to_yaml() == saved.read_text(encoding="utf-8")
        assert "top2" in evaluate.run(again)


class TestAllMistakesAtOnce:
    def test_of_sections_components_and_overrides(self, tiny_config):
        found = mistakes(
            tiny_config,
            "Global.sead=1",
            "Arch.num_clases=3",
            "Arch.depth=deep",
            "Optimizer.lr.base_lr=high",
            "Optimizer.beta9=1",
            "DataLoader.Train.batch_size=0",
            "DataLoader.Train.transforms.crop.size=big",
            "DataLoader.Eval.dataset.splitt=test",
            "Metric.topk=1",
            "Global.seed.=3",
        )
        for part in ("Global.sead", "Arch.num_clases", "Arch.depth", "Optimizer.lr.base_lr", "Optimizer.beta9",
                     "DataLoader.Train.batch_size", "DataLoader.Train.transforms.crop.size",
                     "DataLoader.Eval.dataset.splitt", "Metric.topk", "-o Global.seed.=3"):  # fmt: skip
            assert len([line for line in found if part in line]) == 1, (part, found)
        assert len(found) == 10
        assert not [line for line in found if "\n" in line]

    def test_each_on_a_line_with_exit_2(self, tool, tiny_config):
        done = tool("train", "-c", tiny_config, "-o", "Global.sead=1", "Arch.num_clases=3")
        assert done.returncode == 2
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 2
        assert "sead" in lines[0]
        assert "num_clases" in lines[1]
        assert not (tiny_config.parent / "run").exists()

    def test_a_misspelt_required_key_is_one_mistake(self, tiny_config):
        text = tiny_config.read_text().replace("output_dir", "output_dirr")
        tiny_config.write_text(text)
        [line] = mistakes(tiny_config)
        assert "did you mean 'output_dir'" in line

    def test_a_value_of_several_types_is_one_mistake(self, tiny_config):
        [line] = mistakes(tiny_config, "Infer.input={a: 1}")
        assert re.search(r": Infer\.input: ", line)

    def test_an_empty_component(self, tiny_config):
        [line] = mistakes(tiny_config, "Arch={}")
        assert "Arch: expected a mapping with a 'name'" in line


class TestDefaultComponents:
    def test_an_argument_alone(self, tiny_config):
        assert config.load(tiny_config, ["Metric.topk=[1,10]"]).Metric == {
            "name": "ppcore.metrics.TopK",
            "topk": [1, 10],
        }

    def test_in_the_file(self, tiny_config):
        tiny_config.write_text(tiny_config.read_text() + "Metric: {topk: [2]}\n")
        assert config.load(tiny_config).Metric == {"name": "ppcore.metrics.TopK", "topk": [2]}

    def test_another_name_replaces_the_whole(self, tiny_config):
        tiny_config.write_text(tiny_config.read_text() + "Metric: {name: ppcore.metrics.ImageQuality}\n")
        assert config.load(tiny_config).Metric == {"name": "ppcore.metrics.ImageQuality"}


class TestPaddleClas:
    @pytest.mark.parametrize(
        ("override", "ours"),
        [
            ("Global.pretrained_model=a.pdparams", "Global.pretrained"),
            ("Global.checkpoints=output/x", "Global.output_dir"),
            ("Global.save_interval=1", "Global.save_every={epochs: N}"),
            ("Global.eval_interval=1", "Global.eval_every={epochs: N}"),
            ("Global.print_batch_step=10", "Global.log_every={steps: N}"),
            ("Global.use_visualdl=true", "Global.visualdl"),
            ("Global.image_shape=[3,224,224]", "Arch.img_size"),
            ("Arch.class_num=10", "Arch.num_classes"),
            ("Arch.pretrained=true", "Global.pretrained"),
            ("Loss={Train: [{CELoss: {weight: 1.0}}]}", "ppcore.losses.CrossEntropy"),
            ("Metric={Eval: [{TopkAcc: {topk: [1, 5]}}]}", "ppcore.metrics.TopK"),
            ("Optimizer.lr.learning_rate=0.1", "Optimizer.lr.base_lr"),
            ("Optimizer.lr.warmup_epoch=5", "Optimizer.lr.warmup={epochs: N}"),
            ("Optimizer.regularizer={name: L2, coeff: 0.1}", "Optimizer.weight_decay"),
            ("Optimizer.name=AdamW", "ppcore.optim.AdamW"),
            ("Optimizer.lr={name: Cosine, learning_rate: 0.1}", "ppcore.schedules.TimmCosine"),
            ("DataLoader.Train.sampler={batch_size: 4}", "batch_size"),
            ("DataLoader.Eval.loader={num_workers: 4}", "num_workers"),
            ("DataLoader.Train.dataset.transform_ops=[]", "transforms"),
            ("AMP.scale_loss=128.0", "AMP.init_loss_scaling"),
            ("Infer.infer_imgs=a.jpg", "Infer.input"),
        ],
    )
    def test_is_answered_with_ours(self, tiny_config, override, ours):
        found = mistakes(tiny_config, override)
        assert [line for line in found if "PaddleClas" in line and ours in line], found

    def test_what_the_answers_name_exists(self, tiny_config):
        from ppcore.config.paddleclas_keys import KEYS, NAMES

        for name in NAMES.values():
            assert any(_resolves(name, role) for role in roles.COMPONENTS), name
        tree = config.load(tiny_config).to_yaml(defaults=True)
        for text in KEYS.values():
            for path in re.findall(r"\b(?:Global|AMP|Infer|Export|Metric|Optimizer)(?:\.[a-z_]+)+", text):
                assert f"{path.split('.')[-1]}:" in tree or "ppcore.schedules" in text, path


def _resolves(name, role) -> bool:
    from ppcore.config import components

    try:
        components.resolve(name, "", role)
    except ConfigError:
        return False
    return True


class TestEnds:
    def test_an_import_that_is_interrupted(self, capsys):
        """What an extension module raises whose initialisation is interrupted."""

        def main():
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as interrupt:
                raise ImportError("initialization failed") from interrupt

        with pytest.raises(SystemExit) as end:
            cli.run(main)
        assert end.value.code == 130
        assert capsys.readouterr().err == "interrupted\n"

    def test_a_defect_shows_its_traceback(self):
        def main():
            raise ImportError("initialization failed")

        with pytest.raises(ImportError):
            cli.run(main)
