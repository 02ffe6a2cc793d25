"""What MAE's encoder is measured with: fine-tuning the whole, and a linear probe on frozen features.

Pre-trained weights come in by `Global.pretrained` with `source: mae` and `new_head: true`.
"""

from dataclasses import replace

from paddle import nn

from ppcore.layers import Linear, checks, init
from ppcore.weights import WeightMap
from ppcore.weights.layouts import TRANSPOSED, VECTOR, Table, load, store
from ppssl.probe_head import FeatureNorm
from ppvit.builders import BASE, HUGE, LARGE
from ppvit.vit import VisionTransformer
from ppvit.weights import TIMM


class FineTunedViT(VisionTransformer):
    """`ppvit.VisionTransformer` as MAE fine-tunes it: the mean of the patches, the norm behind it, a head that begins near zero.

    The position embedding is learned from here on.

    Args:
        **kwargs: those of `ppvit.VisionTransformer`.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"pool": "gap", "fc_norm": kwargs.get("pool", "gap") == "gap", **kwargs})

    def _build_heads(self) -> None:
        super()._build_heads()
        if self.num_classes and self.head.weight._is_initialized():
            init.reset(self.head.weight, init.TruncNormal(2e-5))


class LinearProbeViT(VisionTransformer):
    """A frozen `ppvit.VisionTransformer` whose features, normalised, a single trained layer classifies (MAE, appendix A.1).

    Args:
        **kwargs: those of `ppvit.VisionTransformer`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for name, parameter in self.named_parameters():
            parameter.stop_gradient = not name.startswith("head.1.")

    def _build_heads(self) -> None:
        if not self.num_classes:
            checks.fail(self, "num_classes", 0, "at least 1: a probe is its head")
        head = Linear(self.num_features, self.num_classes)
        if head.weight._is_initialized():
            init.reset(head.weight, init.TruncNormal(0.01))
        self.head = nn.Sequential(FeatureNorm(self.num_features), head)

    def weight_maps(self) -> dict[str, WeightMap]:
        """Layouts these weights can be read from and written to: `mae`, the official probe's, and the pre-training's by `new_head`."""
        maps = super().weight_maps()
        return {"mae": _probe_map(maps["mae"].to_paddle), "pretraining": replace(maps["pretraining"], heads=("head",))}


_HEAD: Table = [
    (r"(head\.0\.running_(?:mean|var)|head\.1\.bias)", "{0}", VECTOR),
    (r"(head\.1\.weight)", "{0}", TRANSPOSED),
]


def _probe_map(encoder) -> WeightMap:
    counts = "head.0.num_batches_tracked"  # torch's; its momentum is fixed, so nothing depends on it

    def to_paddle(arrays, model):
        head = {name: a for name, a in arrays.items() if name.startswith("head.") and name != counts}
        return encoder({n: a for n, a in arrays.items() if not n.startswith("head.")}, model) | load(_HEAD, head, model)

    return WeightMap(
        to_paddle,
        lambda state, model: store([*_HEAD, *TIMM], state, model, "mae"),
        pos_embed="deit_bicubic",
        framework="pt",
        heads=("head",),
    )


# Builders. Keyword arguments are those of the classes above.


def mae_finetune_vit_base_patch16(**kwargs) -> FineTunedViT:
    """ViT-B/16 as MAE fine-tunes it (table 9)."""
    return FineTunedViT(**{**BASE, "drop_path_rate": 0.1, **kwargs})


def mae_finetune_vit_large_patch16(**kwargs) -> FineTunedViT:
    """ViT-L/16 as MAE fine-tunes it (table 9; the commands of the released weights have drop path .2)."""
    return FineTunedViT(**{**LARGE, "drop_path_rate": 0.1, **kwargs})


def mae_finetune_vit_huge_patch14(**kwargs) -> FineTunedViT:
    """ViT-H/14 as MAE fine-tunes it (table 9; the commands of the released weights have drop path .3)."""
    return FineTunedViT(**{**HUGE, "patch_size": 14, "drop_path_rate": 0.2, **kwargs})


def mae_linprobe_vit_base_patch16(**kwargs) -> LinearProbeViT:
    """The linear probe of ViT-B/16."""
    return LinearProbeViT(**{**BASE, **kwargs})


def mae_linprobe_vit_large_patch16(**kwargs) -> LinearProbeViT:
    """The linear probe of ViT-L/16."""
    return LinearProbeViT(**{**LARGE, **kwargs})


def mae_linprobe_vit_huge_patch14(**kwargs) -> LinearProbeViT:
    """The linear probe of ViT-H/14."""
    return LinearProbeViT(**{**HUGE, "patch_size": 14, **kwargs})
