"""A model with its trained weights: those that are named, else the run's, else those to start from."""

from dataclasses import dataclass, replace
from pathlib import Path

import paddle.nn as nn

from ppcore.config import Config, Pretrained, components
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.model import traits
from ppcore.weights.checkpoints import Checkpoints, find_weights, read_state
from ppcore.weights.pretrained import load_pretrained


@dataclass(frozen=True)
class Used:
    """The weights in use; as text, their file (`none` for a model without weights).

    Attributes:
        file: the weight file.
        why: why it is the one, in words.
        classes: names of the classes it was trained on, if its run recorded them.
        notes: what was chosen in the file and changed when it was loaded, in words.
    """

    file: Path | None
    why: str
    classes: list[str] | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "none" if self.file is None else str(self.file)


def load_model(
    config: Config, weights: Pretrained | str | None = None, *, new_head: bool = False
) -> tuple[nn.Layer, Used]:
    """The model with its trained weights, and where they came from, which the log says.

    Args:
        config: the configuration.
        weights: which weights, and how to read them; text is a path. By default the best checkpoint of `Global.output_dir`, else its
            latest, else `Global.pretrained`. A model without weights takes none.
        new_head: leave out a classifier that does not fit, whatever names the weights.

    Raises:
        ConfigError: no weights are named and the run's folder holds none.
    """
    model = components.build(config.Arch)
    weights = Pretrained.model_validate(weights) if weights is not None else None
    if not traits(model).needs_weights:
        if weights is not None:
            raise ConfigError(f"{config.Arch['name']} has no weights: leave out --weights {weights.path}")
        return model, Used(None, "it has no weights")
    run_folder, prefix = Path(config.Global.output_dir), ""
    if weights is None and Checkpoints(run_folder).pointed("latest") is not None:
        weights = Pretrained(path=str(run_folder))
    if weights is None:
        weights, prefix = config.Global.pretrained, f"Global.pretrained, as {run_folder} holds no run; "
    if weights is None:
        raise ConfigError(
            f"no weights to use: {run_folder} has no checkpoint; "
            "train first, pass --weights FILE or set Global.pretrained.path"
        )
    if new_head:
        weights = weights.model_copy(update={"new_head": True})
    file, why = find_weights(weights.path)
    used = Used(file, prefix + why, _classes(file))
    log.info("weights %s (%s)", used, used.why)
    loaded = load_pretrained(model, weights)
    return model, replace(used, notes=loaded.notes)


def _classes(file: Path) -> list[str] | None:
    """The class names that a checkpoint's run recorded."""
    return read_state(file.parent).get("classes") if (file.parent / "state.json").is_file() else None
