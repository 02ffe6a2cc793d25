"""Between a model and other people's weights: names, storage layouts, position embeddings, classifiers.

A *source* (or, going out, a *layout*) is a naming and storing convention: `timm`, `google`, …
The conventions belong to the papers' packages; they are reached through the model, whose
`weight_maps()` returns `{source: WeightMap}`. `paddle`, the model's own names and Paddle's own
layouts, needs no map.

Loading is strict: every tensor of the model must be in the file, in its shape, and nothing else.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
from paddle import nn

from ppcore.errors import OutputError, WeightsError, nearest, reason
from ppcore.io import check_folder, write_atomically
from ppcore.layers.mlp import Mlp
from ppcore.model import traits
from ppcore.weights.description import Description, check_described, weight_file
from ppcore.weights.files import TORCH_SUFFIXES, Arrays, metadata, read, save_arrays
from ppcore.weights.fitting import fitting_of, say

log = logging.getLogger(__name__)

# How the notes of `load` begin that tell of a change in the weights themselves.
CHANGES = ("position embedding", "position bias", "head", "pre_logits", "fc_norm")
WRITTEN = (".safetensors", ".pdparams", ".npz")


@dataclass(frozen=True)
class WeightMap:
    """One naming convention, both ways.

    Attributes:
        to_paddle: `(arrays, model) -> arrays` with the model's names and layouts. What it does
            not know it passes through under its own name, so that loading can report it.
        from_paddle: `(state, model) -> arrays`, the inverse. Raises WeightsError for parameters
            the convention has no place for.
        pos_embed: how this source's own loader resamples position embeddings; None: the model's default.
        framework: `format` entry of the .safetensors files its users read.
        tanh_gelu: the weights were trained with the tanh approximation of GELU.
        heads: first parts of the names that make up the classifier.
        snippet: (file, `Arch`, model) -> Python that loads such a file in the framework it is from, for its card; or None.
        description: for a layout that is a folder, what its config.json says; None for a layout of single files.
    """

    to_paddle: Callable[[Arrays, nn.Layer], Arrays]
    from_paddle: Callable[[Arrays, nn.Layer], Arrays]
    pos_embed: str | None = None
    framework: Literal["pd", "pt", "np"] = "pd"
    tanh_gelu: bool = False
    heads: tuple[str, ...] = ("head", "head_dist", "pre_logits")
    snippet: Callable[[str, Mapping, nn.Layer], str | None] = lambda file, architecture, model: None
    description: Description | None = None


_PADDLE = WeightMap(lambda arrays, model: arrays, lambda state, model: state)


def load(
    model: nn.Layer,
    path: str | os.PathLike,
    source: str | None = None,
    *,
    key: str | None = None,
    pos_embed: str | None = None,
    new_head: bool | str = False,
) -> list[str]:
    """Loads a weight file into `model`.

    Args:
        path: .safetensors, .pdparams, .npz, .h5, .pt, .pth or .bin, or a folder with config.json; no code in it is run.
        source: convention of the file; None for one of our own (`save`).
        key: entry of a training checkpoint to take (`model_ema`, …).
        pos_embed: resampling of a position embedding of another grid, instead of the source's.
        new_head: leave out a classifier that does not fit, and the model keeps its fresh one; or a rule of the model's
            (`Fitting.heads`) that makes one of it.

    Returns:
        What was chosen and changed on the way, in words: the entry of the file, a position embedding resampled, a
        classifier left out.

    Raises:
        WeightsError: unreadable file, unknown or missing `source`, tensors that are missing, unexpected or misshapen (all
            of them in one message), or another network than the config.json beside the file describes.
        ConfigError: unknown `pos_embed` or rule.
    """
    path, notes = weight_file(Path(path)), []
    arrays = read(path, key, notes)
    _check_source(model, path, source)
    if (description := map_of(model, source or "paddle").description) is not None:
        check_described(model, description, path)
    try:
        state = convert(
            arrays, source=source or "paddle", model=model, pos_embed=pos_embed, new_head=new_head, notes=notes
        )  # fmt: skip
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    own = model.state_dict()
    model.set_state_dict({n: paddle.to_tensor(a).astype(own[n].dtype) for n, a in state.items()})
    return notes


def check_output(path: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """Says what would make `save` fail or destroy something, before the work is done.

    Args:
        path: what `save` is to write.
        inputs: files that are read; None is left out.

    Raises:
        WeightsError: unknown suffix.
        OutputError: there is no such folder, or the file is one of `inputs` (under whatever name) or part of
            a checkpoint.
    """
    path = Path(path)
    if path.suffix not in WRITTEN:
        raise WeightsError(f"{path}: weights are written as {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]}")
    try:
        check_folder(path)
        for file in (Path(file) for file in inputs if file is not None):
            if path.exists() and file.exists() and path.samefile(file):
                raise OutputError(f"{path} is the file that is read ({file}), and would be lost: choose another output")
        if path.exists() and path.resolve().with_name("state.json").is_file():
            raise OutputError(f"{path} is part of a checkpoint, and would be lost: choose another output")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error


def save(
    model: nn.Layer, path: str | os.PathLike, layout: str = "paddle", *, said: Mapping[str, str] | None = None
) -> None:
    """Writes the model's weights (float32) in `layout`, atomically, as .safetensors, .pdparams or .npz.

    `said` are further texts for the metadata of .safetensors, such as `Provenance.file_metadata()`.

    Raises:
        WeightsError: unknown suffix or layout, a parameter without a place.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    check_output(path)
    arrays = export(model, layout=layout)
    if path.suffix == ".pdparams":
        tensors = {name: paddle.to_tensor(array) for name, array in arrays.items()}
        write_atomically(path, lambda temp: paddle.save(tensors, str(temp)))
    else:
        # timm and transformers refuse a .safetensors file that does not say format "pt".
        framework = map_of(model, layout).framework
        save_arrays(path, arrays, {"format": framework, "layout": layout, "producer": "ppcore", **(said or {})})


