"""Trains as a configuration says; resumes what its output folder holds.

python tools/train.py -c configs/quick/vit_digits.yaml
python -m paddle.distributed.launch --gpus 0,1,2,3 tools/train.py -c configs/vit/...
python -m paddle.distributed.launch --nproc_per_node 2 tools/train.py -c ... -o Global.device=cpu
"""

import environment  # noqa: F401  (says how to set up what is missing)

from ppcore import runtime
from ppcore.runtime import interrupts

interrupts.leave_at_once()
runtime.configure()

from ppcore import cli


def main() -> None:
    _, settings = cli.configured(cli.config_parser(__doc__))
    from ppcore.engine.train import train

    train(settings)


if __name__ == "__main__":
    cli.run(main)
