"""Converts somebody's weight file to ours, or to another layout; strict, and without running pickled code.

    python tools/convert_weights.py --arch ppvit.vit_base_patch16_224 --source timm --input vit.pth --output vit.safetensors
    python tools/convert_weights.py --arch ppvit.vit_base_patch16_384 --source google --input B_16.npz --output vit.safetensors \\
        -o num_classes=21843 act=gelu_tanh
    python tools/convert_weights.py --source transformers --input FOLDER --output vit.safetensors --num-classes 10 --image-size 384
    python tools/convert_weights.py --list

A folder with config.json says itself which network it is; anything else needs --arch. What was chosen in the file, and what was
changed on the way, is printed.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", help="builder, such as ppvit.vit_base_patch16_224")
    parser.add_argument("--source", required=True, help="layout of the input: timm, deit, google, big_vision, ...")
    parser.add_argument(
        "--input", required=True, metavar="PATH", help=".safetensors, .pdparams, .npz, .pt, .pth or .bin, or a folder"
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH", help=".safetensors, .pdparams or .npz; a folder for transformers"
    )
    parser.add_argument("--layout", default="paddle", help="layout to write (default: ours)")
    parser.add_argument("--key", help="entry of a training checkpoint to take, such as model_ema")
    parser.add_argument(
        "--new-head", nargs="?", const=True, default=False, metavar="RULE",
        help="leave out a classifier that does not fit, or make one of it by a rule of the model's",
    )  # fmt: skip
    parser.add_argument("--pos-embed", help="interpolation of position embeddings, or of biases, of another size")
    parser.add_argument("--licence", help="licence of the weights, which their file carries along: apache-2.0, ...")
    parser.add_argument("--origin", help="where the weights come from, likewise: an address, a paper")
    cli.add_layout_options(parser)
    cli.add_overrides(parser, "key=value", "arguments of the builder")
    cli.add_allow(parser)
    arguments = parser.parse_args()
    from ppcore import config
    from ppcore.weights import translation

    said = translation.Said(
        input=arguments.input, source=arguments.source, key=arguments.key, pos_embed=arguments.pos_embed,
        new_head=arguments.new_head or arguments.num_classes is not None,
        licence=arguments.licence, origin=arguments.origin,
    )  # fmt: skip
    changes = {**config.parse_overrides(arguments.override), **cli.sizes(arguments)}
    for note in translation.translate(said, arguments.arch, changes, arguments.output, arguments.layout):
        print(f"note: {note}")
    print(f"{arguments.input} ({arguments.source}) -> {arguments.output} ({arguments.layout})")


if __name__ == "__main__":
    cli.run(main)