def convert(
    arrays: Mapping[str, np.ndarray],
    *,
    source: str,
    model: nn.Layer,
    pos_embed: str | None = None,
    new_head: bool | str = False,
    notes: list[str] | None = None,
) -> Arrays:
    """Returns what `model.set_state_dict` takes, complete, from arrays in another convention.

    With `new_head` a classifier that does not fit is replaced by the model's own values, or by a rule; what is changed is
    added to `notes` in words. Arguments and errors as for `load`.
    """
    notes = [] if notes is None else notes
    fitting = fitting_of(model)
    fitting.check(pos_embed, new_head)
    weight_map, own = map_of(model, source), model.state_dict()
    state = weight_map.to_paddle(dict(arrays), model)
    state = fitting.resample(state, model, pos_embed or weight_map.pos_embed or fitting.default, notes)
    if isinstance(new_head, str):
        state = fitting.heads[new_head](state, model, notes)
    elif new_head:
        state = _with_own_heads(state, own, weight_map.heads, notes)
    _check_fit(state, own, model, weight_map.heads)
    if weight_map.tanh_gelu and any(isinstance(m, Mlp) and m.act == "gelu" for m in model.sublayers()):
        log.warning(
            "%s weights were trained with the tanh approximation of GELU, this model computes the "
            "exact one: logits differ by about 1e-3 (build it with act='gelu_tanh' to match)",
            source,
        )
    plain = {name: np.asarray(state[name]) for name in own}
    return {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in plain.items()}


