"""The sections of a configuration, under PaddleClas's names: every key with its type, default and meaning."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from ppcore.config import roles
from ppcore.config.defaults import with_defaults
from ppcore.config.durations import Duration
from ppcore.config.schema_inference import ExportSection, InferSection
from ppcore.config.section import Component, Section


class Pretrained(Section):
    """Which weights, and how to read them; a text alone is the path: see `ppcore.weights.load_pretrained`."""

    path: str
    """File, step folder or run's folder."""
    source: str | None = None
    """Layout of somebody else's file (`timm`, `deit`, `google`, …): see `tools/list.py layouts`. `null`: ours, or what the file says."""
    key: str | None = None
    """Entry of a training checkpoint to take, such as `model_ema`."""
    new_head: bool | str = False
    """Leave out a classifier that does not fit, and train a fresh one; or the name of a rule that the model has for it."""
    pos_embed: str | None = None
    """Interpolation of position embeddings, or of biases, of another size; the model says which it knows."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


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
    recompute: bool = False
    """Gradient checkpointing: a network's blocks keep their inputs alone and run forward again on the way back. Less memory,
    the same gradients, up to a third more time."""
    sync_batch_norm: bool = False
    """In several processes, batch norms take means and variances over the batches of all of them: the training is then that
    of one process with the whole batch. Otherwise each has its own."""
    eval_mode_training: bool = False
    """Train with dropout and stochastic depth off (DeiT's fine-tuning)."""
    best_metric: str | None = None
    """The number that chooses the best checkpoint; `null`: the metric's own headline."""
    visualdl: bool = True
    """Also log to VisualDL (`vdl/` in the run's folder)."""
    visualdl_graph: bool = True
    """Add the network's graph to VisualDL when training ends."""

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


class NetworkSection(Section):
    """A network that `tools/eval.py` evaluates beside `Arch`, on the same images and by the same metrics unless `set` says otherwise.

    The networks of a file stand below those of the files that it is over; one of the same `method` takes the place of theirs.
    """

    method: str
    """What it is called in the table."""
    arch: Annotated[Component, roles.NETWORK]
    """The network."""
    weights: Pretrained | None = None
    """Its weights: a path, or a mapping (see Global.pretrained). Where there is no such file it is left out, and the table says so.
    `null`: it has none."""
    set: dict[str, Any] = Field({})
    """What is other for it alone, by keys of `DataLoader.Eval` and `Metric`: `{DataLoader.Eval.dataset.scale: 3}`."""
    published: str = ""
    """What was published for it, and by which protocol, in words: stands beside its numbers."""


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
    transforms: Annotated[dict[str, Component], roles.TRANSFORM] = Field({})
    """What happens to each image: named steps, in order."""
    batch_transforms: Annotated[dict[str, Component], roles.BATCH_TRANSFORM] = Field({})
    """What happens to a whole batch, such as Mixup: named steps, in order."""
    batch_size: int = Field(ge=1)
    """Images an update, over all processes and accumulation steps."""
    num_workers: int = Field(0, ge=0)
    """Processes that read images, beside each training process; 0 reads in it."""
    repeats: int = Field(1, ge=1)
    """Copies of each training image in an epoch, augmented differently (repeated augmentation)."""
    unreadable: Literal["raise", "skip"] = "raise"
    """What to do about an image that cannot be read."""

    @field_validator("transforms", "batch_transforms", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError(
                "name the steps, a list has no names: {crop: {name: ppcore.data.CenterCrop, size: 224}, …}"
            )
        return value


class DataSection(Section):
    """Training and evaluation data; either may be absent where it is not used."""

    Train: LoaderSection | None = None
    """Data to train on."""
    Eval: LoaderSection | None = None
    """Data to evaluate on."""
    Beside: dict[str, LoaderSection] = Field({})
    """More training data, by names: each step has a batch of each beside that of `Train`, its arrays called `NAME.array`."""


class OptimizerSection(Section):
    """An optimiser of `ppcore.optim` and how updates are made."""

    model_config = ConfigDict(extra="allow")
    name: str
    """The optimizer; its own arguments stand beside the keys below."""
    lr: Annotated[Component, roles.SCHEDULE]
    """The learning rate as a function of the step."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay, as the optimizer understands it."""
    weight_decay_schedule: Annotated[Component | None, roles.SCHEDULE] = None
    """Weight decay as a function of the step, instead of one value (AdamW; `weight_decay` is then its first)."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Factor of the learning rate from each layer to the one before it (fine-tuning); `null`: one rate for all."""
    base_lr_factors: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    """Factors of `lr.base_lr` for parameters with these consecutive parts in their names: `{conv_offset.weight: 0.01}`. The rest of
    the schedule is that of all: its warm-up begins at the same rate, and its lowest rate is the same."""
    no_weight_decay: list[str] = Field([])
    """What decay leaves alone: `1d` (vectors and scalars), or a part between dots of a parameter's name, such as `bias`;
    one that names nothing is an error, unless it ends in `?`."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest global L2 norm of the gradients; `null`: no clipping."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches an update is computed in (less memory, the same update)."""

    @model_validator(mode="after")
    def _weights_decay_by_rule(self) -> "OptimizerSection":
        if self.no_weight_decay and not self.weight_decay:
            raise ValueError("no_weight_decay names rules but weight_decay is 0")
        return self

    @model_validator(mode="after")
    def _factors_have_a_base(self) -> "OptimizerSection":
        if self.base_lr_factors and not isinstance(self.lr.get("base_lr"), (int, float)):
            raise ValueError("base_lr_factors needs an lr with a base_lr")
        if self.base_lr_factors and self.layer_decay is not None:
            raise ValueError("base_lr_factors and layer_decay both say a parameter's rate: set one")
        return self

    def component(self) -> Component:
        """The optimiser and its own arguments."""
        return {"name": self.name, **(self.model_extra or {})}


def _one_or_several(value: Any) -> str:
    """Whether a value of `Optimizer` is one optimizer or several by name."""
    plain = isinstance(value, Mapping) and value and not {"name", "lr"} & value.keys()
    return "several" if plain and all(isinstance(item, Mapping) for item in value.values()) else "one"


Optimizers = Annotated[
    Annotated[OptimizerSection, Tag("one")] | Annotated[dict[str, OptimizerSection], Tag("several")],
    Discriminator(_one_or_several),
]


_TOP_K = {"name": "ppcore.metrics.TopK", "topk": [1, 5]}


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
    Task: Annotated[Component | None, roles.TASK] = None
    """What training does, when it is more than one network, one loss and one optimizer; `null`: that."""
    Optimizer: Annotated[Optimizers | None, roles.OPTIMIZER] = None
    """How it is minimised; a task with several optimizers names each: `Optimizer: {generator: {…}, critic: {…}}`."""
    DataLoader: DataSection = DataSection()
    """Data to train and to evaluate on."""
    Metric: Annotated[Component | list[Component], roles.METRIC] = Field(_TOP_K)
    """What evaluation measures: a metric or an evaluator, or a list of them, the primary one first."""
    Baselines: Annotated[list[Component], roles.NETWORK] = Field([])
    """Networks without weights that `tools/eval.py` evaluates beside `Arch`."""
    Networks: list[NetworkSection] = Field([])
    """Networks that `tools/eval.py` evaluates beside `Arch`, each with its weights."""
    EMA: EMASection | None = None
    """Moving average of the weights; `null`: there is none."""
    Infer: InferSection = InferSection()
    """What `tools/infer.py` reads and writes."""
    Export: ExportSection = ExportSection()
    """What `tools/export_model.py` writes."""
    _tree: dict[str, Any] = PrivateAttr(default_factory=dict)
    _paths: tuple[str, ...] = PrivateAttr(())

    def metrics(self) -> list[Component]:
        """The components of `Metric`, the primary one first."""
        return list(self.Metric) if isinstance(self.Metric, list) else [self.Metric]

    def optimizers(self) -> dict[str, OptimizerSection]:
        """The optimizers by name; a single one is called `model`."""
        if self.Optimizer is None:
            return {}
        return {"model": self.Optimizer} if isinstance(self.Optimizer, OptimizerSection) else dict(self.Optimizer)

    @property
    def accumulate(self) -> int:
        """Micro-batches of an update."""
        return max((section.accumulate for section in self.optimizers().values()), default=1)

    @model_validator(mode="after")
    def _accumulate_alike(self) -> "Config":
        if len({section.accumulate for section in self.optimizers().values()}) > 1:
            raise ValueError(
                "Optimizer: accumulate must be the same for all optimizers: they share their micro-batches"
            )
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The files this configuration was read from, as they were named."""
        return self._paths

    @property
    def tree(self) -> dict[str, Any]:
        """The resolved mapping this configuration was read from."""
        return self._tree

    def to_yaml(self, *, defaults: bool = False) -> str:
        """The resolved configuration, as saved in a run's folder; with `defaults` every key that was left out, too."""
        tree = with_defaults(self) if defaults else deepcopy(self.tree)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
