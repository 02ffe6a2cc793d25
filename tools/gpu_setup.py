"""Checks a GPU set-up: before installing, whether a wheel fits the cards; after it, whether the cards compute.

python tools/gpu_setup.py wheel --paddle paddlepaddle-gpu==2.6.2 --index ""     (needs nothing but Python)
python tools/gpu_setup.py kernels

`make reproduce DEVICE=gpu` runs both. `kernels` computes on every card what the CPU computes, too.

PyPI's wheel is Paddle 2.6.2 for CUDA 11.8, with kernels for compute capability 6.1 to 8.6 and no PTX to compile others
from (8.9 runs those for 8.6); it does not bring cuDNN. Paddle 3's are in PaddlePaddle's own index, by CUDA version, and
bring CUDA and cuDNN as packages. The least drivers are NVIDIA's (CUDA release notes) and PaddlePaddle's (installation).
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

INDEX = "https://www.paddlepaddle.org.cn/packages/stable/"
COMMAND = "make reproduce DEVICE=gpu"
TOLERANCE = 1e-2  # of the largest value: what TF32, float32's default on new cards, rounds to with room


class GpuError(Exception):
    """No card, no wheel for it, or a card that does not compute; one line."""


@dataclass(frozen=True)
class Card:
    """A card, its compute capability (None where the driver does not tell) and the driver's version."""

    name: str
    capability: tuple[int, int] | None
    driver: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {_dotted(self.capability)}, driver {self.driver})"


@dataclass(frozen=True)
class Wheel:
    """A wheel as pip takes it, its index (empty for PyPI), and the cards and drivers it is known to run on."""

    package: str
    index: str
    cuda: str
    lowest: tuple[int, int]
    highest: tuple[int, int]
    driver: str

    def runs_on(self, card: Card) -> bool:
        return self.lowest <= card.capability <= self.highest

    @property
    def command(self) -> str:
        return f"{COMMAND} PADDLE={self.package} PADDLE_INDEX={self.index}" if self.index else COMMAND

    def __str__(self) -> str:
        return f"{self.package} (CUDA {self.cuda})"


# In the order they are tried.
WHEELS = (
    Wheel("paddlepaddle-gpu==2.6.2", "", "11.8", (6, 1), (8, 9), "450.80.02"),
    Wheel("paddlepaddle-gpu==3.3.1", f"{INDEX}cu126/", "12.6", (7, 0), (9, 0), "550.54.14"),
    Wheel("paddlepaddle-gpu==3.3.1", f"{INDEX}cu129/", "12.9", (8, 0), (12, 9), "575.51.03"),
)
# Drivers before 510 do not tell the compute capability; newer cards than these need newer drivers.
_BY_NAME = (
    (r"A100|A800|A30\b", (8, 0)),
    (r"RTX 30\d\d|RTX A\d{4}|\bA(2|10|10G|16|40)\b", (8, 6)),
    (r"\bT4\b|RTX 20\d\d|GTX 16\d\d|Quadro RTX|TITAN RTX|\bT\d{3,4}\b", (7, 5)),
    (r"V100|TITAN V\b|GV100", (7, 0)),
    (r"GTX 10\d\d|TITAN X[pP]?\b|\bP(4|6|40|\d{3,4})\b(?<!P100)", (6, 1)),
    (r"P100|GP100", (6, 0)),
)


def cards() -> list[Card]:
    """The cards of this machine, as its driver names them.

    Raises:
        GpuError: there is no driver, it does not answer, or it sees no card.
    """
    if shutil.which("nvidia-smi") is None:
        raise GpuError(f"no NVIDIA driver here (nvidia-smi is not found); without a card: {COMMAND.rpartition(' ')[0]}")
    for fields in ("name,compute_cap,driver_version", "name,driver_version"):
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            raise GpuError("the NVIDIA driver does not answer: nvidia-smi has said nothing for 60 s") from None
        if "not a valid field" not in (text := f"{done.stdout}{done.stderr}"):
            break
    return parse(done.returncode, text)