def export(model: nn.Layer, *, layout: str) -> Arrays:
    """Returns the model's weights as float32 arrays in another convention: `convert`'s inverse.

    Raises:
        WeightsError: unknown layout, or a parameter the layout has no place for.
    """
    state = {
        # bfloat16 tensors come out of .numpy() as raw uint16
        name: (tensor.astype("float32") if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in model.state_dict().items()
    }
    return map_of(model, layout).from_paddle(state, model)


def map_of(model: nn.Layer, source: str) -> WeightMap:
    """The convention of that name, as the model knows it; `paddle` is its own.

    Raises:
        WeightsError: it knows no such convention.
    """
    maps = {"paddle": _PADDLE} | traits(model).weight_maps()
    if source not in maps:
        raise WeightsError(
            f"{type(model).__name__} has no weight layout {source!r}{nearest(source, maps)}: "
            f"choose from {', '.join(maps)}"
        )
    return maps[source]


def _check_source(model: nn.Layer, path: Path, source: str | None) -> None:
    """Square matrices fit transposed, too: a foreign file must never pass for one of ours."""
    stored = metadata(path)
    said, made_by = stored.get("layout"), stored.get("format")
    foreign = path.suffix in (".npz", ".h5", *TORCH_SUFFIXES) or made_by == "pt"
    if source is None and said not in (None, "paddle"):
        raise WeightsError(f"{path}: its layout is {said}: give source={said!r}")
    if source is None and said is None and foreign:
        names = ", ".join(traits(model).weight_maps())
        raise WeightsError(f"{path}: not one of our own files: say which layout it has, source={names}")
    if source is not None and said is not None:
        same = said == source or map_of(model, said).to_paddle is map_of(model, source).to_paddle
        if not same:
            raise WeightsError(f"{path}: its layout is {said}, not {source}")


def _part(name: str) -> str:
    return re.split(r"[./]", name, maxsplit=1)[0]


def _with_own_heads(
    state: Arrays, own: Mapping[str, paddle.Tensor], heads: tuple[str, ...], notes: list[str]
) -> Arrays:
    """`state` with the model's own values for every head of which some tensor is absent or misshapen."""
    for head in heads:
        names = [name for name in own if _part(name) == head]
        fits = all(name in state and state[name].shape == tuple(own[name].shape) for name in names)
        # A representation layer that is absent from the file is no matter of class count.
        if head != "pre_logits" and not fits:
            say(_left_out(head, names, state, own), notes)
            state = state | {name: own[name].astype("float32").numpy() for name in names}
    gone = sorted({_part(name) for name in state if name not in own and _part(name) in heads})
    notes += [f"{head}: left out, the model has none" for head in gone]
    return {name: array for name, array in state.items() if name in own or _part(name) not in heads}


def _left_out(head: str, names: list[str], state: Arrays, own: Mapping[str, paddle.Tensor]) -> str:
    """What is said of a head that the model keeps its own values for."""
    weight = next((name for name in names if own[name].ndim > 1), None)
    if weight is None:  # a norm before the classifier
        return f"{head}: not in the file, initialised afresh"
    had = f"{state[weight].shape[-1]} outputs in the file" if weight in state else "not in the file"
    return f"{head}: {had}, {own[weight].shape[-1]} outputs initialised afresh: it is to be trained"


def _check_fit(state: Arrays, own: Mapping[str, paddle.Tensor], model: nn.Layer, heads: tuple[str, ...]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    both = [name for name in shapes if name in state]
    wrong = {  # what is wrong -> name -> what to say of it
        "missing": {name: "" for name in shapes if name not in state},
        "unexpected": {name: "" for name in state if name not in shapes},
        "misshapen": {
            name: f" {state[name].shape} where the model has {shapes[name]}"
            for name in both
            if state[name].shape != shapes[name]
        },
    }
    names = [name for found in wrong.values() for name in found]
    if names:
        problems = [
            f"{what} {', '.join(n + say for n, say in found.items())}" for what, found in wrong.items() if found
        ]
        only_heads = all(_part(name) in heads for name in names)
        hint = " (new_head=True keeps the model's own classifier)" if only_heads else ""
        raise WeightsError(f"the weights do not fit {type(model).__name__}: {'; '.join(problems)}{hint}")
