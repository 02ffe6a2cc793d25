"""Configuration: bases, overrides, and one clear line for whatever is wrong."""

import copy
from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppcore import config
from ppcore.config import components
from ppcore.errors import ConfigError

# Every section with most of its keys: misspellings are made from this one.
FULL = """
Global:
  output_dir: output/x
  duration: {steps: 20}
  seed: 1
  device: cpu
  eval_every: {epochs: 1.0}
  keep_checkpoints: 2
  pretrained: {path: weights.safetensors, new_head: true}
AMP: {level: O1, dtype: bfloat16}
Arch: {name: ppvit.vit_tiny_patch16_224, num_classes: 10, drop_rate: 0.1, embed_dim: 192}
Loss: {name: ppcore.losses.CrossEntropy, label_smoothing: 0.1}
Optimizer:
  name: ppcore.optim.AdamW
  beta1: 0.9
  lr: {name: ppcore.schedules.ViTSchedule, base_lr: 1e-3, decay: cosine, warmup: {steps: 2}}
  weight_decay: 0.05
  no_weight_decay: [1d, pos_embed]
  clip_norm: 1.0
DataLoader:
  Train:
    dataset: {name: ppcore.data.Digits, split: train}
    transforms:
      crop: {name: ppcore.data.RandomCrop, size: 8, padding: 1}
      normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
    batch_transforms:
      mixup: {name: ppcore.data.Mixup, mixup_alpha: 0.8}
    batch_size: 32
    num_workers: 0
  Eval:
    dataset: {name: ppcore.data.Digits, split: test}
    batch_size: 100
Metric: {name: ppcore.metrics.TopK, topk: [1, 5]}
EMA: {decay: 0.999}
Infer: {topk: 3, rollout: false}
"""


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def full(tmp_path):
    return write(tmp_path, FULL)


def complaint(path: Path, *overrides: str) -> str:
    """The message of the ConfigError that loading raises; one line, naming the file or the override."""
    with pytest.raises(ConfigError) as raised:
        config.load(path, overrides)
    message = str(raised.value)
    assert message.count("\n") == 0, message
    assert str(path) in message or any(message.startswith(f"-o {text}") for text in overrides), message
    return message


def changed(folder: Path, change) -> Path:
    """A file whose tree is FULL after `change(tree)`."""
    tree = copy.deepcopy(yaml.safe_load(FULL))
    tree["Optimizer"]["lr"]["base_lr"] = 1e-3  # PyYAML reads 1e-3 as a text
    change(tree)
    return write(folder, yaml.safe_dump(tree, sort_keys=False), "changed.yaml")


