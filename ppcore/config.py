"""Configuration: YAML files over `_base_`, `-o` overrides, one strict check, then read-only.

The sections carry PaddleClas's names; every key of every section is declared here or is an
argument of the component the section names.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from ppcore import components
from ppcore.durations import Duration
from ppcore.errors import ConfigError, nearest
from ppcore.read_only import read_only

Component = dict[str, Any]


class Section(BaseModel):
    """A mapping with declared keys only; immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _read_only(self) -> "Section":
        # `frozen` stops assignment; the dicts and lists inside must not change either.
        for values in (self.__dict__, self.model_extra or {}):
            values.update({key: read_only(value) for key, value in values.items()})
        return self


class Pretrained(Section):
    """Weights to start from (a file, a step folder or a run's folder): see `ppcore.weights.load`."""

    path: str
    source: str | None = None
    key: str | None = None
    new_head: bool = False
    pos_embed: str | None = None


class GlobalSection(Section):
    """What a run is: where it writes, how long it lasts, how often it looks up.

    `epochs` is PaddleClas's key: when it is set it replaces `duration`. `pretrained` may be a path.
    `best_metric` chooses the best checkpoint; by default the metric's own headline.
    """

    output_dir: str
    duration: Duration = Duration(epochs=1.0)
    epochs: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    tf32: bool = Field(
        False,
        description="Whether float32 products on a GPU may round their inputs to TF32 (Ampere and newer): faster, "
        "with 10 bits of 23. Only float32 parts are concerned; under AMP most products are half precision anyway.",
    )
    eval_every: Duration = Duration(epochs=1.0)
    save_every: Duration = Duration(epochs=1.0)
    log_every: Duration = Duration(steps=10)
    keep_checkpoints: int = Field(2, ge=1)
    resume: Literal["auto", "never"] = "auto"
    pretrained: Pretrained | None = None
    eval_mode_training: bool = False
    best_metric: str | None = None
    visualdl: bool = True
    visualdl_graph: bool = True

    @field_validator("pretrained", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    def length(self) -> Duration:
        """How long the run lasts."""
        return self.duration if self.epochs is None else Duration(epochs=float(self.epochs))


class AMPSection(Section):
    """Mixed precision: level O0 (off), O1 (per-operator lists), O2 (low-precision weights, fp32 masters)."""

    level: Literal["O0", "O1", "O2"] = "O0"
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    init_loss_scaling: float = Field(65536.0, gt=0)
    unavailable: Literal["error", "float32"] = Field(
        "error",
        description="What training does where the device has no such precision (a CPU, an old GPU): an error, or "
        "float32. Evaluation computes in float32 there, and says so.",
    )


class EMASection(Section):
    """Exponential moving average of the weights, kept in float32.

    `headline` says which weights are the run's result, the trained ones (`model`) or their average (`ema`): they choose
    the best checkpoint, stand in reports, and are what evaluation, inference and export load. `auto` takes those that
    evaluate better, and the trained ones where nothing is evaluated.
    """

    decay: float = Field(ge=0, lt=1)
    headline: Literal["auto", "model", "ema"] = "auto"


class LoaderSection(Section):
    """One split: where images come from and what happens to them. `batch_size` is global."""

    dataset: Component
    transforms: list[Component] = []
    batch_transforms: list[Component] = []
    batch_size: int = Field(ge=1)
    num_workers: int = Field(0, ge=0)
    repeats: int = Field(1, ge=1)
    unreadable: Literal["raise", "skip"] = "raise"


class DataSection(Section):
    """Training and evaluation data; either may be absent where it is not used."""

    Train: LoaderSection | None = None
    Eval: LoaderSection | None = None


class InferSection(Section):
    """What `tools/infer.py` reads and writes.

    Classifiers: preprocessing is `DataLoader.Eval.transforms`. Networks that make images take photographs
    as they are; for them, `tile` is the number of rows finished at a time (less memory, the same result),
    `engine` and `precision` are those of `ppcore.predictor`, `quality` is that of JPEG and WebP files.
    """

    input: str | list[str] | None = None
    output: str | None = None
    batch_size: int = Field(8, ge=1)
    topk: int = Field(5, ge=1)
    class_names: str | list[str] | None = None
    rollout: bool = False
    unreadable: Literal["raise", "skip"] = "skip"
    tile: int | None = Field(None, ge=1)
    engine: Literal["auto", "eager", "paddle", "onnxruntime", "openvino"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    quality: int = Field(95, ge=1, le=100)


class ExportSection(Section):
    """What `tools/export_model.py` writes: a folder (default export in the run's) in these formats."""

    output: str | None = None
    formats: list[Literal["paddle", "onnx"]] = Field(["paddle", "onnx"], min_length=1)


class OptimizerSection(Section):
    """An optimiser of `ppcore.optim` and how updates are made."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    name: str
    lr: Component
    weight_decay: float = Field(0.0, ge=0)
    no_weight_decay: list[str] = []
    clip_norm: float | None = Field(None, gt=0)
    accumulate: int = Field(1, ge=1)

    def component(self) -> Component:
        """The optimiser's own arguments."""
        return {"name": self.name, **(self.model_extra or {})}


class Config(Section):
    """A checked configuration. `Beside` are models without weights that `tools/eval.py` evaluates beside `Arch`."""

    Global: GlobalSection
    AMP: AMPSection = AMPSection()
    Arch: Component
    Loss: Component | None = None
    Optimizer: OptimizerSection | None = None
    DataLoader: DataSection = DataSection()
    Metric: Component = {"name": "ppcore.metrics.TopK", "topk": [1, 5]}
    Beside: list[Component] = []
    EMA: EMASection | None = None
    Infer: InferSection = InferSection()
    Export: ExportSection = ExportSection()
    _tree: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def tree(self) -> dict[str, Any]:
        """The resolved mapping this configuration was read from."""
        return self._tree

    @model_validator(mode="after")
    def _weights_decay_by_rule(self) -> "Config":
        if self.Optimizer and self.Optimizer.no_weight_decay and not self.Optimizer.weight_decay:
            raise ValueError("Optimizer.no_weight_decay names rules but Optimizer.weight_decay is 0")
        return self

    def to_yaml(self) -> str:
        """The resolved configuration, as saved in a run's folder."""
        return yaml.safe_dump(deepcopy(self.tree), sort_keys=False, allow_unicode=True)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file with its bases, applies overrides and checks every key.

    Args:
        path: the YAML file.
        overrides: `Section.key=value` texts; the first `=` splits, the value is YAML.

    Raises:
        ConfigError: one line with the file, the key path and, for a misspelling, the nearest key.
    """
    tree = merge(Path(path), seen=())
    for text in overrides:
        _override(tree, text)
    try:
        plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {_first_line(error)}") from error
    return check(plain, str(path))


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """The mapping that `key=value` texts describe, values read as YAML.

    Raises:
        ConfigError: a text is not of that form.
    """
    tree = OmegaConf.create({})
    for text in texts:
        _override(tree, text)
    return OmegaConf.to_container(tree, resolve=True)


def merge(path: Path, seen: tuple[Path, ...]) -> Any:
    """The file's tree merged over its `_base_` files (mappings merge, lists are replaced)."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: _base_ leads back to this file")
    try:
        tree = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(tree):
        raise ConfigError(f"{path}: a configuration is a mapping of sections")
    bases = tree.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, Sequence) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: _base_ is a file name or a list of file names, got {bases!r}")
    layers = [merge(path.parent / base, (*seen, path.resolve())) for base in bases]
    merged = OmegaConf.create({})
    for layer in [*layers, tree]:
        merged = _over(merged, layer)
    return merged


def _over(below: Any, above: Any) -> Any:
    """`above` merged over `below`; a duration, or a component of another name, replaces the one below it."""
    out = deepcopy(below)
    for key, value in above.items_ex(resolve=False):
        old = out._get_node(key)
        mergeable = OmegaConf.is_dict(old) and OmegaConf.is_dict(value) and not set(value) <= set(Duration.model_fields)
        if mergeable and len({value.get("name"), old.get("name")} - {None}) < 2:
            out[key] = _over(old, value)
        else:
            out[key] = deepcopy(value)
    return out


def _override(tree: Any, text: str) -> None:
    key, found, value = text.partition("=")
    key, text = key.strip(), " ".join(text.split())
    if not found or not all(part.isidentifier() or part.isdigit() for part in key.split(".")):
        raise ConfigError(f"-o {text}: write it as Section.key=value")
    try:
        parsed = OmegaConf.from_dotlist([f"value={value}"])._get_node("value")
        OmegaConf.update(tree, key, parsed, merge=False)
    except (OmegaConfBaseException, yaml.YAMLError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"-o {text}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check(tree: dict[str, Any], where: str = "configuration") -> Config:
    """Checks a resolved mapping: sections, keys, types, and every component's arguments."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error
    config._tree = read_only(tree)
    components.check(config.Arch, f"{where}: Arch")
    for i, node in enumerate(config.Beside):
        components.check(node, f"{where}: Beside.{i}")
    if config.Loss:
        components.check(config.Loss, f"{where}: Loss")
    components.check(config.Metric, f"{where}: Metric")
    if config.Optimizer:
        components.check(
            config.Optimizer.component(),
            f"{where}: Optimizer",
            provided=("parameters", "weight_decay", "decayed"),
            beside=OptimizerSection.model_fields,
        )
        components.check(config.Optimizer.lr, f"{where}: Optimizer.lr")
    for split in ("Train", "Eval"):
        section = getattr(config.DataLoader, split)
        if section is None:
            continue
        components.check(section.dataset, f"{where}: DataLoader.{split}.dataset")
        for kind in ("transforms", "batch_transforms"):
            for i, node in enumerate(getattr(section, kind)):
                components.check(node, f"{where}: DataLoader.{split}.{kind}.{i}", provided=("num_classes",))
    return config


def _explain(error: ValidationError) -> str:
    """The first complaint with its key path, and the nearest key for a misspelling."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(first['loc'][-1]), _keys_beside(first['loc']))}"
    if first["type"] == "missing":
        return f"{path}: this key is required"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f", got {first['input']!r}"
    return f"{path}: {message[0].lower()}{message[1:]}{given}" if path else message


def _keys_beside(location: tuple) -> list[str]:
    """Keys declared in the section that holds the last part of `location`."""
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(part)
        options = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
