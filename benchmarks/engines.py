"""Time and memory of enhancing a photograph: `ppcore.deploy.Predictor` by engine and precision, eager, a peer in torch.

Of a network that enlarges also the whole way of 8-bit colours (`photograph`), and OpenCV's own engine on our ONNX file
(`opencv`, a stand-in for its `dnn_superres`, which only opencv-contrib has).

Every contender and size has a process of its own; they take turns, so that what else the machine does
meets all alike. Seconds are those of a ready contender; `first` is the start, with loading and compiling.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks
from benchmarks.fresh_process import measured
from benchmarks.gemm import Machine
from benchmarks.turns import machine_facts, machine_lines, rotated, rounds, say, share, spread
from ppcore.config import components
from ppcore.errors import PPError
from ppcore.model import traits
from ppcore.photo.photo_form import PhotoForm, form_of

CONTENDERS = {
    "peer": ("torch", "fp32"),
    "peer-bf16": ("torch", "bf16"),
    "openvino": ("openvino", "fp32"),
    "openvino-bf16": ("openvino", "bf16"),
    "onnxruntime": ("onnxruntime", "fp32"),
    "paddle": ("paddle", "fp32"),
    "eager": ("eager", "fp32"),
    "opencv": ("opencv", "fp32"),
    "photograph": ("photograph", "fp32"),
}
ENLARGING = ("opencv", "photograph")  # only of networks that enlarge


def enhance(
    arch: str | Mapping[str, Any],
    *,
    contenders: Sequence[str] | None,
    sizes: Sequence[tuple[int, int]],
    number: int,
    threads: int,
    runs: int = 3,
    seconds: float | None = None,
    weights_file: str | None = None,
    peer: str | None = None,
    peer_python: str = sys.executable,
    photographs: Sequence[str] = (),
    scale: float | None = None,
) -> dict[str, Any]:
    """Measures.

    Args:
        arch: the model's builder, or with its arguments `{"name": …, …}`.
        contenders: of CONTENDERS; None: all that there are for such a network.
        sizes: (height, width) of photographs.
        number: of rounds, with a process for each; the median of their runs counts.
        threads: of everybody.
        runs: of a ready contender in its process, after the first one.
        seconds: for the rounds; see `turns.rounds`.
        weights_file: trained weights; None takes the model's initial ones.
        peer: a Python file with `Net`, which takes the arrays of the model's first layout; None leaves the peer out.
        peer_python: an interpreter that has torch.
        photographs: files on which bf16 is compared with fp32.
        scale: how many times larger, for a network that is given enlarged photographs.

    Returns:
        `machine`, `rows` (contender, size, seconds: median, lowest and highest; share of the machine's limit, first, peak bytes,
        difference to the first contender over its maximum; or contender and `reason`), `growth` (bytes a pixel) and `psnr` (photograph, dB).
    """
    node = {"name": arch} if isinstance(arch, str) else dict(arch)
    form, channels = _form(node, scale)
    contenders = _contenders(contenders, form, peer)
    with tempfile.TemporaryDirectory() as folder, Machine(threads) as machine:
        files, flops = _prepare(node, weights_file, Path(folder), contenders, sizes, form)
        base = {**files, "arch": node, "peer": peer, "threads": threads, "runs": runs, "scale": scale}
        found: dict[tuple[str, tuple[int, int]], list[dict]] = {}
        reasons: dict[str, str] = {}
        for turn in rounds(number, seconds, machine.measure):
            for size in sizes:
                job = {**base, "height": size[0], "width": size[1], "input": [1, channels, *_given(form, size)]}
                for name in rotated([name for name in contenders if name not in reasons], turn):
                    result = _measured(name, job, peer_python if CONTENDERS[name][0] == "torch" else sys.executable)
                    if isinstance(result, str):
                        reasons[name] = result
                    else:
                        found.setdefault((name, size), []).append(result)
        psnr = _psnr(Path(files["folder"]), photographs, threads) if photographs else []
        rows = _rows(found, flops, machine) + [
            {"contender": name, "precision": CONTENDERS[name][1], "reason": why} for name, why in reasons.items()
        ]
        facts = {"what": "enhance", "arch": arch if isinstance(arch, str) else json.dumps(node), "scale": form.scale}
        return facts | {
            "machine": machine_facts(machine.facts(), threads), "rows": rows, "growth": _growth(rows), "psnr": psnr,
        }  # fmt: skip


def _contenders(given: Sequence[str] | None, form: PhotoForm, peer: str | None) -> list[str]:
    """Those that were named, or all that there are for such a network; torch's where there is a peer."""
    known = benchmarks.chosen(given, CONTENDERS, "--contenders")
    fitting = [name for name in known if given or form.scale != 1 or name not in ENLARGING]
    return [name for name in fitting if peer or CONTENDERS[name][0] != "torch"]