class TestBases:
    def test_mappings_merge_and_lists_are_replaced(self, tmp_path, full):
        above = write(
            tmp_path,
            "_base_: c.yaml\nArch: {num_classes: 7}\nOptimizer: {no_weight_decay: [bias]}\nMetric: {topk: [3]}\n",
            "above.yaml",
        )
        loaded = config.load(above)
        assert loaded.Arch == {**config.load(full).Arch, "num_classes": 7}
        assert loaded.Optimizer.no_weight_decay == ["bias"]
        assert loaded.Optimizer.weight_decay == 0.05
        assert loaded.Metric["topk"] == [3]
        assert "_base_" not in loaded.tree

    def test_later_bases_win_and_folders_are_relative_to_the_file(self, tmp_path, full):
        write(tmp_path, "Global: {seed: 2, device: gpu}\n", "bases/one.yaml")
        write(tmp_path, "Global: {seed: 3}\n", "bases/two.yaml")
        above = write(tmp_path, "_base_: [../../c.yaml, ../one.yaml, ../two.yaml]\n", "bases/deep/above.yaml")
        loaded = config.load(above)
        assert (loaded.Global.seed, loaded.Global.device) == (3, "gpu")

    def test_a_component_of_another_name_is_replaced_whole(self, tmp_path, full):
        above = write(tmp_path, "_base_: c.yaml\nLoss: {name: ppcore.losses.BinaryCrossEntropy}\n", "above.yaml")
        assert config.load(above).Loss == {"name": "ppcore.losses.BinaryCrossEntropy"}
        same = write(tmp_path, "_base_: c.yaml\nLoss: {name: ppcore.losses.CrossEntropy}\n", "same.yaml")
        assert config.load(same).Loss == {"name": "ppcore.losses.CrossEntropy", "label_smoothing": 0.1}

    def test_a_base_without_a_name_keeps_its_keys(self, tmp_path):
        base = yaml.safe_load(FULL)
        base["Optimizer"]["lr"]["base_lr"] = 1e-3
        del base["Arch"]["name"]
        write(tmp_path, yaml.safe_dump(base), "base.yaml")
        above = write(tmp_path, "_base_: base.yaml\nArch: {name: ppvit.vit_small_patch16_224}\n", "above.yaml")
        arch = config.load(above).Arch
        assert (arch["name"], arch["num_classes"], arch["drop_rate"]) == ("ppvit.vit_small_patch16_224", 10, 0.1)

    def test_a_duration_is_replaced_not_merged(self, tmp_path, full):
        above = write(tmp_path, "_base_: c.yaml\nGlobal: {duration: {epochs: 2.0}}\n", "above.yaml")
        assert config.load(above).Global.duration.epochs == 2.0
        assert config.load(above).Global.duration.steps is None

    def test_a_cycle(self, tmp_path):
        write(tmp_path, "_base_: b.yaml\n", "a.yaml")
        write(tmp_path, "_base_: [a.yaml]\n", "b.yaml")
        with pytest.raises(ConfigError, match=r"a\.yaml: _base_ leads back") as raised:
            config.load(tmp_path / "a.yaml")
        assert "\n" not in str(raised.value)

    def test_the_same_base_twice_is_no_cycle(self, tmp_path, full):
        write(tmp_path, "_base_: c.yaml\n", "left.yaml")
        write(tmp_path, "_base_: c.yaml\nGlobal: {seed: 5}\n", "right.yaml")
        assert config.load(write(tmp_path, "_base_: [left.yaml, right.yaml]\n", "both.yaml")).Global.seed == 5

    @pytest.mark.parametrize("bases", ["5", "[5]", "{a: b}", "", "[null]", "[[c.yaml]]"])
    def test_bases_that_are_not_paths(self, tmp_path, full, bases):
        assert "_base_" in complaint(write(tmp_path, f"_base_: {bases}\nArch: {{}}\n", "odd.yaml"))

    def test_a_missing_base_names_itself(self, tmp_path):
        above = write(tmp_path, "_base_: nowhere.yaml\n", "above.yaml")
        with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such configuration file"):
            config.load(above)


class TestFiles:
    def test_missing(self, tmp_path):
        assert "no such configuration file" in complaint(tmp_path / "none.yaml")

    @pytest.mark.parametrize(
        "text", ["Global: [1\n", "Global: {a: 1\n}}", "\tGlobal: 1", "a: b: c", "Arch: *nowhere\n"]
    )
    def test_syntax_errors_are_one_line(self, tmp_path, text):
        assert "not readable as YAML" in complaint(write(tmp_path, text))

    def test_not_text(self, tmp_path):
        path = tmp_path / "c.yaml"
        path.write_bytes(b"\xff\xfe\x00\x80" * 9)
        complaint(path)

    def test_a_folder(self, tmp_path):
        complaint(tmp_path)

    @pytest.mark.parametrize("text", ["[1, 2]", "just words", "- Global\n- Arch\n"])
    def test_not_a_mapping(self, tmp_path, text):
        complaint(write(tmp_path, text))

    @pytest.mark.parametrize("text", ["1: 2\n", "tree: {}\n", "null: {}\n", "true: 1\n"])
    def test_strange_sections(self, tmp_path, text):
        complaint(write(tmp_path, FULL + text))

    def test_exponents_are_floats(self, full):
        # PyYAML alone reads 1e-3 as a text.
        assert yaml.safe_load("1e-3") == "1e-3"
        rate = config.load(full).Optimizer.lr["base_lr"]
        assert isinstance(rate, float)
        assert rate == 1e-3


