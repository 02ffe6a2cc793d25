"""A configuration names public components only, each where its role belongs, and nothing that acts."""

import ast
import importlib
import inspect
import pkgutil
import sys

import pytest
import yaml

from ppcore import config
from ppcore.config import components, roles, signatures
from ppcore.errors import ConfigError

CROSS_ENTROPY = {"name": "ppcore.losses.CrossEntropy"}
NETWORK = {"name": "ppvit.vit_tiny_patch16_224"}
# Where a configuration names a component, also inside another: key path -> the whole section around it.
PLACES = {
    "Arch": lambda node: {"Arch": node},
    "Arch.embed_layer": lambda node: {"Arch": {**NETWORK, "embed_layer": node}},
    "Baselines.0": lambda node: {"Baselines": [node]},
    "Loss": lambda node: {"Loss": node},
    "Loss.base": lambda node: {"Loss": {"name": "ppdeit.BothHeads", "base": node}},
    "Loss.teacher": lambda node: {"Loss": {"name": "ppdeit.Distillation", "base": CROSS_ENTROPY, "teacher": node}},
    "Loss.teacher.arch": lambda node: {
        "Loss": {
            "name": "ppdeit.Distillation",
            "base": CROSS_ENTROPY,
            "teacher": {"name": "ppdeit.Teacher", "arch": node, "weights": "w.safetensors"},
        }
    },
    "Optimizer": lambda node: {"Optimizer": {**node, "lr": {"name": "ppcore.schedules.Constant", "base_lr": 0.1}}},
    "Optimizer.lr": lambda node: {"Optimizer": {"name": "ppcore.optim.SGD", "lr": node}},
    "DataLoader.Eval.dataset": lambda node: {"DataLoader": {"Eval": {"dataset": node, "batch_size": 1}}},
    "DataLoader.Eval.dataset.darken": lambda node: {
        "DataLoader": {"Eval": {"dataset": {"name": "ppcore.data.DarkenedFolder", "darken": node}, "batch_size": 1}}
    },
    "DataLoader.Eval.transforms.step": lambda node: {
        "DataLoader": {
            "Eval": {"dataset": {"name": "ppcore.data.Digits"}, "transforms": {"step": node}, "batch_size": 1}
        }
    },
    "DataLoader.Eval.batch_transforms.step": lambda node: {
        "DataLoader": {
            "Eval": {"dataset": {"name": "ppcore.data.Digits"}, "batch_transforms": {"step": node}, "batch_size": 1}
        }
    },
    "Metric": lambda node: {"Metric": node},
}


def complaint(place: str, node: dict) -> str:
    """The line about `node` at a place of an otherwise sound configuration."""
    tree = {"Global": {"output_dir": "output/x"}, "Arch": NETWORK, **PLACES[place](node)}
    with pytest.raises(ConfigError) as raised:
        config.check(tree, "c.yaml")
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"c.yaml: {place}: "), message
    return message


ACTING = {  # what a file could be made to do, were it a component
    "ppcore.reproduce.processes.start": {
        "command": ["/bin/sh", "-c", "true"],
        "environment": {},
        "log_file": {"name": "ppcore.weights.checkpoints.weight_file", "path": "x"},
    },
    "ppcore.reproduce.processes.subprocess.Popen": {"args": ["true"]},
    "ppcore.reproduce.reproduction.subprocess.run": {"args": ["true"]},
    "ppcore.engine.train.train": {},
    "ppcore.reproduce.jobs.run_all": {"jobs": [], "cores": 1},
    "ppcore.weights.save": {"model": NETWORK, "path": "x"},
    "ppcore.weights.load": {"model": NETWORK, "path": "x"},
    "ppcore.deploy.export.export_model": {"model": NETWORK, "folder": "x"},
    "ppcore.weights.files.write_atomically": {"path": "x", "write": "y"},
    "ppcore.report.write_report": {"folder": "x"},
    "ppcore.weights.checkpoints.Checkpoints": {"folder": "x"},
    "ppcore.metrics.vgg.load_vgg19": {"path": "x"},
    "ppcore.metrics.lpips.load_lpips": {"paths": "x"},
    "ppcore.config.roles.allow": {"package": "os"},
    "benchmarks.enhance_contender.main": {},
    "ppcore.photo.photo_io.write_file": {"path": "x", "data": "y"},
    "ppdeit.teacher.LogitsCache": {"path": "x", "teacher": "y"},
    "paddle.load": {"path": "x"},
    "paddle.jit.load": {"path": "x"},
    "paddle.vision.datasets.MNIST": {"download": True},
    "paddle.utils.download.get_weights_path_from_url": {"url": "http://localhost/x"},
    "shutil.rmtree": {"path": "x"},
    "os.system": {"command": "true"},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ACTING)
