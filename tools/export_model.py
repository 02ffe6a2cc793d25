"""Writes a trained model's inference files, which `ppcore.deploy.Predictor` and other runtimes read.

    python tools/export_model.py -c FILE
    python tools/export_model.py -c FILE --weights FILE -o Export.output=folder -o "Export.formats=[paddle,onnx]"

Formats: paddle (Paddle Inference) and onnx (needs the extra `deploy`). The default folder is export in the
run's. The folder stands by itself: preprocessing (`DataLoader.Eval.transforms`), class names and where the weights come
from are in its manifest.json and on its card (README.md), and each format has been compared with the model. Weights as in tools/eval.py.

    python tools/infer.py --export FOLDER photo.jpg

With `-o Export.int8.images=FOLDER` an int8 form is made, too: calibrated on some of these images, and compared with fp32
on others.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli


def main() -> None:
    parser = cli.config_parser(__doc__)
    cli.add_weights_options(parser)
    arguments, settings = cli.configured(parser)
    from ppcore.engine import export_run

    print(export_run.run(settings, cli.named_weights(arguments)))


if __name__ == "__main__":
    cli.run(main)