class TestOverrides:
    def test_values_are_yaml(self, full):
        loaded = config.load(
            full,
            [
                "Optimizer.lr.base_lr=2e-4",
                "Global.duration={epochs: 3}",
                "Metric.topk=[1, 2]",
                "Infer.rollout=true",
                "EMA=null",
                "Optimizer.accumulate=2",
            ],
        )
        assert loaded.Optimizer.lr["base_lr"] == 2e-4
        assert loaded.Global.duration.epochs == 3
        assert loaded.Metric["topk"] == [1, 2]
        assert loaded.Infer.rollout is True
        assert loaded.EMA is None
        assert loaded.Optimizer.accumulate == 2
        assert loaded.tree["Metric"]["topk"] == [1, 2]

    def test_the_first_equals_sign_splits(self, full):
        assert config.load(full, ["Global.output_dir=out/lr=1=b"]).Global.output_dir == "out/lr=1=b"

    def test_later_overrides_win(self, full):
        assert config.load(full, ["Global.seed=3", "Global.seed=4"]).Global.seed == 4

    def test_list_elements(self, full):
        loaded = config.load(
            full, ["Metric.topk.1=3", "Baselines=[{name: ppvit.vit_tiny_patch16_224}]", "Baselines.0.depth=2"]
        )
        assert loaded.Metric["topk"] == [1, 3]
        assert loaded.Baselines == [{"name": "ppvit.vit_tiny_patch16_224", "depth": 2}]

    def test_a_value_is_never_evaluated(self, full):
        loaded = config.load(full, ["Global.output_dir=__import__('os').getcwd()"])
        assert loaded.Global.output_dir == "__import__('os').getcwd()"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "=",
            "=1",
            "Global",
            "Global.seed",
            "Global..seed=1",
            ".seed=1",
            "Global.seed.=1",
            "Global seed=1",
            "Global.seed=[1",
            "Global.seed={a",
            "Global.seed=${nowhere}",
            "Global.seed=${",
            "Global.seed.deeper=1",
            "Global.sead=1",
            "Global.seed=one",
            "Global.seed=1.5",
            "Global.seed=true",
            "Global=1",
            "Global=null",
            "Arch=[1]",
            "Nothing.here=1",
            "DataLoader.Train.transforms.9.size=1",
            "DataLoader.Train.transforms.flip=null",
            "DataLoader.Train.transforms=[{name: ppcore.data.RandomHorizontalFlip}]",
            "Metric.topk.9=1",
            "DataLoader.Train.transforms.size=1",
            "DataLoader.Train.transforms.crop=5",
            "Optimizer.lr=1e-3",
            "tree.Global=1",
            "_base_=x.yaml",
            "1=2",
        ],
    )
    def test_nonsense(self, full, text):
        with pytest.raises(ConfigError) as raised:
            config.load(full, [text])
        assert "\n" not in str(raised.value)

    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(alphabet="GlobalArch.se d=0123[]{}'\"$,:!&*#%@`|>-\\\n\t~éß", max_size=24))
    def test_any_text_loads_or_is_refused(self, full, text):
        message = ""
        try:
            config.load(full, [text])
        except ConfigError as error:
            message = str(error)
        assert "\n" not in message


