"""Running an exported model (`ppcore.deploy.export`) on a CPU: OpenVINO, onnxruntime or Paddle Inference.

Predictor(folder)(x)                                    arrays
Predictor(folder).classify("photo.jpg")                 files, as the evaluation of the model reads them
Predictor(folder).enhance("dark.jpg", "bright.jpg")
"""

import logging
import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ppcore.deploy import engine_choice, manifest, tiles
from ppcore.deploy.runtimes import Runtime
from ppcore.errors import ConfigError, DataError, OutputError

if TYPE_CHECKING:
    from ppcore.deploy.preprocessing import Preprocessing

log = logging.getLogger("ppcore")

Engine = Literal["auto", "paddle", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]


class Predictor:
    """An exported model, ready to run.

    `predictor(x)` takes and returns float32 arrays: x [B, C, H, W] -> logits, or images of the same
    size or, of a network that enlarges, of `scale` times it. Any B; any H and W >= 1 where the model takes any (the input is extended by reflection
    as the manifest says, the result cut back). `x` is not changed, and not read after the call. `classify` and `enhance`
    take image files. `describe()` says what runs it.

    Args:
        folder: written by `ppcore.deploy.export.export_model`; its files are compared with their sha256.
        engine: `auto` takes the fastest that is installed and has its format here.
        precision: `fp32`; `bf16` where engine and processor have it; `int8` for exports that have such a form.
        threads: None leaves it to the engine.
        tile: output pixels along the cut axis computed at a time, where the last stage can be cut; None
            chooses about a megapixel. What is global is computed on the whole image, so the result does not change.
        quiet: whether the log does not say what runs it.

    Raises:
        WeightsError: the folder holds no export, or a file is missing or damaged.
        ConfigError: an engine that is unknown, not installed or without its format here; a precision it
            does not have.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        engine: Engine = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        tile: int | None = None,
        *,
        quiet: bool = False,
    ):
        folder = Path(folder)
        self.manifest = manifest.read(folder)
        if tile is not None and tile < 1:
            raise ConfigError(f"tile: {tile}, but must be at least 1")
        if threads is not None and threads < 1:
            raise ConfigError(f"threads: {threads}, but must be at least 1")
        if precision not in ("fp32", "bf16", "int8"):
            raise ConfigError(f"precision: {precision!r}; choose fp32, bf16 or int8")
        if precision == "int8" and self.manifest.int8 is None:
            raise ConfigError(
                f"precision int8: this export of {self.manifest.arch} has no int8 form; {self._instead()}"
            )
        self.engine, why = engine_choice.for_export(engine, precision, self.manifest.formats, folder)
        self.precision, self.threads, self.tile = precision, threads, tile
        runtime = engine_choice.runtime(self.engine)
        manifest.check(folder, self.manifest, (manifest.INT8_SUFFIX,) if precision == "int8" else runtime.suffixes)
        self._runtime: Runtime = runtime(folder, self.manifest, precision, threads)
        if not quiet:
            log.info("%s (%s)", self.describe(), why)

    def _instead(self) -> str:
        """What to do where there is no int8 form."""
        if self.makes_images or len(self.manifest.stages) > 1:
            return "only classifiers of one stage can have one: use fp32 or bf16"
        return "write it with ppcore.deploy.quantize(folder, images), or use fp32 or bf16"

    @property
    def runs_on(self) -> str:
        """Engine, version and precision."""
        return f"{self._runtime.version()}, {self.precision}"

    @property
    def makes_images(self) -> bool:
        """Whether the results are images, and not logits."""
        return self.manifest.padding is not None

    def describe(self) -> str:
        """Engine with version, precision and threads, one line."""
        threads = self.threads or "the engine's choice"
        return f"{self.manifest.arch} on {self.runs_on}, threads: {threads}"

    @cached_property
    def preprocessing(self) -> "Preprocessing":
        """What makes the input of an image file, as the manifest says.

        Raises:
            ConfigError: it says nothing.
        """
        from ppcore.deploy.preprocessing import Preprocessing

        if self.makes_images:
            raise ConfigError(f"{self.manifest.arch} makes images: use enhance")
        return Preprocessing.of(self.manifest)

    def classify(self, images: Any, topk: int = 5) -> list:
        """The likeliest classes of an image, or of each of several.

        Args:
            images: a file's path, or uint8 [H, W, 3] RGB; or a list of these.
            topk: how many classes to name.

        Returns:
            `[{"class": number, "name": text or None, "probability": float}, …]`, the likeliest first; of a list, a list
            of these.

        Raises:
            ConfigError: the export is no classifier, or says nothing of preprocessing; `topk` is less than 1.
            DataError: an image cannot be read, or the logits are not finite.
        """
        from ppcore.deploy.preprocessing import best

        if topk < 1:
            raise ConfigError(f"topk: {topk}, but must be at least 1")
        several = isinstance(images, Sequence) and not isinstance(images, str)
        inputs = [self.preprocessing(image) for image in (images if several else [images])]
        if not inputs:
            return []
        found = [best(row, topk, self.manifest.model.classes) for row in self(np.stack(inputs))]
        return found if several else found[0]

    def enhance(
        self,
        photograph: str | os.PathLike | np.ndarray,
        output: str | os.PathLike | None = None,
        quality: int = 95,
        *,
        scale: float | None = None,
    ) -> np.ndarray:
        """What the network makes of a photograph.

        Args:
            photograph: a file's path, or uint8 or uint16 [H, W, 3] RGB.
            output: where to write it, in the format, bit depth and with the metadata of its file (an array: PNG); a new file whose
                suffix is that format's.
            quality: of JPEG and WebP, 1 to 100.
            scale: how many times larger on each side, for networks that are given photographs enlarged by bicubic interpolation;
                others know theirs.

        Returns:
            Pixels, upright, of the photograph's type and form, `scale` times as high and wide.

        Raises:
            ConfigError: the export makes no images, the scale is missing or not the network's, or the suffix of `output` is another format's.
            DataError: the photograph cannot be read, or the result not be written.
            OutputError: `output` is there.
        """
        if not self.makes_images:
            raise ConfigError(f"{self.manifest.arch} makes no images: use classify")
        from ppcore.photo.enhance import enhance
        from ppcore.photo.photo_io import FORMATS, encode_photograph, read_photograph, write_file
        from ppcore.photo.photograph import Photograph

        form = self.manifest.photo_form(scale)
        if isinstance(photograph, np.ndarray):
            if photograph.ndim != 3 or photograph.shape[2] != 3 or photograph.dtype not in (np.uint8, np.uint16):
                raise DataError(
                    f"enhance: takes uint8 or uint16 [H, W, 3], got {photograph.dtype} {list(photograph.shape)}"
                )
            source, name = Photograph(photograph, None, "PNG", metadata=b""), "the array"
        else:
            source, name = read_photograph(photograph), os.fspath(photograph)
        if output is not None and os.path.lexists(output):
            raise OutputError(f"cannot write {output}: it is there already; name a new file")
        if output is not None and Path(output).suffix.lower() not in (suffixes := FORMATS[source.format].suffixes):
            raise ConfigError(
                f"enhance: {name} gives {source.format}, so {output} must end with {' or '.join(suffixes)}"
            )
        result = enhance(self, source, name, form)
        if output is not None:
            write_file(output, encode_photograph(result, quality))
        return result.pixels

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs the model.

        Args:
            x: float32 [B, C, H, W].

        Returns:
            float32 logits [B, K], or images [B, C, H', W'].

        Raises:
            DataError: x has another form.
        """
        wanted = self.manifest.stages[0].inputs["x"]
        if not isinstance(x, np.ndarray) or x.ndim != 4 or x.dtype != np.float32 or 0 in x.shape:
            got = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__
            advice = (
                "; convert it with x.astype('float32')" if isinstance(x, np.ndarray) and x.dtype != np.float32 else ""
            )
            raise DataError(f"predictor: the input must be a float32 array [B, C, H, W], got {got}{advice}")
        if any(size is not None and size != given for size, given in zip(wanted, x.shape, strict=True)):
            form = [size or "any" for size in wanted]
            raise DataError(f"predictor: {self.manifest.arch} takes {form}, got {list(x.shape)}")
        if self.manifest.padding is None:
            return self._stages({"x": x})
        # One image at a time: memory does not grow with the batch, and sizes alone decide what is compiled.
        if len(x) == 1:
            return self._image(x)
        return np.concatenate([self._image(image[None]) for image in x])

    def _image(self, x: np.ndarray) -> np.ndarray:
        height, width = x.shape[2:]
        tall, wide = self.manifest.padding.size(height, width)
        scale = self.manifest.padding.scale
        if (tall, wide) != (height, width):
            x = np.pad(x, [(0, 0), (0, 0), (0, tall - height), (0, wide - width)], mode="reflect")
        return self._stages({"x": x})[:, :, : height * scale, : width * scale]

    def _stages(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """The last output, of inputs by name."""
        for stage in self.manifest.stages:
            inputs = {name: values[name] for name in stage.inputs}
            run = partial(self._runtime.run, stage.name)
            if self.manifest.tiles and stage.name == self.manifest.tiles.stage:
                found = [tiles.in_tiles(self.manifest.tiles, inputs, lambda tile, run=run: run(tile)[-1], self.tile)]
            else:
                found = run(inputs)
            values |= dict(zip(stage.outputs, found, strict=True))
        return values[self.manifest.stages[-1].outputs[-1]]
