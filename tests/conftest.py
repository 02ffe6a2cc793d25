"""Shared by all tests: thread variables before Paddle, and where optional data is."""

import os

from ppcore import runtime

# Beside other processes of the tests (pytest-xdist) each has its share of the cores.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
runtime.configure(max(runtime.available_cores() // _PROCESSES, 1))

import atexit  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from functools import cache  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from warm_process import WarmProcess  # noqa: E402

# How long an example takes says nothing on a machine that others use.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
# What the tests compile does not stay on the machine.
if "PP_CACHE_DIR" not in os.environ:
    os.environ["PP_CACHE_DIR"] = tempfile.mkdtemp(prefix="ppcore-tests-")
    atexit.register(shutil.rmtree, os.environ["PP_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


def _optional(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable) or default)
    if not folder.is_dir():
        pytest.skip(f"{what} not found: set {variable} (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference inputs and outputs that are not part of the repository."""
    return _optional("PP_GOLDEN_DIR", ROOT.parent / "shared" / "golden", "golden data")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images that are not part of the repository."""
    return _optional("PP_DATA_DIR", ROOT.parent / "shared" / "data", "real data")


TINY_CONFIG = """
Global:
  output_dir: {output}
  duration: {{steps: 20}}
  eval_every: {{steps: 10}}
  save_every: {{steps: 5}}
  log_every: {{steps: 1}}
  visualdl: false
Arch:
  name: ppvit.VisionTransformer
  img_size: 8
  patch_size: 4
  embed_dim: 16
  depth: 2
  num_heads: 2
  num_classes: 10
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppcore.schedules.ViTSchedule, base_lr: 1e-3, warmup: {{steps: 2}}}}
  weight_decay: 0.05
  no_weight_decay: [1d, pos_embed, cls_token]
  clip_norm: 1.0
DataLoader:
  Train:
    dataset: {{name: ppcore.data.Digits, split: train}}
    transforms:
      crop: {{name: ppcore.data.RandomCrop, size: 8, padding: 1}}
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 32
  Eval:
    dataset: {{name: ppcore.data.Digits, split: test}}
    transforms:
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 100
"""


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    """A configuration that trains a 2-block ViT on the digits for 20 steps into tmp_path/run."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_CONFIG.format(output=tmp_path / "run"))
    return path


@cache
def _warm_process() -> WarmProcess:
    made = WarmProcess(ROOT)
    atexit.register(made.close)
    return made


def run_tool(name: str, *arguments: object, launch: int = 0, path: tuple = (), **kwargs) -> subprocess.CompletedProcess:
    """Runs tools/<name>.py as a user would (see `warm_process`); with `launch` processes through Paddle's launcher.

    `path` are folders to import from besides the repository.
    """
    if not launch and not kwargs.keys() - {"cwd"} and (warm := _warm_process()).suits():
        script = ROOT / "tools" / f"{name}.py"
        return warm.run(script, [*map(str, arguments)], [*map(str, path)], kwargs.get("cwd", ROOT))
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(launch)] if launch else []
    if launch:
        launcher += ["--log_dir", str(kwargs.pop("log_dir"))]
    command = [sys.executable, *launcher, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, path)])}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, cwd=kwargs.pop("cwd", ROOT), **kwargs
    )


@pytest.fixture
def tool():
    """`run_tool` as a fixture."""
    return run_tool


def run_python(code: str, folder: Path, given: str = "") -> str:
    """What Python code prints, run in a folder with `given` as its standard input."""
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


# Runs the Python programs of a page in one process: Paddle is imported once.
_LINES = """
import contextlib, io, json, runpy, shlex, subprocess, sys
from ppcore import runtime
runtime.configure()
runtime.configure = lambda *_: None  # done: it is for a process that has not imported Paddle
sys.path.insert(0, "tools")
said = []
for line in json.load(sys.stdin):
    python, *sys.argv = shlex.split(line)
    if python != "python":
        said.append(subprocess.run(line, shell=True, check=True, text=True, stdout=subprocess.PIPE).stdout)
        continue
    print(f"$ {line}", file=sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            assert not end.code, line
    said.append(out.getvalue())
json.dump(said, sys.stdout)
"""


def as_checkout(folder: Path) -> None:
    """Gives a folder what a checkout has, and two pictures of each of two classes as ImageNet."""
    import cv2
    import skimage.data

    for name in ("tools", "configs", "docs"):
        (folder / name).symlink_to(ROOT / name)
    for split in ("train", "val"):
        for name in ("coffee", "astronaut"):
            (folder / "data" / "imagenet" / split / name).mkdir(parents=True)
            picture = getattr(skimage.data, name)()[:, :, ::-1]
            for number in range(2):
                cv2.imwrite(str(folder / "data" / "imagenet" / split / name / f"{number}.png"), picture[:, number:])


def run_lines(lines: list[str], folder: Path) -> list[str]:
    """What each command of a page prints, run one after the other in a folder."""
    return json.loads(run_python(_LINES, folder, json.dumps(lines)).splitlines()[-1])  # Paddle prints, too