class TestUnknownKeys:
    """A misspelt key names where it is and the key that was meant."""

    @pytest.mark.parametrize(
        ("where", "wrong", "right"),
        [
            ((), "Globall", "Global"),
            ((), "Dataloader", "DataLoader"),
            (("Global",), "sead", "seed"),
            (("Global", "pretrained"), "new_haed", "new_head"),
            (("Global", "duration"), "stepz", "steps"),
            (("AMP",), "levle", "level"),
            (("EMA",), "deccay", "decay"),
            (("Infer",), "top_k", "topk"),
            (("Arch",), "num_clases", "num_classes"),
            (("Loss",), "label_smothing", "label_smoothing"),
            (("Metric",), "topks", "topk"),
            (("Optimizer",), "bta1", "beta1"),
            (("Optimizer",), "clip_nrom", "clip_norm"),
            (("Optimizer",), "no_wieght_decay", "no_weight_decay"),
            (("Optimizer", "lr"), "base_Lr", "base_lr"),
            (("Optimizer", "lr", "warmup"), "epoch", "epochs"),
            (("DataLoader",), "Trian", "Train"),
            (("DataLoader", "Train"), "batchsize", "batch_size"),
            (("DataLoader", "Train", "dataset"), "splitt", "split"),
            (("DataLoader", "Train", "transforms", "crop"), "sise", "size"),
            (("DataLoader", "Train", "transforms", "normalize"), "means", "mean"),
            (("DataLoader", "Train", "batch_transforms", "mixup"), "mixup_alhpa", "mixup_alpha"),
            (("DataLoader", "Eval"), "num_worker", "num_workers"),
        ],
    )
    def test_names_the_nearest(self, tmp_path, where, wrong, right):
        def change(tree):
            node = tree
            for part in where:
                node = node[part]
            node[wrong] = node.get(right, 1)

        message = complaint(changed(tmp_path, change))
        path = ".".join(str(part) for part in where)
        assert path in message, message
        assert wrong in message
        assert f"did you mean '{right}'" in message, message

    @staticmethod
    def keys(node, path=()):
        """Paths of all keys of a tree."""
        if isinstance(node, dict):
            for key, value in node.items():
                yield (*path, key)
                yield from TestUnknownKeys.keys(value, (*path, key))
        elif isinstance(node, list):
            for i, value in enumerate(node):
                yield from TestUnknownKeys.keys(value, (*path, i))

    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_random_misspelling_never_passes(self, data):
        tree = yaml.safe_load(FULL)
        tree["Optimizer"]["lr"]["base_lr"] = 1e-3
        named = [
            path for path in TestUnknownKeys.keys(tree) if not str(path[-2:-1]).endswith("transforms',)")
        ]  # steps: any name
        path = data.draw(st.sampled_from(named))
        node = tree
        for part in path[:-1]:
            node = node[part]
        key = path[-1]
        at = data.draw(st.integers(0, len(key) - 1))
        letter = data.draw(st.sampled_from("abcxyzABC_019"))
        wrong = data.draw(
            st.sampled_from([key[:at] + key[at + 1 :], key[:at] + letter + key[at:], key[:at] + letter + key[at + 1 :]])
        )
        if wrong in node or not wrong:
            return
        node[wrong] = node.pop(key)
        with pytest.raises(ConfigError) as raised:
            config.check(tree, "file.yaml")
        message = str(raised.value)
        assert "\n" not in message
        assert message.startswith("file.yaml: ")
        if len(path) > 1:
            assert str(path[0]) in message, (path, message)


