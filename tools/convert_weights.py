"""Converts somebody's weight file to ours; strict, and without running pickled code.

    python tools/convert_weights.py --arch ppvit.vit_base_patch16_224 --source timm --input vit.pth --output vit.safetensors
    python tools/convert_weights.py --arch ppvit.vit_base_patch16_384 --source google --input B_16.npz --output vit.safetensors \\
        -o num_classes=21843 act=gelu_tanh
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli


def main() -> None:
    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", required=True, help="builder, such as ppvit.vit_base_patch16_224")
    parser.add_argument("--source", required=True, help="layout of the input: timm, deit, google, big_vision, ...")
    parser.add_argument(
        "--input", required=True, metavar="FILE", help=".safetensors, .pdparams, .npz, .pt, .pth or .bin"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help=".safetensors, .pdparams or .npz")
    parser.add_argument("--layout", default="paddle", help="layout to write (default: ours)")
    parser.add_argument("--key", help="entry of a training checkpoint to take, such as model_ema")
    parser.add_argument("--new-head", action="store_true", help="leave out a classifier that does not fit")
    parser.add_argument("--pos-embed", help="interpolation of a position embedding of another grid")
    cli.add_overrides(parser, "key=value", "arguments of the builder")
    cli.add_allow(parser)
    arguments = parser.parse_args()
    from ppcore import config
    from ppcore.config import components, roles

    node = {"name": arguments.arch, **config.parse_overrides(arguments.override)}
    components.check(node, "--arch", roles.NETWORK)
    from ppcore import weights

    weights.check_output(arguments.output, arguments.input)
    model = components.build(node)
    weights.load(
        model, arguments.input, source=arguments.source, key=arguments.key,
        pos_embed=arguments.pos_embed, new_head=arguments.new_head,
    )  # fmt: skip
    weights.save(model, arguments.output, layout=arguments.layout)
    print(f"{arguments.input} ({arguments.source}) -> {arguments.output} ({arguments.layout})")


if __name__ == "__main__":
    cli.run(main)
