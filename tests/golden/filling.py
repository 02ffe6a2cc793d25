"""Reads the golden folder: files, the rule that fills weights and inputs, and how gaps are measured.

The folder (PP_GOLDEN_DIR, or `shared/golden` beside the repository) holds outputs of the
reference implementations on seeded weights. The weights themselves are not stored: every
manifest lists names, shapes and a rule, and a checksum says whether they were rebuilt rightly.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(os.environ.get("PP_GOLDEN_DIR") or Path(__file__).parents[3] / "shared" / "golden")

_RULES = {
    "norm_weight": lambda z: 1 + np.float32(0.1) * z,
    "layerscale": lambda z: np.abs(np.float32(0.1) + np.float32(0.05) * z),
    "bias": lambda z: np.float32(0.02) * z,
    "token": lambda z: np.float32(0.02) * z,
    "fan_in": lambda z: z / np.float32(np.sqrt(np.prod(z.shape[1:]))),
    "prelu": lambda z: np.float32(0.25) + np.float32(0.05) * z,
    "running_mean": lambda z: np.float32(0.1) * z,
    "running_var": lambda z: np.abs(1 + np.float32(0.1) * z),
    "he": lambda z: np.float32(np.sqrt(2)) * z / np.float32(np.sqrt(np.prod(z.shape[1:]))),
}


def files(stem: str, *, slow: str = "") -> list:
    """Pytest parameters: the manifests `<stem>_s<seed>.json`, whatever the seed.

    `stem` is a regular expression; files matching `slow` carry that marker. Without the folder
    there is one parameter, skipped with the reason.
    """
    found = [p for p in sorted(FOLDER.glob("*.json")) if re.fullmatch(stem + r"_s\d+", p.stem)]
    if not found:
        reason = f"no golden file {stem}_s* in {FOLDER}: set PP_GOLDEN_DIR to the reference folder"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=f"{stem}-absent")]
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(path, id=path.stem, marks=marks[bool(slow and re.search(slow, path.stem))]) for path in found]


def load(path: Path) -> tuple[dict, Mapping[str, np.ndarray]]:
    """Returns (manifest, arrays) of a manifest path."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
        arrays = dict(archive)
    return json.loads(path.read_text()), arrays


def seed_of(path: Path) -> int:
    """The seed in the file's name."""
    return int(re.search(r"_s(\d+)$", path.stem)[1])


def weights(manifest: dict) -> dict[str, np.ndarray]:
    """Rebuilds the weights, float32 in torch layouts under the reference's names.

    One generator runs through the manifest's list in order; the sha256 of all bytes must match.
    """
    listed = manifest["weights"]
    rng, digest, state = np.random.default_rng(listed["seed"]), hashlib.sha256(), {}
    for key, shape, rule in listed["keys"]:
        z = rng.standard_normal(shape).astype(np.float32)
        state[key] = np.asarray(_RULES[rule](z), np.float32)
        digest.update(state[key].astype("<f4").tobytes())
    assert digest.hexdigest() == listed["sha256_of_concatenated_float32_le"], "weights rebuilt wrongly"
    return state


def images(seed: int, shape: tuple[int, ...], manifest: dict | None = None) -> np.ndarray:
    """Classifier inputs: standard normal from `default_rng(seed + 1000)`, checked where a sum is given."""
    x = np.random.default_rng(seed + 1000).standard_normal(shape).astype(np.float32)
    if manifest and "x_sum" in manifest:
        np.testing.assert_allclose(x.astype(np.float64).sum(), manifest["x_sum"], rtol=1e-6)
    return x


def gap(got: np.ndarray, want: np.ndarray) -> float:
    """max |got - want| / max |want|; infinite for other shapes or NaN."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return float("inf")
    worst = np.abs(got - want).max() / np.abs(want).max()
    return float(worst) if np.isfinite(worst) else float("inf")


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """max |got - want| / |want|, element by element; infinite for other shapes or NaN."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return float("inf")
    worst = (np.abs(got - want) / np.abs(want)).max()
    return float(worst) if np.isfinite(worst) else float("inf")


class Gaps:
    """Collects measured gaps with their bounds, so that one failure shows all of them."""

    def __init__(self):
        self.rows: list[tuple[str, float, float]] = []

    def add(self, name: str, measured: float, bound: float) -> None:
        self.rows.append((name, measured, bound))

    def check(self) -> None:
        """Fails naming every row beyond its bound."""
        assert self.rows
        beyond = [f"{name}: {gap:.2e} > {bound:.0e}" for name, gap, bound in self.rows if not gap <= bound]
        assert not beyond, "\n".join(beyond)