class TestValues:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("Global.seed='1'", "Global.seed"),
            ("Global.seed=-1", "Global.seed"),
            ("Global.device=tpu", "Global.device"),
            ("Global.keep_checkpoints=0", "Global.keep_checkpoints"),
            ("Global.duration={steps: 1, epochs: 1}", "Global.duration"),
            ("Global.duration={}", "Global.duration"),
            ("Global.duration=5", "Global.duration"),
            ("Global.eval_every={steps: 1.5}", "Global.eval_every"),
            ("AMP.level=O3", "AMP.level"),
            ("AMP.dtype=float64", "AMP.dtype"),
            ("EMA.decay=1.0", "EMA.decay"),
            ("EMA.decay=.nan", "EMA.decay"),
            ("Optimizer.clip_norm=.nan", "Optimizer.clip_norm"),
            ("Optimizer.lr.base_lr=.inf", "Optimizer.lr.base_lr"),
            ("Global.duration={epochs: .inf}", "Global.duration"),
            ("Arch.num_classes=ten", "Arch.num_classes"),
            ("Arch.num_classes=10.0", "Arch.num_classes"),
            ("Arch.act=swish", "Arch.act"),
            ("Arch.drop_rate='0.1'", "Arch.drop_rate"),
            ("Arch.qkv_bias=1", "Arch.qkv_bias"),
            ("Loss.label_smoothing=a", "Loss.label_smoothing"),
            ("Metric.topk=1", "Metric.topk"),
            ("Metric.topk=[a]", "Metric.topk"),
            ("Optimizer.beta1=x", "Optimizer.beta1"),
            ("Optimizer.weight_decay=-0.1", "Optimizer.weight_decay"),
            ("Optimizer.clip_norm=0", "Optimizer.clip_norm"),
            ("Optimizer.no_weight_decay=1d", "Optimizer.no_weight_decay"),
            ("Optimizer.lr.warmup={step: 5}", "Optimizer.lr.warmup"),
            ("Optimizer.lr.warmup=5", "Optimizer.lr.warmup"),
            ("Optimizer.lr.decay=cubic", "Optimizer.lr.decay"),
            ("DataLoader.Train.batch_size=0", "DataLoader.Train.batch_size"),
            ("DataLoader.Train.batch_size=1e3", "DataLoader.Train.batch_size"),
            ("DataLoader.Train.unreadable=ignore", "DataLoader.Train.unreadable"),
            ("DataLoader.Train.transforms=[]", "DataLoader.Train.transforms"),
            ("DataLoader.Train.transforms.crop.size=big", "DataLoader.Train.transforms.crop.size"),
            ("DataLoader.Train.dataset.split=5", "DataLoader.Train.dataset.split"),
        ],
    )
    def test_a_wrong_type_names_its_key(self, full, text, path):
        assert path in complaint(full, text)

    def test_whole_numbers_stand_for_floats(self, full):
        loaded = config.load(full, ["Optimizer.weight_decay=1", "Arch.drop_rate=0", "Global.duration={epochs: 3}"])
        assert loaded.Optimizer.weight_decay == 1.0

    def test_rules_without_decay(self, full):
        assert "no_weight_decay" in complaint(full, "Optimizer.weight_decay=0.0")

    @pytest.mark.parametrize("section", ["Global", "Arch"])
    def test_a_missing_section(self, tmp_path, section):
        message = complaint(changed(tmp_path, lambda tree: tree.pop(section)))
        assert f"{section}: this key is required" in message

    @pytest.mark.parametrize(
        ("where", "key"),
        [
            (("Global",), "output_dir"),
            (("Optimizer",), "lr"),
            (("Optimizer",), "name"),
            (("Optimizer", "lr"), "base_lr"),
            (("Optimizer", "lr"), "name"),
            (("DataLoader", "Train"), "batch_size"),
            (("DataLoader", "Train"), "dataset"),
            (("DataLoader", "Train", "transforms", "crop"), "size"),
            (("EMA",), "decay"),
            (("Arch",), "name"),
        ],
    )
    def test_a_missing_argument(self, tmp_path, where, key):
        def change(tree):
            node = tree
            for part in where:
                node = node[part]
            del node[key]

        message = complaint(changed(tmp_path, change))
        assert key in message
        assert str(where[-1]) in message


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["os.system", "builtins.eval", "subprocess.run", "sys.exit", "torch.load", "ppcore_evil.x", "numpy.load"],
    )
    def test_outside_the_allow_list(self, full, name):
        message = complaint(full, f"Arch.name={name}")
        assert name in message
        assert "outside the packages" in message

    @pytest.mark.parametrize(
        "name",
        [
            "ppcore.cli.os.system",
            "ppcore.losses._private",
            "ppvit.vit.VisionTransformer.__init__",
            "ppcore.__builtins__.eval",
            "ppcore.config.components.__dict__",
            "ppcore.__version__",
            "ppvit.",
            ".ppvit",
            "ppvit..vit",
            "ppvit",
            "ppvit.vit_base_patch16_225",
            "ppnothing.vit",
            "paddle.nothing.here",
            "5",
            "[ppvit.vit_tiny_patch16_224]",
            "null",
            "ppvit/vit.py",
            "ppvit.vit tiny",
        ],
    )
    def test_nothing_of_that_name(self, full, name):
        assert "Arch" in complaint(full, f"Arch.name={name}")

    @pytest.mark.parametrize(
        "name", ["ppcore.runs_nothing", "ppcore.data.rng.sys", "ppcore.config.schema.deepcopy", "ppcore.cli.Callable"]
    )
    def test_what_a_module_merely_imports_is_no_component(self, full, name):
        # A component belongs to an allowed package; a standard function imported there does not.
        assert "Loss" in complaint(full, f"Loss={{name: {name}}}")

    def test_nearest_builder(self, full):
        assert "did you mean 'vit_base_patch16_224'" in complaint(full, "Arch.name=ppvit.vit_base_patch16_244")

    def test_an_unknown_argument_of_a_nested_component_is_found_early(self, full):
        complaint(
            full, "Arch={name: ppvit.vit_tiny_patch16_224, embed_layer: {name: ppcore.layers.PatchEmbed, imgsize: 8}}"
        )

    def test_what_the_program_gives_cannot_be_configured(self, full):
        # `parameters` and `decayed` come from the model: configured ones would clash with them at build time.
        assert "Optimizer.decayed" in complaint(full, "Optimizer.decayed=[a]")
        assert "Optimizer.parameters" in complaint(full, "Optimizer.parameters=[]")


