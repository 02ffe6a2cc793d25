"""The sections of a configuration that say how a trained network is run and exported."""

from typing import Literal

from pydantic import Field

from ppcore.config.section import Section
from ppcore.errors import ConfigError


class InferSection(Section):
    """What `tools/infer.py` reads and writes.

    Classifiers, and networks without classes, whose features are written: preprocessing is `DataLoader.Eval.transforms`. Networks
    that make images take photographs as they are.
    """

    input: str | list[str] | None = None
    """Files, folders or globs."""
    output: str | None = None
    """Folder to write to; `null`: `infer` in the run's."""
    batch_size: int = Field(8, ge=1)
    """Images at a time (but of networks that make images)."""
    topk: int = Field(5, ge=1)
    """Classes to name (classifiers)."""
    class_names: str | list[str] | None = None
    """Names of the classes: a file with one a line, or a list (classifiers)."""
    rollout: bool = False
    """Also write attention pictures (vision transformers)."""
    pictures: bool | dict[str, bool | int | float | str] | None = None
    """Also write a picture of each image, where a network without classes draws some (a masked autoencoder its reconstruction), by
    default; `false`: none; `true`, or arguments such as `{mask_ratio: 0.5}`: an error where there are none."""
    unreadable: Literal["raise", "skip"] = "skip"
    """What to do about an image that cannot be read."""
    scale: float | None = Field(None, ge=1, le=16)
    """How many times larger on each side photographs become (networks that enlarge). `null`: as many as the network enlarges;
    needed by one that is given photographs enlarged by bicubic interpolation, and works at any scale."""
    tile: int | None = Field(None, ge=1)
    """Rows finished at a time: less memory, the same result (networks that make images)."""
    engine: Literal["auto", "eager", "paddle", "onnxruntime", "openvino"] = "auto"
    """What computes on a CPU, for `tools/infer.py` and a classifier's `tools/eval.py`: the model itself (`eager`), or its export by an
    engine of `ppcore.deploy.Predictor`. `auto`: the fastest engine that is installed, where the images are so many that it pays to
    export; photographs by the engine that suits their sizes."""
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    """Precision of the engine; bf16 needs OpenVINO, int8 an export that has it (`tools/infer.py --export`)."""
    format: Literal["json", "jsonl", "csv"] = "json"
    """Of the file with the answers (classifiers): `predictions.json`, `.jsonl` or `.csv`."""
    quality: int = Field(95, ge=1, le=100)
    """Quality of JPEG and WebP files (networks that make images)."""

    def refuse_image_keys(self, network: str) -> None:
        """Raises ConfigError where a key is set that only networks have a use for that make images; `network` is its name."""
        self._refuse(f"{network} makes no images", "scale", "tile")

    def refuse_class_keys(self, network: str) -> None:
        """Raises ConfigError where a key is set that only classifiers have a use for; `network` is its name."""
        self._refuse(f"{network} has no classes", "topk", "class_names", "format")

    def _refuse(self, why: str, *keys: str) -> None:
        for key in keys:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ConfigError(f"Infer.{key}: {why}; leave it out")


class Int8Section(Section):
    """An int8 form beside the export: what calibrates it, and what it is compared with fp32 on."""

    images: str | list[str]
    """Folders, files or globs of images, prepared as for the evaluation; or `Train` or `Eval`, that data set of `DataLoader`."""
    count: int = Field(300, ge=1)
    """Images that calibrate, at most three quarters of all."""
    compared: int = Field(1000, ge=1)
    """Images, at most, that do not calibrate and on which int8 and fp32 are compared."""


class ExportSection(Section):
    """What `tools/export_model.py` writes, and what the cards of exported weights say of them."""

    output: str | None = None
    """Folder to write; `null`: `export` in the run's."""
    formats: list[Literal["paddle", "onnx"]] = Field(["paddle", "onnx"], min_length=1)
    """`paddle` (Paddle Inference) and `onnx` (needs the extra `deploy`)."""
    licence: str | None = None
    """Licence of the weights, for their card: `apache-2.0`, `other`, …; `null`: what their file says, else not stated."""
    origin: str | None = None
    """Where the weights come from, for their card: an address, a paper; `null` likewise."""
    in_graph: bool = False
    """Whether to write a graph of a classifier, too, that takes bytes [B, H, W, C] of the network's size and gives probabilities:
    `uint8.onnx`, for programs that have no code of ours."""
    int8: Int8Section | None = None
    """Writes an int8 form of a classifier, too (needs `onnx` and nncf, of the extra `deploy`)."""