def parse(status: int, text: str) -> list[Card]:
    """Reads what `nvidia-smi --query-gpu=name[,compute_cap],driver_version --format=csv,noheader` has said.

    Raises:
        GpuError: it failed, or names no card.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if status or not lines or "No devices were found" in text:
        raise GpuError(f"the NVIDIA driver sees no card: nvidia-smi says: {' '.join(lines) or 'nothing'}")
    found = []
    for line in lines:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) not in (2, 3):
            raise GpuError(f"nvidia-smi says something unexpected: {line}")
        told = re.fullmatch(r"(\d+)\.(\d+)", fields[1]) if len(fields) == 3 else None
        named = next((known for pattern, known in _BY_NAME if re.search(pattern, fields[0])), None)
        capability = (int(told[1]), int(told[2])) if told else named
        found.append(Card(fields[0], capability, fields[-1]))
    return found


def fitting(found: Sequence[Card], package: str, index: str) -> str:
    """Says in one line that a wheel runs on the cards; of a wheel that the user has chosen, also that it is not known to.

    Args:
        found: the cards.
        package: the wheel as pip takes it, such as paddlepaddle-gpu==2.6.2.
        index: where it is, empty for PyPI.

    Raises:
        GpuError: PyPI's wheel, which is the default, does not run here; with the command that installs one that does.
    """
    names = " and ".join(dict.fromkeys(map(str, found)))
    try:
        best = choose(found)
    except GpuError as error:
        if (package, index) == (WHEELS[0].package, WHEELS[0].index):
            raise
        return f"{error}; going on with {package}, as was asked"
    wheel = next((one for one in WHEELS if (one.package, one.index.rstrip("/")) == (package, index.rstrip("/"))), None)
    if wheel is None:
        return f"{names}: nothing is known of {package} from {index or 'PyPI'}; known to fit: {best.command}"
    if not all(map(wheel.runs_on, found)):
        why = f"is known to run on compute capability {_dotted(wheel.lowest)} to {_dotted(wheel.highest)} only"
    elif _older(found, wheel):
        why = f"needs driver {wheel.driver} or newer"
    else:
        return f"{names}: {wheel} fits"
    if wheel is WHEELS[0]:
        raise GpuError(f"{names}: {wheel} {why}; {best} fits: {best.command}")
    return f"{names}: {wheel} {why}; going on, as was asked; known to fit: {best.command}"


def choose(found: Sequence[Card]) -> Wheel:
    """The first wheel known to run on all of the cards with their driver.

    Raises:
        GpuError: a card is unknown or older than every wheel, they are too different, or the driver is too old.
    """
    ask = "name a wheel with PADDLE= and PADDLE_INDEX= to try it"
    for card in found:
        if card.capability is None:
            raise GpuError(f"{card}: the driver does not tell what the card can do; update it, or {ask}")
        if not any(wheel.runs_on(card) for wheel in WHEELS):
            raise GpuError(f"{card}: no wheel is known to have kernels for it; {ask}, or use the CPU")
    able = [wheel for wheel in WHEELS if all(map(wheel.runs_on, found))]
    names = " and ".join(dict.fromkeys(map(str, found)))
    if not able:
        raise GpuError(f"{names}: no one wheel is known to run on all of them; {ask}, on some of the cards")
    ready = [wheel for wheel in able if not _older(found, wheel)]
    if not ready:
        raise GpuError(f"{names}: {able[0]} needs driver {able[0].driver} or newer; update the driver")
    return ready[0]


def _older(found: Sequence[Card], wheel: Wheel) -> bool:
    needed, *installed = ([*map(int, re.findall(r"\d+", one.driver))] for one in (wheel, *found))
    return min(installed) < needed


def _dotted(capability: tuple[int, int] | None) -> str:
    return "unknown" if capability is None else ".".join(map(str, capability))


def try_kernels() -> str:
    """Multiplies and convolves on every card and on the CPU, and says how far apart the results are.

    In a process of its own, as a wrong wheel may crash it.

    Raises:
        GpuError: it failed, or the results differ.
    """
    done = subprocess.run([sys.executable, __file__, "compute"], capture_output=True, text=True)
    return judge(done.returncode, done.stdout, done.stderr)


def compute(devices: Sequence[str] | None = None) -> None:
    """Prints, for each device, the largest difference of a product and a convolution to the CPU's.

    Args:
        devices: as Paddle names them; by default all cards. The difference is a share of the largest value.
    """
    import numpy as np
    import paddle
    import paddle.nn.functional as F

    if devices is None:
        if not paddle.is_compiled_with_cuda():
            raise SystemExit(f"Paddle {paddle.__version__} is built without CUDA")
        devices = [f"gpu:{number}" for number in range(paddle.device.cuda.device_count())]
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype("float32")
    image = rng.standard_normal((4, 16, 56, 56)).astype("float32")
    kernel = rng.standard_normal((32, 16, 3, 3)).astype("float32")
    results = {}
    for device in ("cpu", *devices):
        paddle.set_device(device)
        product = paddle.matmul(paddle.to_tensor(a), paddle.to_tensor(b))
        convolved = F.conv2d(paddle.to_tensor(image), paddle.to_tensor(kernel), padding=1)
        results[device] = [product.numpy(), convolved.numpy()]
    for device in devices:
        pairs = zip(results[device], results["cpu"], strict=True)
        print(f"kernel {device} {max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in pairs):.1e}")


# What Paddle's complaints come down to.
_REASONS = (
    (r"built without CUDA", "{last}: the GPU wheel is not installed in this environment"),
    (
        r"(?i)libcudnn|cudnn shared library",
        "cuDNN is missing, which PyPI's wheel does not bring: install cuDNN 8.6 or newer for CUDA 11, or Paddle 3's wheel, "
        f"which brings its own: {WHEELS[1].command}",
    ),
    (
        r"Mismatched GPU Architecture|no kernel image is available|Unsupported GPU architecture",
        "the wheel has no kernels for this card",
    ),
    (r"(?i)driver version is insufficient", "the NVIDIA driver is too old for the wheel's CUDA"),
)


def judge(status: int, out: str, err: str) -> str:
    """Reads what `compute` has said and how it ended, see `try_kernels`."""
    lines = [line.strip() for line in f"{out}\n{err}".splitlines() if line.strip()]
    if status:
        last = lines[-1] if lines else "it said nothing"
        how = f"Paddle was ended by signal {-status}" if status < 0 else last
        reason = next((text for pattern, text in _REASONS if re.search(pattern, f"{out}\n{err}")), "{how}")
        raise GpuError(f"the GPU does not compute: {reason.format(last=last, how=how)}")
    found = dict(re.findall(r"^kernel (\S+) (\S+)$", out, flags=re.MULTILINE))
    if not found:
        raise GpuError(
            "the GPU does not compute: Paddle sees no card; is the NVIDIA driver there, CUDA_VISIBLE_DEVICES set?"
        )
    wrong = {device: error for device, error in found.items() if not float(error) <= TOLERANCE}
    if wrong:
        shares = ", ".join(f"{device} by {error}" for device, error in wrong.items())
        raise GpuError(f"the GPU computes something else than the CPU: {shares} of the largest value")
    shares = ", ".join(f"{device} {error}" for device, error in found.items())
    return f"a product and a convolution agree with the CPU's (largest difference: {shares})"


def check(package: str, index: str) -> str:
    """`fitting` for this machine; a package that is none of Paddle's GPU wheels is an error, too."""
    if "paddlepaddle" not in package:
        raise GpuError(f"PADDLE={package}: expected a requirement such as {WHEELS[0].package}")
    return fitting(cards(), package, index)


def _complain(message: str) -> NoReturn:
    raise GpuError(f"{message} (see {Path(__file__).name} --help)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wheel", "kernels", "compute"), help="compute: what kernels runs")
    parser.add_argument("--paddle", default=WHEELS[0].package, help="the wheel as pip takes it")
    parser.add_argument("--index", default="", help="where it is (default: PyPI)")
    parser.error = _complain
    arguments = parser.parse_args()
    if arguments.what == "compute":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from ppcore import runtime

        runtime.configure()
        compute()
    else:
        print(check(arguments.paddle, arguments.index) if arguments.what == "wheel" else try_kernels())


if __name__ == "__main__":
    try:
        main()
    except GpuError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
