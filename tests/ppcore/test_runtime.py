"""Thread variables are set before Paddle, and the user's own are kept."""

import json
import os
import subprocess
import sys

import pytest

from ppcore import runtime

VARIABLES = ["OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_DEBUG_CPU_TYPE", "FLAGS_use_stride_kernel"]
REPORT = f"import json, os; print(json.dumps({{k: os.environ.get(k) for k in {VARIABLES!r}}}))"


def environment(root, code: str, **given: str) -> dict:
    """The variables after `code` in a process that starts with only `given` of them."""
    kept = {k: v for k, v in os.environ.items() if k not in [*VARIABLES, "PADDLE_LOCAL_SIZE", "PADDLE_TRAINERS_NUM"]}
    done = subprocess.run(
        [sys.executable, "-c", f"from ppcore import runtime\n{code}\n{REPORT}"],
        env={**kept, "PYTHONPATH": str(root), **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_sets_what_is_not_set(root):
    got = environment(root, "runtime.configure()")
    assert got["OMP_NUM_THREADS"] == str(runtime.available_cores())
    assert got["OMP_WAIT_POLICY"] == "PASSIVE"
    assert got["MKL_DEBUG_CPU_TYPE"] == runtime.fast_mkl()
    assert got["FLAGS_use_stride_kernel"] == (None if runtime.has_nvidia_gpu() else "0")


def test_keeps_what_the_user_set(root):
    mine = dict(zip(VARIABLES, ["7", "ACTIVE", "4", "1"], strict=True))
    assert environment(root, "runtime.configure(threads=3)", **mine) == mine


def test_threads_are_an_argument_and_are_shared_among_processes(root):
    assert environment(root, "runtime.configure(threads=3)")["OMP_NUM_THREADS"] == "3"
    eight = "runtime.available_cores = lambda: 8\nruntime.configure()"
    assert environment(root, eight, PADDLE_LOCAL_SIZE="4")["OMP_NUM_THREADS"] == "2"
    assert environment(root, eight, PADDLE_TRAINERS_NUM="2")["OMP_NUM_THREADS"] == "4"
    assert environment(root, eight, PADDLE_LOCAL_SIZE="20")["OMP_NUM_THREADS"] == "1"


SKYLAKE = {"avx2", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("cpu", "flags", "want"),
    [
        ("AMD EPYC 7763", {"avx2"}, "5"),
        ("AMD EPYC 9654", SKYLAKE, "7"),
        ("AMD EPYC 9654", SKYLAKE - {"avx512vl"}, "5"),
        ("Intel(R) Xeon(R)", SKYLAKE, None),
    ],
)
def test_mkl_is_told_about_amd_only(root, cpu, flags, want):
    forget = "os.environ.pop('MKL_DEBUG_CPU_TYPE', None)"  # importing ppcore has asked the real processor
    got = environment(
        root,
        f"import os\n{forget}\nruntime.cpu_name = lambda: {cpu!r}\nruntime.cpu_flags = lambda: {flags!r}\nruntime.configure()",
    )
    assert got["MKL_DEBUG_CPU_TYPE"] == want


def test_importing_is_enough_for_mkl(root):
    assert environment(root, "")["MKL_DEBUG_CPU_TYPE"] == runtime.fast_mkl()
    assert environment(root, "", MKL_DEBUG_CPU_TYPE="")["MKL_DEBUG_CPU_TYPE"] == ""


@pytest.mark.parametrize("package", ["ppvit", "ppdeit"])
def test_a_papers_package_may_be_imported_first(root, package):
    """On Paddle 2.6.2 whoever imports Paddle before Python's zlib cannot read a compressed file."""
    code = f"import {package}, zlib\nassert zlib.decompress(zlib.compress(b'x' * 99999)) == b'x' * 99999"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=root, check=True, timeout=120)


@pytest.mark.parametrize(("gpu", "want"), [(True, None), (False, "0")])
def test_stride_kernels_stay_on_where_there_is_a_gpu(root, gpu, want):
    got = environment(root, f"runtime.has_nvidia_gpu = lambda: {gpu}\nruntime.configure()")
    assert got["FLAGS_use_stride_kernel"] == want


def test_too_late_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "paddle", sys)  # any module stands for it
    before = dict(os.environ)
    with pytest.raises(RuntimeError, match="before paddle is imported"):
        runtime.configure()
    assert dict(os.environ) == before


def test_what_it_says_about_the_machine():
    assert runtime.cpu_name()
    assert runtime.available_cores() >= 1


def imported(root, code: str, **given: str) -> str:
    """What importing Paddle says on standard error, in a process that finds no ccache."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, "PYTHONPATH": str(root), "PATH": "", **given},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stderr


def test_paddle_says_nothing_of_ccache(root):
    assert "ccache" not in imported(root, "from ppcore import runtime\nruntime.configure()\nimport paddle")


def test_nor_does_it_in_processes_that_are_started(root):
    child = "subprocess.run([sys.executable, '-c', 'import paddle'], check=True)"
    said = imported(root, f"import subprocess, sys\nfrom ppcore import runtime\nruntime.configure()\n{child}")
    assert "ccache" not in said


def test_the_users_own_warning_filters_stay(root):
    code = "from ppcore import runtime\nruntime.configure()\nruntime.silence_ccache()\nimport os, sys\n"
    said = imported(root, f"{code}print(os.environ['PYTHONWARNINGS'], file=sys.stderr)", PYTHONWARNINGS="default")
    assert said == "default,ignore:No ccache found:UserWarning\n"