def test_what_acts_is_refused_everywhere(name, place):
    assert f"'{name}'" in complaint(place, {"name": name, **ACTING[name]})


def public_callables() -> dict[str, object]:
    """Every public class and function that a module of the suite has, by each name it has there."""
    found = {}
    for package in ("ppcore", *roles.registered()):
        root = importlib.import_module(package)
        modules = [package, *(m.name for m in pkgutil.walk_packages(root.__path__, f"{package}."))]
        for path in modules:
            try:
                module = importlib.import_module(path)
            except ModuleNotFoundError as error:
                if str(error.name).startswith("pp"):
                    raise
                continue  # an engine that is not installed here
            for name in dir(module):
                if not name.startswith("_") and callable(getattr(module, name)):
                    found[f"{module.__name__}.{name}"] = getattr(module, name)
    return found


# Calls by which source starts, writes, loads or deletes something.
ACTS = {
    *("Popen", "run", "system", "kill", "killpg", "execv", "check_call", "check_output", "Process"),
    *("save", "dump", "imwrite", "write", "write_text", "write_bytes", "write_json", "write_atomically", "mkdir"),
    *("unlink", "rmtree", "remove", "rename", "rmdir", "replace", "makedirs", "connect", "download", "load"),
}


def acts(target: object) -> bool:
    """Whether the source of a function, or of a class's constructor, makes such a call."""
    function = target.__dict__.get("__init__") if inspect.isclass(target) else target
    if not inspect.isfunction(function) or function.__code__.co_filename.startswith("<"):  # made by a decorator
        return False
    source = inspect.getsource(function)
    tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if ast.unparse(call) != "np.load"]  # a dataset's arrays; never with pickles
    return bool(ACTS & {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls})


def plays(name: str, role: roles.Role) -> bool:
    """Whether a section of this role may name it; a refusal is one line."""
    try:
        components.resolve(name, "c.yaml", role)
    except ConfigError as error:
        return "\n" in str(error)
    return True


@pytest.fixture(scope="module")
def everything():
    return public_callables()


class TestEveryCallable:
    def test_none_that_acts_is_a_component(self, everything):
        acting = {name: target for name, target in everything.items() if acts(target)}
        assert len(acting) > 60  # the search finds some
        assert not [name for name in acting for role in roles.COMPONENTS if plays(name, role)]

    def test_what_passes_declares_what_it_gives(self, everything):
        """A class with the role's methods or a function annotated to return one: never any callable."""
        found = {role.what: set() for role in roles.COMPONENTS}
        for name, target in everything.items():
            for role in roles.COMPONENTS:
                if not plays(name, role):
                    continue
                assert inspect.isclass(target) or signatures.made_by(target) is not None, name
                assert target.__module__.startswith(("ppcore.", *(f"{p}." for p in roles.registered()))), name
                of_engine = target.__module__.startswith("ppcore.engine")
                assert not of_engine or (target.__module__, role) == ("ppcore.engine.task", roles.TASK), name
                found[role.what].add(target)
        assert all(found.values())

    def test_a_component_has_one_role(self, everything):
        for name in everything:
            played = [role.what for role in roles.COMPONENTS if plays(name, role)]
            assert len(played) < 2, (name, played)


