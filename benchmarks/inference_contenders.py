"""One classifier in one implementation and precision: `python -m benchmarks.inference_contenders JOB`.

A contender is a function from images [B, 3, H, W] float32 to logits [B, K], made of a job:
`kind` and what it takes (benchmarks/infer.yaml), `threads`, and the files of `benchmarks.exported_models`. It imports
what it needs and no more. Requests: `{batch, do: "logits"}` and `{batch, do: "time", seconds}`.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.living_process import serve

Run = Callable[[np.ndarray], np.ndarray]


def images(batch: int, size: int) -> np.ndarray:
    """[batch, 3, size, size] float32, the same for everybody; of more images the first are those of fewer."""
    rng = np.random.default_rng(0)
    return np.stack([rng.standard_normal((3, size, size), np.float32) for _ in range(batch)])


def predictor(job: dict[str, Any]) -> Run:
    """`ppcore.deploy.Predictor` on the export; `engine` and `precision`."""
    from ppcore.deploy import Predictor

    return Predictor(job["export"], job["engine"], job["precision"], threads=job["threads"])


def eager(job: dict[str, Any]) -> Run:
    """Our network on Paddle."""
    _configure(job)
    from ppcore import weights
    from ppcore.config import components

    model = components.build(job["arch"])
    weights.load(model, job["state"])
    return _on_paddle(model)


def paddleclas(job: dict[str, Any]) -> Run:
    """A network of PaddleClas, on Paddle as we set it up (`paddleclas_alone.network`)."""
    _configure(job)
    from benchmarks import paddleclas_alone

    sizes = {"img_size": job["size"], "class_num": job["classes"]}
    return _on_paddle(paddleclas_alone.network(job["paddleclas"], sizes, job["weights_paddleclas"]))


def torch(job: dict[str, Any]) -> Run:
    """timm's network on torch.

    `precision` fp32, or bf16: by autocast, or `weights: bf16` in bfloat16 throughout. `compile`: by torch's compiler,
    for each batch size, with the weights frozen (packed for oneDNN), which is its fastest setting.
    """
    import torch as th

    from benchmarks.timm_alone import network

    th.set_num_threads(job["threads"])
    model = network(job["timm"], job["weights_timm"])
    whole = job.get("weights") == "bf16"
    if whole:
        model = model.bfloat16()
    if job.get("compile"):
        import torch._inductor.config as inductor

        inductor.freezing = True
        model = th.compile(model, dynamic=False)
    autocast = job["precision"] == "bf16" and not whole

    def run(x: np.ndarray) -> np.ndarray:
        with th.inference_mode() if not job.get("compile") else th.no_grad(), th.autocast("cpu", th.bfloat16, autocast):
            given = th.from_numpy(x)
            return model(given.bfloat16() if whole else given).float().numpy()

    return run


def transformers(job: dict[str, Any]) -> Run:
    """transformers' ViT with torch's fused attention; bf16 by autocast."""
    import torch as th
    from safetensors.numpy import save_file
    from transformers import ViTConfig, ViTForImageClassification

    th.set_num_threads(job["threads"])
    config = ViTConfig(
        image_size=job["size"], num_labels=job["classes"], layer_norm_eps=1e-6, attn_implementation="sdpa",
        **job["transformers"],
    )  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # from_pretrained alone knows the names that others' versions gave the tensors
        config.save_pretrained(folder)
        with np.load(job["weights_transformers"]) as arrays:
            save_file(dict(arrays), Path(folder) / "model.safetensors", metadata={"format": "pt"})
        model, told = ViTForImageClassification.from_pretrained(folder, output_loading_info=True)
    if told["missing_keys"] or told["unexpected_keys"]:
        raise ValueError(f"weights do not fit: {told}")
    model.eval()

    def run(x: np.ndarray) -> np.ndarray:
        with th.inference_mode(), th.autocast("cpu", th.bfloat16, job["precision"] == "bf16"):
            return model(pixel_values=th.from_numpy(x)).logits.float().numpy()

    return run


def openvino(job: dict[str, Any]) -> Run:
    """OpenVINO fed timm's own ONNX, compiled for each batch size: its fastest setting."""
    import openvino as ov

    core, requests = ov.Core(), {}
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[job["precision"]], "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": job["threads"],
    }  # fmt: skip

    def run(x: np.ndarray) -> np.ndarray:
        if x.shape not in requests:
            model = core.read_model(job["onnx"])
            model.reshape(list(x.shape))
            requests[x.shape] = core.compile_model(model, "CPU", options).create_infer_request()
        request = requests[x.shape]
        request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        request.infer()
        return request.get_output_tensor().data.copy()

    return run


def onnxruntime(job: dict[str, Any]) -> Run:
    """onnxruntime fed timm's own ONNX."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    session = ort.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _configure(job: dict[str, Any]) -> None:
    from ppcore import runtime

    runtime.configure(job["threads"])


def _on_paddle(model: Any) -> Run:
    import paddle

    model.eval()

    @paddle.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        return model(paddle.to_tensor(x)).numpy()

    return run


KINDS: dict[str, Callable[[dict[str, Any]], Run]] = {
    "predictor": predictor, "eager": eager, "paddleclas": paddleclas, "torch": torch, "transformers": transformers,
    "openvino": openvino, "onnxruntime": onnxruntime,
}  # fmt: skip


def timed(run: Run, x: np.ndarray, seconds: float) -> list[float]:
    """Seconds of each call, as many as fit into `seconds`: two at least, one of a contender that takes longer than that.

    One call before, which does not count, brings code and weights back into the caches.
    """
    begin = time.perf_counter()
    run(x)
    least = 1 if time.perf_counter() - begin > seconds else 2
    found, end = [], time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < end:
        begin = time.perf_counter()
        run(x)
        found.append(time.perf_counter() - begin)
    return found


def prepare(job: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Makes the contender; answers are `seconds` and `logits` of a first call, or `seconds` of each call."""
    run = KINDS[job["kind"]](job)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        x = images(request["batch"], job["size"])
        if request["do"] == "time":
            return {"seconds": timed(run, x, request["seconds"])}
        begin = time.perf_counter()
        logits = run(x)
        return {"seconds": time.perf_counter() - begin, "logits": np.asarray(logits, np.float64).tolist()}

    return answer


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(prepare)
