"""Lists what a configuration may name, with arguments, types and defaults.

    python tools/list.py models
    python tools/list.py transforms Normalize            (only names with this in them)
    python tools/list.py losses --allow mypackage        (of a package of your own, too)

models datasets transforms losses tasks optimizers schedules metrics: components, for `name:` in a configuration.
layouts: weight files, for `source`, `--source` and `--layout`.
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli
from ppcore.errors import ConfigError


def main() -> None:
    from ppcore.config import catalogue

    parser = cli.Parser(description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=(*catalogue.KINDS, "layouts"))
    parser.add_argument("part", nargs="?", default="", help="a part of the name, in any case")
    cli.add_allow(parser)
    arguments = parser.parse_args()
    part = arguments.part.lower()
    if arguments.kind == "layouts":
        lines = [
            f"{layout}\n    {', '.join(networks)}"
            for layout, networks in catalogue.layouts().items()
            if part in layout.lower()
        ]
    else:
        lines = [entry.text() for entry in catalogue.components_of(arguments.kind) if part in entry.name.lower()]
    if not lines:
        raise ConfigError(f"no {arguments.kind} have '{arguments.part}' in their name")
    print("\n\n".join(lines))


if __name__ == "__main__":
    cli.run(main)
