"""The tools' `--help` answers at once: nothing heavy is imported before the arguments are read."""

import re
import subprocess
import sys

import pytest

HEAVY = {"numpy", "cv2", "paddle", "omegaconf", "pydantic", "yaml", "matplotlib", "jinja2", "scipy", "rich", "tifffile"}
TOOLS = (
    "infer", "train", "eval", "export_model", "export_weights", "convert_weights", "compare", "reproduce", "benchmark",
    "gpu_setup",
)  # fmt: skip


@pytest.mark.parametrize("name", TOOLS)
def test_help_imports_nothing_heavy(root, name):
    command = [sys.executable, "-X", "importtime", root / "tools" / f"{name}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
    imported = re.findall(r"^import time:[^|]*\|[^|]*\| *(\S+)$", done.stderr, flags=re.MULTILINE)
    assert "argparse" in imported
    assert not HEAVY.intersection(imported)
