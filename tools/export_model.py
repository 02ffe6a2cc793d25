"""Writes a trained model's inference files, which `ppcore.deploy.Predictor` and other runtimes read.

    python tools/export_model.py -c FILE
    python tools/export_model.py -c FILE --weights FILE -o Export.output=folder -o "Export.formats=[paddle,onnx]"

Formats: paddle (Paddle Inference) and onnx (needs the extra `deploy`). The default folder is export in the
run's. The folder stands by itself: preprocessing (`DataLoader.Eval.transforms`), class names and where the weights come
from are in its manifest.json, and each format has been compared with the model. Weights as in tools/eval.py.

    python tools/infer.py --export FOLDER photo.jpg

With `-o Export.int8.images=FOLDER` an int8 form is made, too: calibrated on some of these images, and compared with fp32
on others.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from pathlib import Path

from ppcore import cli


def main() -> None:
    parser = cli.config_parser(__doc__)
    cli.add_weights_options(parser)
    arguments, settings = cli.configured(parser)
    from ppcore.deploy import export_model, quantize
    from ppcore.engine.export_facts import facts
    from ppcore.engine.int8_images import images_of
    from ppcore.engine.logger import setup_logging
    from ppcore.engine.precision import say_float32
    from ppcore.engine.trained import load_model

    setup_logging()
    say_float32(settings.AMP, "exported")
    model, used = load_model(settings, cli.named_weights(arguments))
    folder = Path(settings.Export.output or Path(settings.Global.output_dir) / "export")
    wanted = settings.Export
    export_model(model, folder, wanted.formats, facts(settings, model, used), in_graph=wanted.in_graph)
    if wanted.int8 is not None:
        quantize(folder, images_of(settings, wanted.int8), count=wanted.int8.count, compared=wanted.int8.compared)
    print(f"{used} -> {folder} ({', '.join([*wanted.formats, *(['int8'] if wanted.int8 else [])])})")


if __name__ == "__main__":
    cli.run(main)
