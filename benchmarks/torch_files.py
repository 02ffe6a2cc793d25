"""Classifying image files with torch, timm and Pillow, as one would write it: `python -m benchmarks.torch_files JOB`.

Worker processes decode, resize and cut, and hand over bytes; batches are normalised whole; inference mode, bf16 by autocast or
with weights in bfloat16. Written for speed: what our own tool is measured against.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.timm_alone import network


class Photographs(Dataset):
    """uint8 [crop, crop, 3] of every file: the shorter side resized, the middle cut out, as timm evaluates."""

    def __init__(self, files: list[Path], resize: int, crop: int):
        self.files, self.resize, self.crop = files, resize, crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.files[index]).convert("RGB")
        scale = self.resize / min(image.size)
        width, height = (max(int(side * scale), self.resize) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return torch.from_numpy(np.array(image.crop((left, top, left + self.crop, top + self.crop))))


def classify(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The five likeliest classes of every file.

    Args:
        job: `folder` of JPEGs and `limit`, `timm` and `weights_timm` (`timm_alone.network`), `precision`, `weights`, `batch`,
            `workers`, `threads`, and the preprocessing: `resize`, `crop`, `mean`, `std`.
    """
    torch.set_num_threads(job["threads"])
    files = sorted(Path(job["folder"]).glob("*.jpg"))[: job["limit"]]
    loader = DataLoader(
        Photographs(files, job["resize"], job["crop"]), batch_size=job["batch"], num_workers=job["workers"],
        prefetch_factor=4 if job["workers"] else None,
    )  # fmt: skip
    batches = iter(loader)  # the workers begin while the network is loaded
    model = network(job["timm"], job["weights_timm"])
    whole = job.get("weights") == "bf16"
    kind = torch.bfloat16 if whole else torch.float32
    if whole:
        model = model.bfloat16()
    scale, shift = (1 / (255 * torch.tensor(job["std"]))), torch.tensor(job["mean"]) / torch.tensor(job["std"])
    scale, shift = scale.view(1, 3, 1, 1), shift.view(1, 3, 1, 1)
    found: list[dict[str, Any]] = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, job["precision"] == "bf16" and not whole):
        for pixels in batches:
            x = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            logits = model(x.mul_(scale).sub_(shift).to(kind)).float()
            for values, classes in zip(*torch.topk(logits.softmax(-1), min(5, logits.shape[-1])), strict=True):
                name = files[len(found)].name
                found.append({"file": name, "classes": classes.tolist(), "probabilities": values.tolist()})
    return found


if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    Path(work["output"]).write_text(json.dumps(classify(work)))
