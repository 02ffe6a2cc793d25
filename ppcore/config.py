"""Configuration: YAML files over `_base_`, `-o` overrides, one strict check, then read-only.

The sections carry PaddleClas's names; every key of every section is declared here or is an
argument of the component the section names.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from ppcore import components, roles
from ppcore.durations import Duration
from ppcore.errors import ConfigError, nearest, raise_all
from ppcore.paddleclas_keys import answer
from ppcore.read_only import read_only

Component = dict[str, Any]


class Section(BaseModel):
    """A mapping with declared keys only; immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="after")
    def _read_only(self) -> "Section":
        # `frozen` stops assignment; the dicts and lists inside must not change either.
        for values in (self.__dict__, self.model_extra or {}):
            values.update({key: read_only(value) for key, value in values.items()})
        return self


class Pretrained(Section):
    """Weights to start from (a file, a step folder or a run's folder): see `ppcore.weights.load`."""

    path: str
    """File, step folder or run's folder."""
    source: str | None = None
    """Layout of somebody else's file (`timm`, `deit`, `google`, …): see `tools/list.py layouts`. `null`: ours, or what the file says."""
    key: str | None = None
    """Entry of a training checkpoint to take, such as `model_ema`."""
    new_head: bool = False
    """Leave out a classifier that does not fit, and train a fresh one."""
    pos_embed: str | None = None
    """Interpolation of a position embedding of another grid; the model says which it knows."""