# One component of each role.
SOUND = {
    "Arch": NETWORK,
    "Loss": CROSS_ENTROPY,
    "Optimizer": {"name": "ppcore.optim.SGD"},
    "Optimizer.lr": {"name": "ppcore.schedules.Constant", "base_lr": 0.1},
    "DataLoader.Eval.dataset": {"name": "ppcore.data.Digits"},
    "DataLoader.Eval.transforms.step": {"name": "ppcore.data.CenterCrop", "size": 8},
    "DataLoader.Eval.batch_transforms.step": {"name": "ppcore.data.Mixup", "mixup_alpha": 0.8},
    "Metric": {"name": "ppcore.metrics.TopK"},
    "Loss.teacher": {"name": "ppdeit.Teacher", "arch": NETWORK, "weights": "w.safetensors"},
    "DataLoader.Eval.dataset.darken": {"name": "ppcore.data.Darken", "seed": 0},
    "Arch.embed_layer": {"name": "ppvit.hybrid.hybrid", "units": [], "patch_size": 8, "conv_norm": "timm"},
}
FITS = {("Loss", "Loss.base"), ("Arch", "Baselines.0"), ("Arch", "Loss.teacher.arch")}
FITS |= {("DataLoader.Eval.dataset.darken", "DataLoader.Eval.transforms.step")}  # a transform, too


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SOUND)
def test_a_component_fits_its_own_places_only(kind, place):
    if kind == place or (kind, place) in FITS:
        config.check({"Global": {"output_dir": "output/x"}, "Arch": NETWORK, **PLACES[place](SOUND[kind])})
    else:
        complaint(place, SOUND[kind])


class TestTheWay:
    def test_nothing_is_started(self, tmp_path, tiny_config, tool):
        """What the command line answers to a file that would run a command."""
        ran = tmp_path / "ran"
        tree = yaml.safe_load(tiny_config.read_text())
        tree["Arch"] = {"name": "ppcore.reproduce.processes.start", **ACTING["ppcore.reproduce.processes.start"]}
        tree["Arch"]["command"] = ["/bin/sh", "-c", f"touch {ran}"]
        tree["Arch"]["log_file"] = {"name": "ppcore.weights.checkpoints.weight_file", "path": str(tmp_path / "log")}
        tree["Optimizer"]["lr"]["base_lr"] = 0.001
        tiny_config.write_text(yaml.safe_dump(tree, sort_keys=False))
        done = tool("train", "-c", tiny_config)
        assert done.returncode == 2
        [line] = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
        assert "Arch: 'ppcore.reproduce.processes.start'" in line
        assert "Traceback" not in done.stderr
        assert not ran.exists()
        assert not (tmp_path / "run").exists()

    def test_building_checks_again(self):
        with pytest.raises(ConfigError, match="outside the packages"):
            components.build({"name": "ppcore.reproduce.processes.start", **ACTING["ppcore.reproduce.processes.start"]})
        with pytest.raises(ConfigError, match="not a criterion"):
            components.build({"name": "ppdeit.BothHeads", "base": {"name": "ppvit.vit_tiny_patch16_224"}})

    def test_the_tables_of_papers_have_roles_of_their_own(self):
        components.resolve("ppvit.reference_vit.ViTReference", "fidelity", roles.FIDELITY)
        components.resolve("ppuhdfour.figures.swap", "figures", roles.FIGURE)
        with pytest.raises(ConfigError, match="not a figure"):
            components.resolve("ppvit.reference_vit.ViTReference", "figures", roles.FIGURE)
        with pytest.raises(ConfigError, match="outside the packages"):
            components.resolve("ppcore.engine.train.train", "fidelity", roles.FIDELITY)


