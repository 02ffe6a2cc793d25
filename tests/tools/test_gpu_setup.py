"""Which GPU wheel fits which cards, by what nvidia-smi prints for them; nothing here runs on a card."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
try:
    import gpu_setup
    from gpu_setup import WHEELS, GpuError, choose, fitting, judge, parse
finally:
    del sys.path[0]

V100 = "Tesla V100-SXM2-16GB, 7.0, 535.183.01"
T4 = "Tesla T4, 7.5, 550.54.15"
A100 = "NVIDIA A100-SXM4-80GB, 8.0, 550.90.07"
RTX4090 = "NVIDIA GeForce RTX 4090, 8.9, 550.54.14"
H100 = "NVIDIA H100 80GB HBM3, 9.0, 550.90.07"
B200 = "NVIDIA B200, 10.0, 575.57.08"
RTX5090 = "NVIDIA GeForce RTX 5090, 12.0, 575.64"
PYPI, CU126, CU129 = WHEELS
NO_FIELD = 'Field "compute_cap" is not a valid field to query.\n'
DEAD = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)


def cards(*lines: str) -> list:
    return parse(0, "".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "wheel"),
    [
        ((V100,), PYPI),
        ((T4,), PYPI),
        ((A100,) * 8, PYPI),
        ((RTX4090,), PYPI),
        ((H100,), CU126),
        ((B200,), CU129),
        ((RTX5090,), CU129),
        ((V100, A100), PYPI),
        ((A100, H100), CU126),
        ((RTX4090.replace("550.54.14", "575.64"), RTX5090), CU129),
        ((H100.replace("550.90.07", "575.64"), RTX5090), CU129),
    ],
)
def test_the_wheel_for_a_card(lines, wheel):
    assert choose(cards(*lines)) is wheel


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("Tesla P100-PCIE-16GB, 6.0, 535.183.01",), "no wheel is known to have kernels for it"),
        (("NVIDIA Some Card, 13.0, 600.10",), "no wheel is known to have kernels for it"),
        ((V100, B200), "no one wheel is known to run on all of them"),
        ((H100.replace("550.90.07", "535.183.01"),), "(CUDA 12.6) needs driver 550.54.14 or newer; update the driver"),
        (("Tesla V100-SXM2-16GB, 7.0, 440.33.01",), "(CUDA 11.8) needs driver 450.80.02 or newer"),
        (("NVIDIA Odd Card, [N/A], 470.82.01",), "the driver does not tell what the card can do; update it"),
    ],
)
def test_cards_without_a_wheel(lines, words):
    with pytest.raises(GpuError) as error:
        choose(cards(*lines))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("Tesla V100-SXM2-16GB", (7, 0)),
        ("Tesla T4", (7, 5)),
        ("GeForce RTX 2080 Ti", (7, 5)),
        ("A100-SXM4-40GB", (8, 0)),
        ("NVIDIA A10", (8, 6)),
        ("GeForce RTX 3090", (8, 6)),
        ("GeForce GTX 1080 Ti", (6, 1)),
        ("Tesla P40", (6, 1)),
        ("Tesla P100-PCIE-16GB", (6, 0)),
        ("Tesla K80", None),
    ],
)
def test_a_driver_that_does_not_tell_the_capability(name, capability):
    [card] = parse(0, f"{name}, 470.82.01\n")
    assert (card.name, card.capability, card.driver) == (name, capability, "470.82.01")


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (9, DEAD, "couldn't communicate with the NVIDIA driver"),
        (6, "No devices were found\n", "No devices were found"),
        (0, "No devices were found\n", "No devices were found"),
        (0, "", "nothing"),
        (0, "Fri Nov 28\n", "something unexpected: Fri Nov 28"),
    ],
)
def test_no_card(status, text, words):
    with pytest.raises(GpuError) as error:
        parse(status, text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


class TestFitting:
    def test_the_default_where_it_runs(self):
        said = fitting(cards(A100, A100), PYPI.package, "")
        assert said == (
            "NVIDIA A100-SXM4-80GB (compute capability 8.0, driver 550.90.07): paddlepaddle-gpu==2.6.2 (CUDA 11.8) fits"
        )

    @pytest.mark.parametrize(("line", "folder"), [(H100, "cu126"), (B200, "cu129"), (RTX5090, "cu129")])
    def test_the_default_where_it_does_not(self, line, folder):
        with pytest.raises(GpuError) as error:
            fitting(cards(line), PYPI.package, "")
        command = (
            "make reproduce DEVICE=gpu PADDLE=paddlepaddle-gpu==3.3.1 "
            f"PADDLE_INDEX=https://www.paddlepaddle.org.cn/packages/stable/{folder}/"
        )
        assert str(error.value).endswith(command)
        assert "\n" not in str(error.value)

    def test_the_users_choice_where_it_runs(self):
        assert fitting(cards(H100), CU126.package, CU126.index.rstrip("/")).endswith("(CUDA 12.6) fits")

    @pytest.mark.parametrize(
        ("line", "package", "index", "words"),
        [
            (RTX5090, CU126.package, CU126.index, "to 9.0 only; going on, as was asked"),
            (A100.replace("550.90.07", "535.104.05"), CU126.package, CU126.index, "needs driver 550.54.14 or newer"),
            (H100, "paddlepaddle-gpu==4.0.0", "https://example.org/", "nothing is known of paddlepaddle-gpu==4.0.0"),
            ("NVIDIA New, 13.0, 600.1", CU129.package, CU129.index, "going on with paddlepaddle-gpu==3.3.1"),
        ],
    )
    def test_the_users_choice_is_theirs(self, line, package, index, words):
        said = fitting(cards(line), package, index)
        assert words in said
        assert "\n" not in said

    def test_something_else_than_paddle(self):
        with pytest.raises(GpuError, match="PADDLE=torch"):
            gpu_setup.check("torch", "")


class TestKernels:
    def test_they_agree(self):
        said = judge(
            0, "kernel gpu:0 3.1e-04\nkernel gpu:1 2.9e-04\n", "W gpu_resources.cc:119] Please NOTE: device: 0\n"
        )
        assert said.endswith("(largest difference: gpu:0 3.1e-04, gpu:1 2.9e-04)")

    @pytest.mark.parametrize(
        ("status", "out", "err", "words"),
        [
            (1, "", "Traceback\nRuntimeError: (PreconditionNotMet) The third-party dynamic library (libcudnn.so) that "
                    "Paddle depends on is not configured correctly.\n", "cuDNN is missing"),
            (1, "", "Mismatched GPU Architecture: The installed PaddlePaddle package was compiled for 60 61 70 75 80 86 "
                    ",but your current GPU is 120\nRuntimeError: Unsupported GPU architecture\n", "no kernels for this"),
            (-6, "", "CUDA error(209), no kernel image is available for execution on the device.\n", "no kernels for this"),
            (-11, "", "", "Paddle was ended by signal 11"),
            (1, "", "OSError: (External) CUDA error(35), CUDA driver version is insufficient for CUDA runtime version.\n",
             "driver is too old"),
            (1, "", "ImportError: libcublas.so.11: cannot open shared object file\n", "libcublas.so.11"),
            (0, "", "", "Paddle sees no card"),
            (0, "kernel gpu:0 nan\n", "", "something else than the CPU: gpu:0 by nan"),
            (0, "kernel gpu:0 1.0e-04\nkernel gpu:1 8.1e-01\n", "", "something else than the CPU: gpu:1 by 8.1e-01"),
        ],
    )  # fmt: skip
    def test_they_do_not(self, status, out, err, words):
        with pytest.raises(GpuError) as error:
            judge(status, out, err)
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    def test_the_comparison_itself(self, capsys):
        gpu_setup.compute(["cpu"])
        assert judge(0, capsys.readouterr().out, "").endswith("cpu 0.0e+00)")


def tool(root, folder: Path, *arguments: str, smi: str | None = None) -> subprocess.CompletedProcess:
    """Runs tools/gpu_setup.py without any package, on a machine whose nvidia-smi is this shell script."""
    if smi is not None:
        script = folder / "nvidia-smi"
        script.write_text(f"#!/bin/sh\n{smi}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return subprocess.run(
        [sys.executable, "-S", str(root / "tools" / "gpu_setup.py"), *arguments],
        env={"PATH": f"{folder}{os.pathsep}/bin" if smi else str(folder)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


class TestTool:
    def test_before_anything_is_installed(self, root, tmp_path):
        done = tool(root, tmp_path, "wheel", smi=f"echo '{A100}'")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("paddlepaddle-gpu==2.6.2 (CUDA 11.8) fits\n")

    def test_a_card_that_needs_another_wheel_stops_make(self, root, tmp_path):
        done = tool(root, tmp_path, "wheel", smi=f"echo '{H100}'")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: NVIDIA H100 80GB HBM3 (compute capability 9.0")
        assert done.stderr.count("\n") == 1

    def test_an_old_driver_is_asked_again(self, root, tmp_path):
        smi = f"case \"$1\" in *compute_cap*) echo '{NO_FIELD.strip()}'; exit 2;; esac; echo 'Tesla V100-SXM2-16GB, 470.82.01'"
        done = tool(root, tmp_path, "wheel", smi=smi)
        assert done.stdout.startswith("Tesla V100-SXM2-16GB (compute capability 7.0, driver 470.82.01)")

    def test_without_a_driver(self, root, tmp_path):
        done = tool(root, tmp_path, "wheel")
        assert done.returncode == 2
        assert done.stderr == "error: no NVIDIA driver here (nvidia-smi is not found); without a card: make reproduce\n"

    def test_a_paddle_without_cuda_is_named(self, root):
        paddle = pytest.importorskip("paddle")
        if paddle.is_compiled_with_cuda():
            pytest.skip("this Paddle is built with CUDA")
        with pytest.raises(GpuError, match="is built without CUDA: the GPU wheel is not installed"):
            gpu_setup.try_kernels()