class GlobalSection(Section):
    """What a run is: where it writes, how long it lasts, how often it looks up."""

    output_dir: str
    """Folder of the run: configuration, logs, checkpoints."""
    duration: Duration = Duration(epochs=1.0)
    """How long training lasts."""
    epochs: float | None = Field(None, gt=0)
    """PaddleClas's key: replaces `duration` when it is set."""
    seed: int = Field(0, ge=0)
    """Seed of weights, order, augmentation and dropout."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute; `auto` takes a GPU that Paddle can use."""
    tf32: bool = False
    """Whether float32 products on a GPU may round their inputs to TF32 (Ampere and newer): faster, with 10 bits of 23.
    Only float32 parts are concerned; under AMP most products are half precision anyway."""
    eval_every: Duration = Duration(epochs=1.0)
    """How often to evaluate on `DataLoader.Eval`."""
    save_every: Duration = Duration(epochs=1.0)
    """How often to save a checkpoint."""
    log_every: Duration = Duration(steps=10)
    """How often to log loss, rate and speed."""
    keep_checkpoints: int = Field(2, ge=1)
    """Newest checkpoints to keep, beside the best."""
    resume: Literal["auto", "never"] = "auto"
    """`auto` continues the run that `output_dir` holds; `never` refuses such a folder."""
    pretrained: Pretrained | None = None
    """Weights to start from: a path, or a mapping (see Global.pretrained)."""
    eval_mode_training: bool = False
    """Train with dropout and stochastic depth off (DeiT's fine-tuning)."""
    best_metric: str | None = None
    """The number that chooses the best checkpoint; `null`: the metric's own headline."""
    visualdl: bool = True
    """Also log to VisualDL (`vdl/` in the run's folder)."""
    visualdl_graph: bool = True
    """Add the network's graph to VisualDL when training ends."""

    @field_validator("pretrained", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    def length(self) -> Duration:
        """How long the run lasts."""
        return self.duration if self.epochs is None else Duration(epochs=float(self.epochs))


class AMPSection(Section):
    """Mixed precision."""

    level: Literal["O0", "O1", "O2"] = "O0"
    """O0 (off), O1 (per-operator lists), O2 (low-precision weights, fp32 masters)."""
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    """The low precision."""
    init_loss_scaling: float = Field(65536.0, gt=0)
    """First loss scale of float16; bfloat16 needs none."""
    unavailable: Literal["error", "float32"] = "error"
    """What training does where the device has no such precision (a CPU, an old GPU): an error, or float32. Evaluation
    computes in float32 there, and says so."""


class EMASection(Section):
    """Exponential moving average of the weights, kept in float32.

    `headline` says which weights are the run's result, the trained ones (`model`) or their average (`ema`): they choose
    the best checkpoint, stand in reports, and are what evaluation, inference and export load. `auto` takes those that
    evaluate better, and the trained ones where nothing is evaluated.
    """

    decay: float = Field(ge=0, lt=1)
    """Share of the average that an update keeps."""
    headline: Literal["auto", "model", "ema"] = "auto"
    """Which weights are the run's result: see above."""


class LoaderSection(Section):
    """One split: where images come from and what happens to them."""

    dataset: Annotated[Component, roles.DATASET]
    """Where the images come from."""
    transforms: Annotated[list[Component], roles.TRANSFORM] = []
    """What happens to each image, in order."""
    batch_transforms: Annotated[list[Component], roles.BATCH_TRANSFORM] = []
    """What happens to a whole batch, such as Mixup."""
    batch_size: int = Field(ge=1)
    """Images an update, over all processes and accumulation steps."""
    num_workers: int = Field(0, ge=0)
    """Processes that read images, beside each training process; 0 reads in it."""
    repeats: int = Field(1, ge=1)
    """Copies of each training image in an epoch, augmented differently (repeated augmentation)."""
    unreadable: Literal["raise", "skip"] = "raise"
    """What to do about an image that cannot be read."""


class DataSection(Section):
    """Training and evaluation data; either may be absent where it is not used."""

    Train: LoaderSection | None = None
    """Data to train on."""
    Eval: LoaderSection | None = None
    """Data to evaluate on."""


class InferSection(Section):
    """What `tools/infer.py` reads and writes.

    Classifiers: preprocessing is `DataLoader.Eval.transforms`. Networks that make images take photographs as they are.
    """

    input: str | list[str] | None = None
    """Files, folders or globs."""
    output: str | None = None
    """Folder to write to; `null`: `infer` in the run's."""
    batch_size: int = Field(8, ge=1)
    """Images at a time (classifiers)."""
    topk: int = Field(5, ge=1)
    """Classes to name (classifiers)."""
    class_names: str | list[str] | None = None
    """Names of the classes: a file with one a line, or a list (classifiers)."""
    rollout: bool = False
    """Also write attention pictures (vision transformers)."""
    unreadable: Literal["raise", "skip"] = "skip"
    """What to do about an image that cannot be read."""
    tile: int | None = Field(None, ge=1)
    """Rows finished at a time: less memory, the same result (networks that make images)."""
    engine: Literal["auto", "eager", "paddle", "onnxruntime", "openvino"] = "auto"
    """What computes on a CPU: the model itself (`eager`), or its export by an engine of `ppcore.predictor`. `auto`: a classifier
    itself; photographs by the engine that suits their sizes."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the engine; bf16 needs OpenVINO."""
    quality: int = Field(95, ge=1, le=100)
    """Quality of JPEG and WebP files (networks that make images)."""


class ExportSection(Section):
    """What `tools/export_model.py` writes."""

    output: str | None = None
    """Folder to write; `null`: `export` in the run's."""
    formats: list[Literal["paddle", "onnx"]] = Field(["paddle", "onnx"], min_length=1)
    """`paddle` (Paddle Inference) and `onnx` (needs the extra `deploy`)."""


class OptimizerSection(Section):
    """An optimiser of `ppcore.optim` and how updates are made."""

    model_config = ConfigDict(extra="allow")
    name: str
    """The optimizer; its own arguments stand beside the keys below."""
    lr: Annotated[Component, roles.SCHEDULE]
    """The learning rate as a function of the step."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay, as the optimizer understands it."""
    no_weight_decay: list[str] = []
    """What decay leaves alone: `1d` (vectors and scalars), or a part between dots of a parameter's name, such as `bias`."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest global L2 norm of the gradients; `null`: no clipping."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches an update is computed in (less memory, the same update)."""

    @model_validator(mode="after")
    def _weights_decay_by_rule(self) -> "OptimizerSection":
        if self.no_weight_decay and not self.weight_decay:
            raise ValueError("no_weight_decay names rules but weight_decay is 0")
        return self

    def component(self) -> Component:
        """The optimiser's own arguments."""
        return {"name": self.name, **(self.model_extra or {})}


class Config(Section):
    """A checked configuration."""

    Global: GlobalSection
    """The run."""
    AMP: AMPSection = AMPSection()
    """Mixed precision."""
    Arch: Annotated[Component, roles.NETWORK]
    """The network."""
    Loss: Annotated[Component | None, roles.CRITERION] = None
    """What training minimises."""
    Optimizer: Annotated[OptimizerSection | None, roles.OPTIMIZER] = None
    """How it is minimised."""
    DataLoader: DataSection = DataSection()
    """Data to train and to evaluate on."""
    Metric: Annotated[Component, roles.METRIC] = {"name": "ppcore.metrics.TopK", "topk": [1, 5]}
    """What evaluation measures."""
    Beside: Annotated[list[Component], roles.NETWORK] = []
    """Networks without weights that `tools/eval.py` evaluates beside `Arch`."""
    EMA: EMASection | None = None
    """Moving average of the weights; `null`: there is none."""
    Infer: InferSection = InferSection()
    """What `tools/infer.py` reads and writes."""
    Export: ExportSection = ExportSection()
    """What `tools/export_model.py` writes."""
    _tree: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def tree(self) -> dict[str, Any]:
        """The resolved mapping this configuration was read from."""
        return self._tree

    def to_yaml(self, *, defaults: bool = False) -> str:
        """The resolved configuration, as saved in a run's folder; with `defaults` every key that was left out, too."""
        tree = _with_defaults(self) if defaults else deepcopy(self.tree)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _with_defaults(value: Any) -> Any:
    """Sections, durations and components as plain mappings with every key that has a default."""
    if isinstance(value, Duration):
        return value.model_dump(exclude_none=True)
    if isinstance(value, OptimizerSection):
        beside = {key: _with_defaults(getattr(value, key)) for key in OptimizerSection.model_fields if key != "name"}
        return {**_with_defaults(value.component()), **beside}
    if isinstance(value, BaseModel):
        return {key: _with_defaults(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        node = components.with_defaults(value) if components.is_component(value) else value
        return {key: _plain(item) for key, item in node.items()}
    if isinstance(value, (list, tuple)):
        return [_with_defaults(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """An argument as YAML holds it: durations as mappings, tuples as lists."""
    if isinstance(value, Duration):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file with its bases, applies overrides and checks every key.

    Args:
        path: the YAML file.
        overrides: `Section.key=value` texts; the first `=` splits, the value is YAML.

    Raises:
        ConfigError: one line for each mistake with the file, the key path and, for a misspelling, the nearest key.
    """
    tree = _over(OmegaConf.create(_default_components()), merge(Path(path), seen=()))
    wrong = []
    for text in overrides:
        try:
            _override(tree, text)
        except ConfigError as error:
            wrong.append(str(error))
    try:
        plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise_all([*wrong, f"{path}: {_first_line(error)}"])
    return check(plain, str(path), wrong)


def _default_components() -> dict[str, Component]:
    """The components a configuration has without naming them, so that one argument of them can be changed."""
    fields = Config.model_fields.items()
    return {key: field.default for key, field in fields if components.is_component(field.default)}


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


def check(tree: dict[str, Any], where: str = "configuration", wrong: Sequence[str] = ()) -> Config:
    """Checks a resolved mapping: sections, keys, types, and every component's arguments.

    Args:
        tree: the mapping.
        where: what to call it in messages.
        wrong: mistakes found before, reported with the others.

    Raises:
        ConfigError: one line for each mistake.
    """
    found = list(wrong)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        found += [f"{where}: {line}" for line in _explain(error, tree)]
    for path, node, role, beside in _components_in(tree):
        found += components.mistakes(node, f"{where}: {path}", role, beside=beside)
    raise_all(found)
    config._tree = read_only(tree)
    return config


def _components_in(
    tree: Any, section: type[BaseModel] = Config, path: str = ""
) -> Iterator[tuple[str, Mapping, roles.Role, Collection[str]]]:
    """(key path, mapping, role, keys that stand beside its own) of each component; what is no mapping is left out."""
    for key, field in section.model_fields.items():
        node, at = tree.get(key) if isinstance(tree, Mapping) else None, f"{path}{key}"
        inner = section_of(field.annotation)
        fields = inner.model_fields if inner else {}
        if (role := role_of(field)) is not None:
            for i, item in enumerate(node if isinstance(node, list) else [node]):
                if isinstance(item, Mapping):
                    # A section that is a component itself has keys of its own beside the component's.
                    own = {name: value for name, value in item.items() if name == "name" or name not in fields}
                    if not fields or "name" in own:
                        yield (f"{at}.{i}" if isinstance(node, list) else at), own, role, fields.keys()
        if inner is not None:
            yield from _components_in(node, inner, f"{at}.")


def role_of(field: FieldInfo) -> roles.Role | None:
    """The role of the component, or of each of a list, that a key holds; None for a key that holds none."""
    return next((item for item in field.metadata if isinstance(item, roles.Role)), None)


def section_of(annotation: Any) -> type[Section] | None:
    """The section a key holds, if it holds one."""
    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, Section)), None)


def _explain(error: ValidationError, tree: Any) -> list[str]:
    """Each complaint with its key path, and the nearest key for a misspelling."""
    complaints = error.errors()
    unknown = [item["loc"] for item in complaints if item["type"] == "extra_forbidden"]
    found: dict[str, str] = {}
    for item in complaints:
        *above, last = item["loc"] or ("",)
        path = ".".join(str(part) for part in _keys(item, tree))
        if item["type"] == "extra_forbidden":
            line = f"{path}: unknown key{answer(path) or nearest(str(last), _keys_beside(item['loc']))}"
        elif item["type"] == "missing":
            if any(list(loc[:-1]) == above and nearest(str(loc[-1]), [last]) for loc in unknown):
                continue  # it is there, misspelt
            line = f"{path}: this key is required"
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = "" if item["type"] == "value_error" else f", got {item['input']!r}"
            line = f"{path}: {message[0].lower()}{message[1:]}{given}" if path else message
        found.setdefault(path, line)
    return list(found.values())


def _keys(complaint: Any, tree: Any) -> list[Any]:
    """The location of a complaint without the names that pydantic gives to the alternatives of a union."""
    found, node = [], tree
    for part in complaint["loc"]:
        try:
            node = node[part]
        except (TypeError, KeyError, IndexError):
            if complaint["type"] != "missing" or part != complaint["loc"][-1]:
                continue
        found.append(part)
    return found


def _keys_beside(location: tuple) -> list[str]:
    """Keys declared in the section that holds the last part of `location`."""
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(part)
        options = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
