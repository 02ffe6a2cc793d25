"""The state of a training as named arrays: all networks, their optimisers by name, the moving average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer import Optimizer

from ppcore.ema import EMA
from ppcore.errors import CheckpointError

MODEL, EMA_FILE, NETWORKS, OPTIMIZERS = (f"{name}.safetensors" for name in ("weights", "ema", "networks", "optimizer"))
SEPARATOR = "|"  # between an optimiser's name, a parameter's and an accumulator's
_HALF = (paddle.float16, paddle.bfloat16)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds of a training, beside numbers such as the step.

    Attributes:
        model: the network that is evaluated and exported.
        networks: all that trains, or follows what trains; `model` among it, or the same.
        optimizers: Paddle's, by name.
        ema: the moving average of `model`, or None.
    """

    model: nn.Layer
    networks: nn.Layer
    optimizers: Mapping[str, Optimizer]
    ema: EMA | None = None

    def arrays(self) -> dict[str, Arrays]:
        """Named arrays by file; what is empty has no file."""
        found = {
            MODEL: {name: as_array(tensor) for name, tensor in self.model.state_dict().items()},
            NETWORKS: {name: as_array(tensor) for name, tensor in self._others().items()},
            OPTIMIZERS: self._optimizer_arrays(),
            EMA_FILE: {} if self.ema is None else {n: as_array(t) for n, t in self.ema.shadow.items()},
        }
        return {file: arrays for file, arrays in found.items() if arrays}

    def load(self, files: Mapping[str, Arrays], where: Any) -> None:
        """Inverse of `arrays`.

        Args:
            files: named arrays by file.
            where: what to call the checkpoint in messages.

        Raises:
            CheckpointError: they are another training's.
        """
        if (self.ema is not None) != (EMA_FILE in files):
            now, then = ("on", "was not") if self.ema else ("off", "was")
            raise CheckpointError(f"{where}: EMA is {now} in this run and {then} in the checkpoint's")
        # The weights themselves: a hook of the state may give copies.
        copy_into(self.model.state_dict(use_hook=False), files[MODEL], where)
        copy_into(self._others(), files.get(NETWORKS, {}), where)
        self._restore_optimizers(files.get(OPTIMIZERS, {}))
        if self.ema is not None:
            self.ema.shadow = {name: paddle.to_tensor(array) for name, array in files[EMA_FILE].items()}

    def masters(self) -> dict[str, paddle.Tensor]:
        """Float32 master weights by parameter name, under AMP O2."""
        kept = [getattr(optimizer, "_master_weights", None) or {} for optimizer in self.optimizers.values()]
        return {name: tensor for each in kept for name, tensor in each.items()}

    def _others(self) -> dict[str, paddle.Tensor]:
        """The tensors of `networks` that are not the model's."""
        own = {id(tensor) for tensor in self.model.state_dict(use_hook=False).values()}
        return {n: t for n, t in self.networks.state_dict(use_hook=False).items() if id(t) not in own}

    def _optimizer_arrays(self) -> Arrays:
        """Accumulators and master weights under structured names (`model|blocks.0.norm1.weight|moment1_0`).

        Paddle's own keys begin with counters such as `linear_12.w_0` that depend on what else the process has built.
        """
        structured = {p.name: name for name, p in self.networks.named_parameters()}
        arrays = {}
        for title, optimizer in self.optimizers.items():
            for key, value in optimizer.state_dict().items():
                if key == "master_weights":
                    slots = {f"{structured[n]}{SEPARATOR}master": t for n, t in value.items()}
                elif isinstance(value, paddle.Tensor):
                    owner = _owner(key, structured)
                    slots = {f"{structured[owner]}{SEPARATOR}{key[len(owner) + 1 :]}": value}
                else:
                    continue
                arrays |= {f"{title}{SEPARATOR}{slot}": as_array(tensor) for slot, tensor in slots.items()}
        return arrays

    def _restore_optimizers(self, arrays: Arrays) -> None:
        parameters = {name: p.name for name, p in self.networks.named_parameters()}
        masters = any(key.endswith(f"{SEPARATOR}master") for key in arrays)
        if arrays and masters != any(p.dtype in _HALF for p in self.networks.parameters()):
            saved, own = ("under AMP O2", "is not") if masters else ("without AMP O2", "is under it")
            raise CheckpointError(
                f"the checkpoint was saved {saved} and this run {own}: go on where AMP.level is the same"
            )
        states: dict[str, dict[str, Any]] = {title: {} for title in self.optimizers}
        for key, array in arrays.items():
            title, name, slot = key.split(SEPARATOR)
            if title not in states or name not in parameters:
                raise CheckpointError(
                    f"the checkpoint's optimiser state names '{title}' of '{name}', which this run does not have"
                )
            tensor = paddle.to_tensor(array)
            if slot == "master":
                # As Paddle names it: the accumulators of a half-precision weight are named after its master.
                tensor.name = f"{parameters[name]}_fp32_master_0"
                states[title].setdefault("master_weights", {})[parameters[name]] = tensor
            else:
                tensor.name = f"{parameters[name]}_{slot}"
                states[title][tensor.name] = tensor
        for title, optimizer in self.optimizers.items():
            optimizer.set_state_dict(states[title])


def as_array(tensor: paddle.Tensor) -> np.ndarray:
    """A tensor's values on the host; half precision is widened to float32, which is exact."""
    return (tensor.astype("float32") if tensor.dtype in _HALF else tensor).numpy()


@paddle.no_grad()
def copy_into(target: Mapping[str, paddle.Tensor], arrays: Arrays, where: Any) -> None:
    """Copies arrays into tensors of exactly these names and shapes.

    Raises:
        CheckpointError: they differ; names all that do.
    """
    wrong = [n for n in {*target, *arrays} if n not in target or n not in arrays]
    wrong += [n for n in target if n in arrays and tuple(target[n].shape) != arrays[n].shape]
    if wrong:
        raise CheckpointError(f"{where}: not this model's weights; they differ in {', '.join(sorted(wrong))}")
    for name, tensor in target.items():
        tensor.set_value(paddle.to_tensor(arrays[name]).astype(tensor.dtype))


def _owner(key: str, names: Mapping[str, str]) -> str:
    """The parameter whose name begins an accumulator's key; the longest, as names may nest."""
    found = max((name for name in names if key.startswith(f"{name}_")), key=len, default=None)
    if found is None:
        raise CheckpointError(f"the optimiser has an accumulator '{key}' of no parameter of this training")
    return found
