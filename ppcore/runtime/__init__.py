"""Process settings that must be in the environment before Paddle is imported.

Entry points (tools, tests) call `configure()` first. A variable the user has set is kept.
"""

import ctypes
import os
import platform
import sys
import warnings
from pathlib import Path


def cpu_name() -> str:
    """The processor's model name, or the platform's word for it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is visible (Paddle itself decides whether it can use it)."""
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists()


def cpu_flags() -> frozenset[str]:
    """What the processor can do, in Linux's words; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def fast_mkl() -> str | None:
    """The `MKL_DEBUG_CPU_TYPE` that is fastest here; None leaves the choice to MKL.

    The MKL inside Paddle's wheels takes its slowest path on processors that are not Intel's. 5 is its path for AVX2: a
    3152×192×576 product runs at 17 GFLOP/s without and 80 with it on a 2-core AVX2 EPYC, and a DeiT-Ti-sized ViT trains at
    9.5 images/s instead of 3.3. 7 is that of AVX-512, for what Skylake has of it: on one core of an AVX-512 EPYC a
    2048×2048×2048 product runs at 49 GFLOP/s without, at 130 with 5 and at 255 with 7 (Paddle 3.3.1 and 2.6.2), and a
    training step of Swin-T (batch 8) takes 5.8, 2.8 and 1.75 s.
    """
    if "AMD" not in cpu_name():
        return None
    return "7" if {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= cpu_flags() else "5"


def use_fast_mkl() -> None:
    """Sets `MKL_DEBUG_CPU_TYPE` as `fast_mkl` says, unless the variable is set already.

    MKL reads it at its first product, so importing `ppcore` (or a paper's package) is early enough, also after Paddle.
    """
    found = fast_mkl()
    if found is not None:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", found)


def keep_freed_memory() -> None:
    """Has glibc keep what Paddle frees for what it asks for next; elsewhere nothing. `MALLOC_…_` variables are kept.

    Blocks of many megabytes, which each operator asks for and frees, are otherwise given back to the system and fetched
    again, page by page. Measured with one thread on a busy machine: a training step of 15 convolutions (64 channels, crop 128) takes 2.4 s
    instead of 5.0, a 600x400 image 5.0 s instead of 18, and the process grows to 2.0 GB instead of 1.5. OpenVINO's runtime
    sets its own limits where it starts.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # a C library of another make has none
    if mallopt is not None:
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of <malloc.h>
            mallopt(parameter, 2**31 - 1)


def silence_ccache() -> None:
    """Silences Paddle 3's advice, at import, to install ccache: nothing is compiled here.

    In this process, and through `PYTHONWARNINGS` in those it starts (the launcher imports Paddle before any code of ours).
    """
    message = "No ccache found"
    warnings.filterwarnings("ignore", message=message, category=UserWarning)
    given = [one for one in os.environ.get("PYTHONWARNINGS", "").split(",") if one]
    if (own := f"ignore:{message}:UserWarning") not in given:
        os.environ["PYTHONWARNINGS"] = ",".join([*given, own])


def allow_tf32(allowed: bool) -> None:
    """Lets float32 products and convolutions on a GPU round their inputs to TF32 (10 bits of 23), or forbids it.

    NVIDIA's libraries obey `NVIDIA_TF32_OVERRIDE=0` whatever Paddle asks of them; they read it when Paddle first
    uses a GPU, so call this before. Paddle's own switches, which 2.6 starts with both on, are set beside it.
    """
    if allowed:
        os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    else:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    if "paddle" in sys.modules:
        core = sys.modules["paddle"].base.core
        for library in ("cublas", "cudnn"):
            switch = getattr(core, f"set_{library}_switch", None)  # a build without CUDA may have none
            if switch is not None:
                switch(allowed)


def tf32_allowed() -> bool:
    """Whether a GPU may use TF32 for float32 products in this process."""
    return os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"


def configure(threads: int | None = None) -> None:
    """Sets the thread and kernel variables Paddle reads when it is imported.

    - `OMP_NUM_THREADS`: Paddle starts with one thread; use this process's share of the cores.
    - `OMP_WAIT_POLICY=PASSIVE`: spinning OpenMP threads slow their neighbours.
    - `MKL_DEBUG_CPU_TYPE` on AMD: see `fast_mkl`.
    - `FLAGS_use_stride_kernel=0` without a GPU: on CPU a transposed view is copied by a generic
      strided loop that costs more than the product it feeds (attention of PaddleClas's ViT,
      forward and backward, 183 ms with views and 55 ms without).
    - glibc's allocator: see `keep_freed_memory`.
    - `PYTHONWARNINGS`: see `silence_ccache`.
    - `NVIDIA_TF32_OVERRIDE=0`: float32 on a GPU is float32; see `allow_tf32`.

    Args:
        threads: OpenMP threads of this process; by default its share of the cores.

    Raises:
        RuntimeError: Paddle has been imported already.
    """
    if "paddle" in sys.modules:
        raise RuntimeError("ppcore.runtime.configure() must run before paddle is imported")
    processes = int(os.environ.get("PADDLE_LOCAL_SIZE") or os.environ.get("PADDLE_TRAINERS_NUM") or 1)
    share = threads or max(available_cores() // processes, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    use_fast_mkl()
    keep_freed_memory()
    silence_ccache()
    if not has_nvidia_gpu():
        os.environ.setdefault("FLAGS_use_stride_kernel", "0")