class TestAfterLoading:
    def test_sections_are_read_only(self, full):
        loaded = config.load(full)
        for target, key in [(loaded, "Arch"), (loaded.Global, "seed"), (loaded.Optimizer, "lr"), (loaded.AMP, "level")]:
            with pytest.raises(pydantic.ValidationError, match="frozen"):
                setattr(target, key, 1)

    def test_components_are_read_only(self, full):
        loaded = config.load(full)
        with pytest.raises(TypeError):
            loaded.Arch["num_classes"] = 11
        with pytest.raises(TypeError):
            loaded.Optimizer.lr.update(base_lr=1.0)
        with pytest.raises(TypeError):
            loaded.DataLoader.Train.transforms["crop"].pop("size")
        with pytest.raises(TypeError):
            loaded.DataLoader.Train.transforms.pop("crop")

    def test_yaml_round_trip(self, tmp_path, full):
        loaded = config.load(full, ["Optimizer.lr.base_lr=1e-8", "Global.output_dir='out/é: #'"])
        again = config.load(write(tmp_path, loaded.to_yaml(), "again.yaml"))
        assert again.model_dump() == loaded.model_dump()  # read from another file
        assert again.tree == loaded.tree
        assert again.Optimizer.lr["base_lr"] == 1e-8
        assert again.to_yaml() == loaded.to_yaml()

    def test_durations_are_built(self, full):
        schedule = components.build(config.load(full).Optimizer.lr)
        assert schedule.warmup.steps == 2

    def test_a_constructor_that_refuses_is_one_line(self, full):
        loaded = config.load(full, ["Loss.label_smoothing=1.5"])
        with pytest.raises(ConfigError, match="label_smoothing must be in") as raised:
            components.build(loaded.Loss)
        assert "ppcore.losses.CrossEntropy" in str(raised.value)


def test_paddleclas_keys(tmp_path):
    from conftest import TINY_CONFIG

    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_CONFIG.format(output=tmp_path / "run"))
    found = config.load(path, ["Global.epochs=3", "Global.pretrained=weights.safetensors"]).Global
    assert found.length().epochs == 3
    assert found.pretrained.path == "weights.safetensors"
    assert config.load(path).Global.length().steps == 20
    with pytest.raises(ConfigError, match=r"Global\.epochs"):
        config.load(path, ["Global.epochs=three"])
