"""One distribution: the common library and the paper packages."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "ppcore" / "__init__.py").read_text()).group(1)
PACKAGES = find_packages(include=["pp*"])
PAPERS = sorted(name for name in PACKAGES if "." not in name and name != "ppcore")

setup(
    name="paddle-reproduction-suite",
    version=VERSION,
    description="ViT, DeiT and UHDFour on PaddlePaddle, proven to be the papers'",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=PACKAGES,
    # Packages whose public components a configuration may name; see ppcore/config/roles.py.
    entry_points={"ppcore.papers": [f"{name} = {name}" for name in PAPERS]},
    package_data={"ppcore.report": ["templates/*"]},
    install_requires=[
        "numpy>=1.24",
        "opencv-python>=4.5",
        "Pillow>=9.5",
        "tifffile>=2023.2",
        "imagecodecs>=2024.1",
        "filelock>=3.12",
        "PyYAML>=6.0",
        "omegaconf>=2.3",
        "pydantic>=2.7",
        "safetensors>=0.4",
        "visualdl>=2.5",
        "rich>=13",
        "Jinja2>=3.1",
        "MarkupSafe>=2.1",
        "matplotlib>=3.7",
        "scikit-learn>=1.3",
        "scikit-image>=0.22",
        "scipy>=1.10",
    ],
    extras_require={
        # Exactly one of cpu and gpu. The GPU wheel on PyPI is 2.6.2; 3.x GPU wheels come from Paddle's own index.
        "cpu": ["paddlepaddle>=2.6.2"],
        "cpu26": ["paddlepaddle==2.6.2", "numpy<2", "setuptools"],
        "gpu": ["paddlepaddle-gpu>=2.6.2", "numpy<2", "setuptools"],
        # paddleclas pins numpy 1.24.4, gast 0.3.3 and opencv <= 4.6: give it an environment of its own.
        "paddleclas": ["paddleclas==2.6.0"],
        # Exporting to ONNX needs Paddle 3 (paddle2onnx 2); running an export needs neither.
        "deploy": ["openvino>=2024.4", "onnxruntime>=1.17", "onnx>=1.16,<1.18", "paddle2onnx>=2.0", "nncf>=2.14"],
        # Reading Keras's .h5 weight files.
        "keras": ["h5py>=3.8"],
        "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6", "ruff>=0.6"],
        # Other torch versions pull gigabytes of CUDA packages.
        "reference": ["torch==2.13.0", "transformers>=4.44"],
    },
)
