"""DeiT and DeiT III against numbers of the reference implementations (timm 1.0.31, the official code's losses)."""

import json

import comparing
import filling
import numpy as np
import paddle
import pytest

import ppdeit
from ppcore import losses
from ppcore.data import Mixup, mix_targets
from ppcore.data.transforms.mixup import cutmix_box, mix_images

HEAVY = "large|base|medium"  # a minute together on two cores
TOKENS = 2e-5  # of the largest value


@pytest.mark.parametrize("path", filling.files(r"cls_deit\w+", slow=HEAVY))
def test_classifier(path):
    comparing.classifier(path, getattr(ppdeit, json.loads(path.read_text())["model"]), TOKENS)


@pytest.mark.parametrize("path", filling.files("tiny_distilled"))
def test_tiny_distilled_every_tensor(path):
    comparing.every_tensor(path, lambda m: ppdeit.DistilledVisionTransformer(**comparing.tiny_config(m)))


@pytest.mark.parametrize("path", filling.files("tiny_deit3"))
def test_tiny_deit3_every_tensor(path):
    def build(manifest):
        assert manifest["config"]["no_embed_class"]
        start = manifest["config"]["init_values"]
        return ppdeit.DeiT3(**comparing.tiny_config(manifest), layer_scale_init=start)

    comparing.every_tensor(path, build)


@pytest.mark.parametrize("path", filling.files("targets_losses"))
class TestTargetsAndLosses:
    """Every array of the file, within 1e-6."""

    def test_targets_and_losses(self, path):
        _, a = filling.load(path)
        labels, logits = a["labels"], paddle.to_tensor(a["logits"])
        compared = 0
        for name in (n for n in a if n.startswith("target_lam")):
            setting = name.removeprefix("target_")
            lam, smoothing = (float(part) for part in setting.removeprefix("lam").split("_smooth"))
            target = mix_targets(labels, 10, lam, smoothing)
            np.testing.assert_allclose(target, a[name], rtol=0, atol=1e-6, err_msg=name)
            batch = {"target": paddle.to_tensor(target)}
            for loss, want in (
                (losses.CrossEntropy(), f"softce_{setting}"),
                (losses.BinaryCrossEntropy(binarize=False), f"bce_soft_{setting}"),
                (losses.BinaryCrossEntropy(), f"bce_gt0_{setting}"),
            ):
                if smoothing and loss.__dict__.get("binarize"):
                    with pytest.raises(losses.ConfigError, match="label_smoothing"):
                        loss(logits, batch)  # every class would be a positive: refused, not computed
                    continue
                np.testing.assert_allclose(float(loss(logits, batch)), a[want].item(), rtol=0, atol=1e-6, err_msg=want)
                compared += 1
        assert compared == 15

    def test_cross_entropies(self, path):
        _, a = filling.load(path)
        batch = {"label": paddle.to_tensor(a["labels"])}
        for smoothing, name in ((0.1, "label_smoothing_ce_0.1"), (0.1, "torch_ce_label_smoothing_0.1"), (0.0, "ce")):
            got = float(losses.CrossEntropy(label_smoothing=smoothing)(paddle.to_tensor(a["logits"]), batch))
            np.testing.assert_allclose(got, a[name].item(), rtol=0, atol=1e-6, err_msg=name)

    def test_distillation(self, path):
        _, a = filling.load(path)
        student, teacher = paddle.to_tensor(a["kd_student"]), paddle.to_tensor(a["kd_teacher"])
        for tau in (1.0, 3.0):
            for kl in ("batchmean", "numel"):
                got = float(ppdeit.soft_distillation(student, teacher, tau, kl))
                np.testing.assert_allclose(got, a[f"kd_soft_T{tau}_{kl}"].item(), rtol=0, atol=1e-6)
        got = float(ppdeit.hard_distillation(student, teacher))
        np.testing.assert_allclose(got, a["kd_hard"].item(), rtol=0, atol=1e-6)

    def test_images(self, path):
        _, a = filling.load(path)
        np.testing.assert_allclose(mix_images(a["x"], 0.3), a["mixup_images_lam0.3"], rtol=0, atol=1e-6)
        height, width = a["x"].shape[-2:]
        for lam, cy, cx, yl, yh, xl, xh, corrected in a["cutmix_bbox"]:
            box = cutmix_box(height, width, lam, int(cy), int(cx))
            assert box == (yl, yh, xl, xh)
            kept = 1 - (box[1] - box[0]) * (box[3] - box[2]) / (height * width)
            np.testing.assert_allclose(kept, corrected, rtol=0, atol=1e-6)

    def test_cutmix_images(self, path):
        _, a = filling.load(path)
        lam, cy, cx = a["cutmix_bbox"][0, :3]

        class Drawn:
            """A generator that answers with the file's draws."""

            def __init__(self):
                self.centre = [int(cy), int(cx)]

            def random(self):
                return 0.0

            def beta(self, *_):
                return lam

            def integers(self, *_):
                return self.centre.pop(0)

        mixed = Mixup(num_classes=10, mixup_alpha=0.0)({"image": a["x"], "label": a["labels"]}, Drawn())
        np.testing.assert_allclose(mixed["image"], a["cutmix_images_row0"], rtol=0, atol=1e-6)
        want = mix_targets(a["labels"], 10, a["cutmix_bbox"][0, 7], 0.1)
        np.testing.assert_allclose(mixed["target"], want, rtol=0, atol=1e-6)
