"""What `tools/export_model.py` does: the export of the weights in use, an int8 form beside it, and its card."""

from pathlib import Path

from ppcore.config import Config, Pretrained
from ppcore.deploy import export_model, manifest, quantize
from ppcore.deploy.quantization import check_int8
from ppcore.deploy.replacing import check_replaceable, replacing
from ppcore.engine.export_facts import facts
from ppcore.engine.int8_images import images_of
from ppcore.engine.logger import setup_logging
from ppcore.engine.precision import say_float32
from ppcore.engine.run_provenance import provenance
from ppcore.engine.trained import load_model
from ppcore.weights import snippets
from ppcore.weights.card import write_card


def run(config: Config, weights: Pretrained | None = None) -> str:
    """Exports, and says what and where in one line.

    Args:
        config: the configuration; the section `Export` says what to write.
        weights: as for `ppcore.engine.trained.load_model`.

    Raises:
        ConfigError, DataError, OutputError, WeightsError: no weights, a folder with other files or an edited card, or an
            export that does not compute what the model does; nothing is written.
    """
    setup_logging()
    say_float32(config.AMP, "exported")
    wanted = config.Export
    folder = Path(wanted.output or Path(config.Global.output_dir) / "export")
    check_replaceable(folder)
    if wanted.int8 is not None:
        check_int8(wanted.formats)
    model, used = load_model(config, weights)
    images = None if wanted.int8 is None else images_of(config, wanted.int8)
    with replacing(folder) as temp:
        export_model(model, temp, wanted.formats, facts(config, model, used), in_graph=wanted.in_graph)
        if wanted.int8 is not None:
            quantize(temp, images, count=wanted.int8.count, compared=wanted.int8.compared)
        written = manifest.read(temp)
        stages = {stage.name: stage.inputs for stage in written.stages}
        loaders = snippets.of_export(folder.name, written.formats, stages, files=_takes_files(written))
        write_card(temp, provenance(config, used, model=model), loaders, title=folder.name)
    return f"{used} -> {folder} ({', '.join([*wanted.formats, *(['int8'] if wanted.int8 else [])])})"


def _takes_files(written: manifest.Manifest) -> str | None:
    """The call of the predictor's method that takes an image file, if it has one."""
    if written.padding is not None:
        return f"enhance('photo.jpg'{', scale=2' if written.enlarged_first else ''})"
    return None if written.model.preprocessing is None else "classify('photo.jpg')"
