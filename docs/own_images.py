"""Makes class folders to try docs/own_images.md with: crops of four photographs that come with the dependencies.

python docs/own_images.py images
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from ppcore.data import Photographs

CLASSES = {"chelsea": "cat", "coffee": "coffee", "flower": "flower", "motorcycle_left": "motorcycle"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=8, help="crops a class")
    parser.add_argument("--val", type=int, default=4, help="crops a class")
    arguments = parser.parse_args()
    photographs, rng = Photographs(split="all"), np.random.default_rng(0)
    for index in range(len(photographs)):
        sample = photographs.load(index)
        name = CLASSES.get(Path(sample["path"]).stem)
        for split in ("train", "val") if name else ():
            folder = arguments.folder / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(getattr(arguments, split)):
                height, width = (int(side * rng.uniform(0.6, 0.9)) for side in sample["image"].shape[:2])
                top = rng.integers(sample["image"].shape[0] - height)
                left = rng.integers(sample["image"].shape[1] - width)
                crop = sample["image"][top : top + height, left : left + width]
                cv2.imwrite(str(folder / f"{number:03d}.jpg"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    print(f"{arguments.folder}: {', '.join(sorted(CLASSES.values()))}")


if __name__ == "__main__":
    main()
