"""What make would do, without doing it."""

import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
CU126 = "https://www.paddlepaddle.org.cn/packages/stable/cu126/"


def steps(root, *arguments: str) -> list[str]:
    """The commands of `make -n`, as if nothing were set up yet."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if k not in ("DEVICE", "PADDLE", "PADDLE_INDEX", "VENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "-W", "setup.py", *arguments, "PYTHON=python3"],
        cwd=root, env=kept, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_on_a_cpu_no_card_is_asked_for(root):
    found = steps(root, "reproduce")
    assert not any("gpu" in line for line in found)
    assert found[-1] == ".venv/bin/python tools/reproduce.py vit --device cpu"
    assert any('-c constraints/cpu.txt -e ".[cpu,test,deploy]"' in " ".join(line.split()) for line in found)


def test_on_a_gpu_the_card_is_looked_at_before_and_tried_after(root):
    found = steps(root, "reproduce", "DEVICE=gpu")
    order = [
        next(number for number, line in enumerate(found) if words in line)
        for words in ("gpu_setup.py wheel", "pip install", "gpu_setup.py kernels", "touch", "tools/reproduce.py vit")
    ]
    assert order == sorted(order)
    assert 'python3 tools/gpu_setup.py wheel --paddle "paddlepaddle-gpu==2.6.2" --index ""' in found
    assert any('constraints/paddle26.txt "paddlepaddle-gpu==2.6.2" -e ".[gpu,test]"' in line for line in found)
    assert found[-1] == ".venv-gpu/bin/python tools/reproduce.py vit --device gpu"


def test_another_wheel_has_its_index_constraints_and_environment(root):
    found = steps(
        root, "reproduce", "DEVICE=gpu", "PADDLE=paddlepaddle-gpu==3.3.1", f"PADDLE_INDEX={CU126}", "PAPER=deit"
    )
    assert f'python3 tools/gpu_setup.py wheel --paddle "paddlepaddle-gpu==3.3.1" --index "{CU126}"' in found
    [install] = [line for line in found if "pip install" in line]
    assert f'-c constraints/cpu.txt "paddlepaddle-gpu==3.3.1" --extra-index-url {CU126} -e ".[test]"' in install
    assert found[-1] == ".venv-gpu-3.3.1-cu126/bin/python tools/reproduce.py deit --device gpu"
    assert all(".venv-gpu/" not in line for line in found)