def _given(form: PhotoForm, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what the network is given of a photograph."""
    return form.size(*size) if form.enlarged_first else size


def _form(node: Mapping[str, Any], scale: float | None) -> tuple[PhotoForm, int]:
    """How photographs go through the network, and its channels."""
    about = traits(components.build(node))
    form = form_of(
        node["name"], channels=about.in_chans, scale=about.scale, enlarged_first=about.enlarged_first, wanted=scale, key="--scale",
    )  # fmt: skip
    return form, about.in_chans


def _measured(name: str, job: dict[str, Any], python: str) -> dict[str, Any] | str:
    """A contender at one size in a process of its own; or why it failed."""
    engine, precision = CONTENDERS[name]
    try:
        result = measured(
            "benchmarks.enhance_contender", job | {"engine": engine, "precision": precision}, contender=name,
            threads=job["threads"], python=python,
        )  # fmt: skip
    except PPError as error:
        say(f"{name}: {error}")
        return str(error)
    told = result.get("missing") or f"{min(result['seconds']):.2f} s, {result['peak'] / 2**30:.2f} GiB"
    say(f"{name} {job['width']}x{job['height']}: {told}")
    return result


def _prepare(
    arch: Mapping[str, Any],
    weights_file: str | None,
    folder: Path,
    contenders: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    form: PhotoForm,
) -> tuple[dict[str, str], dict[tuple[int, int], float]]:
    """Writes the export, the weights for the eager model and for the peer; and FLOP by size."""
    import paddle

    from benchmarks.flops import image_flop
    from ppcore import weights
    from ppcore.deploy import export_model

    paddle.seed(0)
    model = components.build(arch)
    if weights_file:
        weights.load(model, weights_file)
    formats = {"onnx"} | ({"paddle"} if "paddle" in contenders else set())
    files = {"state": folder / "state.safetensors", "weights": folder / "peer.npz", "folder": folder / "export"}
    weights.save(model, files["state"])
    layout = next(iter(traits(model).weight_maps()), "paddle")
    np.savez(files["weights"], **weights.export(model, layout=layout))
    export_model(model, files["folder"], sorted(formats))
    flops = {size: image_flop(model, *_given(form, size)) for size in sizes}
    return {name: str(path) for name, path in files.items()}, flops


def _rows(
    found: dict[tuple[str, tuple[int, int]], list[dict]], flops: dict[tuple[int, int], float], machine: Machine
) -> list[dict[str, Any]]:
    rows, references = [], {}
    for (name, (height, width)), results in found.items():
        precision, flop = CONTENDERS[name][1], flops[height, width]
        row = {"contender": name, "precision": precision, "height": height, "width": width, "flop": flop}
        if "missing" in results[0]:
            rows.append(row | {"missing": results[0]["missing"]})
            continue
        difference = None
        if "sample" in results[0]:
            sample = np.array(results[0]["sample"])
            reference = references.setdefault((height, width), sample)
            difference = float(np.abs(sample - reference).max() / np.abs(reference).max())
        seconds = spread([s for result in results for s in result["seconds"]])
        rows.append(
            row
            | {
                "seconds": seconds["median"],
                "lowest": seconds["lowest"],
                "highest": seconds["highest"],
                "share": share(1 / seconds["median"], flop, machine.limit(precision)),
                "first": float(np.median([result["first"] for result in results])),
                "peak": max(result["peak"] for result in results),
                "difference": difference,
            }
        )
    return rows


def _growth(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Bytes of peak memory that a pixel adds, from the smallest to the largest size."""
    growth = {}
    for name in dict.fromkeys(row["contender"] for row in rows):
        points = sorted(
            (row["height"] * row["width"], row["peak"]) for row in rows if row["contender"] == name and "peak" in row
        )
        if len(points) > 1:
            growth[name] = (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
    return growth


def _psnr(folder: Path, photographs: Sequence[str], threads: int) -> list[dict[str, Any]]:
    """bf16 against fp32 on each photograph, unclamped, in dB for images in [0, 1]."""
    from ppcore.data import read_image
    from ppcore.deploy import Predictor
    from ppcore.metrics.psnr_ssim import psnr

    exact, short = (Predictor(folder, "openvino", precision, threads=threads) for precision in ("fp32", "bf16"))
    found = []
    for path in photographs:
        x = np.ascontiguousarray(read_image(path).transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        found.append({"photograph": Path(path).name, "psnr": psnr(short(x)[0], exact(x)[0])})
    return found


def table(result: dict[str, Any]) -> str:
    """The result as Markdown tables."""
    lines = [
        result["arch"] + (f", ×{result['scale']:g}" if result["scale"] != 1 else ""), *machine_lines(result["machine"]), "",
        "| size | contender | seconds | runs | of the limit | first, s | peak, GiB | over the peer | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    peers = {
        (r["height"], r["width"]): r["seconds"] for r in result["rows"] if r["contender"] == "peer" and "seconds" in r
    }
    for row in result["rows"]:
        if "reason" in row:
            lines.append(f"| | {row['contender']} | {row['reason']} | | | | | | |")
            continue
        size = f"{row['width']}×{row['height']}"
        if "missing" in row:
            lines.append(f"| {size} | {row['contender']} | {row['missing']} is not installed | | | | | | |")
            continue
        peer = peers.get((row["height"], row["width"]))
        ratio = f"{peer / row['seconds']:.2f}×" if peer else ""
        lines.append(
            f"| {size} | {row['contender']} | {row['seconds']:.2f} | {row['lowest']:.2f}–{row['highest']:.2f} "
            f"| {'' if row['share'] is None else format(row['share'], '.0%')} | {row['first']:.1f} "
            f"| {row['peak'] / 2**30:.2f} | {ratio} | {'' if row['difference'] is None else format(row['difference'], '.1e')} |"
        )
    lines += ["", *(f"{name}: {value:.0f} bytes a pixel" for name, value in result["growth"].items())]
    lines += [f"bf16 against fp32, {row['photograph']}: {row['psnr']:.1f} dB" for row in result["psnr"]]
    return "\n".join(lines)