OWN = '''
from collections.abc import Sequence

import paddle
import paddle.nn as nn

from ppcore.losses import CrossEntropy
from ppcore.config.roles import Criterion


class Net(nn.Layer):
    """A line."""

    def __init__(self, *, num_classes: int = 10, width: int = 8):
        super().__init__()
        self.num_classes = num_classes
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


class Sum:
    """Several criteria added up."""

    def __init__(self, *, parts: Sequence[Criterion], weights: dict[str, float] | None = None):
        self.parts = parts

    def __call__(self, outputs, batch):
        return sum(part(outputs, batch) for part in self.parts)


class Loose:
    """Says of its argument nothing."""

    def __init__(self, part):
        self.part = part

    def __call__(self, outputs, batch):
        return self.part(outputs, batch)


def silent(**kwargs):
    return Net(**kwargs)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package `mynets` on the path, not allowed yet."""
    folder = tmp_path / "site" / "mynets"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "lines.py").write_text(OWN)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    monkeypatch.delitem(sys.modules, "mynets.lines", raising=False)
    yield folder
    roles.disallow_all()


class TestOwnPackage:
    def test_not_without_leave(self, own):
        line = complaint("Arch", {"name": "mynets.lines.Net"})
        assert "--allow" in line
        assert "mynets.lines" not in sys.modules  # not even imported

    def test_not_by_the_file(self, own, tiny_config):
        for text in ("allow=mynets", "Global.allow=mynets"):
            with pytest.raises(ConfigError, match="unknown key"):
                config.load(tiny_config, [text])
        assert not roles.allowed()

    @pytest.mark.parametrize("name", ["nowhere_at_all", "mynets.nothing", "my nets", "", "..", "ppvit.vit.nothing"])
    def test_no_such_package(self, own, name):
        with pytest.raises(ConfigError, match="no such package") as raised:
            roles.allow(name)
        assert "\n" not in str(raised.value)

    def test_its_components_play_roles_like_all(self, own):
        roles.allow("mynets")
        components.check({"name": "mynets.lines.Net", "width": 4}, "Arch", roles.NETWORK)
        assert "no argument 'widht' (did you mean 'width'?)" in " ".join(
            components.mistakes({"name": "mynets.lines.Net", "widht": 4}, "Arch", roles.NETWORK)
        )
        assert "not a criterion" in complaint("Loss", {"name": "mynets.lines.Net"})
        assert "annotated to return one" in complaint("Arch", {"name": "mynets.lines.silent"})

    def test_what_it_imports_is_no_component_of_it(self, own):
        roles.allow("mynets")
        (own / "shell.py").write_text("import os\nfrom os import system\nfrom subprocess import Popen, run\n")
        for name in ("system", "Popen", "run"):
            complaint("Arch", {"name": f"mynets.shell.{name}"})

    def test_components_in_a_list(self, own):
        roles.allow("mynets")
        node = {"name": "mynets.lines.Sum", "parts": [CROSS_ENTROPY, {"name": "ppcore.losses.BinaryCrossEntropy"}]}
        components.check(node, "Loss", roles.CRITERION)
        assert len(components.build(node).parts) == 2
        acting = {"name": "ppcore.reproduce.processes.start", **ACTING["ppcore.reproduce.processes.start"]}
        for wrong in (acting, {"name": "ppcore.data.Digits"}, 5):
            [line] = components.mistakes({**node, "parts": [CROSS_ENTROPY, wrong]}, "Loss", roles.CRITERION)
            assert line.startswith("Loss.parts.1: "), line

    def test_a_mapping_of_numbers_holds_no_component(self, own):
        roles.allow("mynets")
        node = {"name": "mynets.lines.Sum", "parts": [], "weights": {"name": "ppcore.losses.CrossEntropy"}}
        assert components.mistakes(node, "Loss", roles.CRITERION)

    def test_an_argument_must_say_what_it_takes(self, own):
        roles.allow("mynets")
        for part in (CROSS_ENTROPY, [CROSS_ENTROPY], {"a": [CROSS_ENTROPY]}):
            [line] = components.mistakes({"name": "mynets.lines.Loose", "part": part}, "Loss", roles.CRITERION)
            assert line.startswith("Loss.part: takes no component"), line
        assert components.build({"name": "mynets.lines.Loose", "part": CROSS_ENTROPY}).part == CROSS_ENTROPY

    def test_trained_evaluated_and_resumed(self, own, tiny_config, tool):
        options = ["-o", "Arch={name: mynets.lines.Net, width: 16}", "Loss={name: mynets.lines.Sum, "]
        options[-1] += "parts: [{name: ppcore.losses.CrossEntropy}]}"
        options += ["Optimizer.no_weight_decay=[1d]", "Global.duration={steps: 6}", "DataLoader.Train.num_workers=1"]
        command = ["-c", tiny_config, *options]
        path = {"path": (own.parent,)}
        refused = tool("train", *command, **path)
        assert refused.returncode == 2
        assert "--allow" in refused.stderr
        done = tool("train", *command, "--allow", "mynets", **path)
        assert done.returncode == 0, done.stderr
        saved = tiny_config.parent / "run" / "config.yaml"
        assert "mynets" in saved.read_text()
        assert "allow" not in saved.read_text()
        done = tool("eval", "-c", saved, "--allow", "mynets", **path)
        assert done.returncode == 0, done.stderr
        assert '"top1"' in done.stdout


def test_trainings_that_a_tool_starts_are_told(own, root):
    from ppcore.reproduce.launch import train_command

    roles.allow("mynets")
    command = train_command(root / "tools", [root / "configs/x.yaml"], ["Global.seed=1"])
    assert command[-2:] == ["--allow", "mynets"]


def test_the_suites_packages_are_entry_points(root):
    """Where this fails, the installation is older than setup.py: run make once more."""
    found = {path.parent.name for path in root.glob("pp*/__init__.py")} - {"ppcore"}
    assert found <= set(roles.registered())


# What PaddleClas's builders do with text; the tests below prove that none of a configuration gets there.
EVALUATES = """
import paddle.nn as nn


class ViT(nn.Layer):
    def __init__(self, depth=1, widths=(1,), norm_layer="nn.LayerNorm", class_num=10):
        super().__init__()
        self.norm = eval(norm_layer)(class_num)


def ViT_small(pretrained=False, use_ssld=False, **kwargs):
    return ViT(**kwargs)
"""


class TestOtherPeoplesBuilders:
    """PaddleClas's evaluate text and unpickle files."""

    @pytest.fixture(autouse=True)
    def _paddleclas(self, tmp_path, monkeypatch):
        folder = tmp_path / "site" / "paddleclas"
        for part in ("", "ppcls", "ppcls/arch", "ppcls/arch/backbone"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / "__init__.py").write_text("")
        (folder / "ppcls/arch/backbone/zoo.py").write_text(EVALUATES)
        (folder / "__init__.py").write_text(
            "from paddleclas.ppcls.arch.backbone.zoo import ViT, ViT_small\nfrom os import system\n"
        )
        for name in [name for name in sys.modules if name.split(".")[0] == "paddleclas"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(folder.parent)
        yield
        for name in [name for name in sys.modules if name.split(".")[0] == "paddleclas"]:
            del sys.modules[name]

    @pytest.mark.parametrize("name", ["paddleclas.ViT_small", "paddleclas.ViT"])
    def test_numbers_pass(self, name):
        node = {"name": name, "class_num": 7, "depth": 2, "widths": [1, 2]}
        components.check(node, "Arch", roles.NETWORK)
        assert components.build(node).norm.weight.shape == [7]

    @pytest.mark.parametrize("name", ["paddleclas.ViT_small", "paddleclas.ViT"])
    @pytest.mark.parametrize(
        "argument",
        [
            {"norm_layer": "__import__('pathlib').Path('ran').touch"},
            {"widths": [1, "__import__('pathlib').Path('ran').touch()"]},
            {"depth": {"a": 1}},
        ],
    )
    def test_text_does_not(self, name, argument, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        complaint_of = components.mistakes({"name": name, **argument}, "Arch", roles.NETWORK)
        assert [line for line in complaint_of if "only numbers" in line]
        with pytest.raises(ConfigError, match="only numbers"):
            components.build({"name": name, **argument})
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("name", ["paddleclas.ViT_small", "paddle.vision.models.resnet18"])
    @pytest.mark.parametrize("value", [True, False, "evil.pdparams"])
    def test_nor_do_weights_of_theirs(self, name, value):
        [line] = components.mistakes({"name": name, "pretrained": value}, "Arch", roles.NETWORK)
        assert "Global.pretrained" in line
        with pytest.raises(ConfigError, match=r"Global\.pretrained"):
            components.build({"name": name, "pretrained": value})

    def test_what_they_import(self):
        assert "system" in complaint("Arch", {"name": "paddleclas.system"})
