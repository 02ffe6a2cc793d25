"""The reference: Hugging Face's ViTForImageClassification in torch, with our names for its tensors.

Nothing here imports our packages. Needs `torch` and `transformers` >= 5.
"""

import numpy as np
import torch
from transformers import ViTConfig, ViTForImageClassification

# timm's name -> theirs; several of theirs are stacked along the out axis. {i} is the block.
NAMES = {
    "cls_token": ["vit.embeddings.cls_token"],
    "pos_embed": ["vit.embeddings.position_embeddings"],
    "patch_embed.proj": ["vit.embeddings.patch_embeddings.projection"],
    "blocks.{i}.norm1": ["vit.layers.{i}.layernorm_before"],
    "blocks.{i}.attn.qkv": [f"vit.layers.{{i}}.attention.{part}_proj" for part in "qkv"],
    "blocks.{i}.attn.proj": ["vit.layers.{i}.attention.o_proj"],
    "blocks.{i}.norm2": ["vit.layers.{i}.layernorm_after"],
    "blocks.{i}.mlp.fc1": ["vit.layers.{i}.mlp.fc1"],
    "blocks.{i}.mlp.fc2": ["vit.layers.{i}.mlp.fc2"],
    "norm": ["vit.layernorm"],
    "head": ["classifier"],
}


def build(
    *, img_size: int, patch_size: int, in_chans: int, num_classes: int, embed_dim: int, depth: int,
    num_heads: int, mlp_dim: int, qkv_bias: bool = True, act: str = "gelu", norm_eps: float = 1e-6,
    classifier: type = ViTForImageClassification, settings: type = ViTConfig,
):  # fmt: skip
    """The torch model of these sizes, in float32 and evaluation mode. `act`: gelu, gelu_tanh or relu."""
    config = settings(
        image_size=img_size,
        patch_size=patch_size,
        num_channels=in_chans,
        num_labels=num_classes,
        hidden_size=embed_dim,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
        intermediate_size=mlp_dim,
        qkv_bias=qkv_bias,
        hidden_act={"gelu_tanh": "gelu_pytorch_tanh"}.get(act, act),
        layer_norm_eps=norm_eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    return classifier(config).eval()


def name_map(model: torch.nn.Module) -> dict[str, list[str]]:
    """timm's names of the model's parameters, in timm's order -> their names here.

    A model of another class than ViT's has its own table, `timm_names`.
    """
    own = dict(model.named_parameters())
    named: dict[str, list[str]] = {}
    for ours, theirs in getattr(model, "timm_names", NAMES).items():
        for i in range(model.config.num_hidden_layers) if "{i}" in ours else [0]:
            for suffix in ("", ".weight", ".bias"):
                names = [t.format(i=i) + suffix for t in theirs]
                if all(name in own for name in names):
                    named[ours.format(i=i) + suffix] = names
    claimed = [name for names in named.values() for name in names]
    assert sorted(claimed) == sorted(own), "transformers has renamed something: update its table"
    return named


def fill(model: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Fills the model from one numpy generator and returns the weights under timm's names.

    In the order of `name_map`: gains 1 + 0.1 z; biases, tokens and positions 0.05 z; other
    weights z / sqrt(fan_in), z standard normal. Nothing stays at a value that could hide a mistake.
    """
    rng, own, state = np.random.default_rng(seed), dict(model.named_parameters()), {}
    for name, theirs in name_map(model).items():
        parts = [own[t] for t in theirs]
        shape = (sum(p.shape[0] for p in parts), *parts[0].shape[1:]) if len(parts) > 1 else parts[0].shape
        z = rng.standard_normal(tuple(shape))
        if name.endswith("bias") or "." not in name:
            values = 0.05 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z
        else:
            values = z / np.sqrt(np.prod(z.shape[1:]))
        state[name] = values.astype(np.float32)
        with torch.no_grad():
            for part, chunk in zip(parts, np.split(state[name], len(parts)), strict=True):
                part.copy_(torch.from_numpy(chunk))
    return state


def stacked(model: torch.nn.Module, what=lambda p: p) -> dict[str, np.ndarray]:
    """`what(parameter)` of every parameter (itself, or its gradient) under timm's names."""
    own = dict(model.named_parameters())
    return {
        name: np.concatenate([what(own[t]).detach().numpy() for t in theirs])
        for name, theirs in name_map(model).items()
    }


def forward(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The stages our `forward_intermediates` names, caught by hooks on the model's own modules."""
    stages: dict[str, torch.Tensor] = {}

    def catch(module, name: str):
        def hook(_, __, out):
            stages[name] = out[0] if isinstance(out, tuple) else out

        return module.register_forward_hook(hook)

    vit = model.base_model
    handles = [
        catch(vit.embeddings.patch_embeddings, "patch_embed"),
        catch(vit.embeddings, "pos_embed"),
        catch(vit.layernorm, "norm"),
        *(catch(layer, f"block_{i:02d}") for i, layer in enumerate(vit.layers)),
    ]
    try:
        stages["logits"] = model(x).logits
    finally:
        for handle in handles:
            handle.remove()
    return stages


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Optimiser groups: no decay on vectors, class token and positions (DeiT's rule)."""
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[parameter.ndim > 1 and "cls_token" not in name and "position" not in name].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of the cross-entropy with probabilities as targets."""
    return torch.nn.functional.cross_entropy(logits, target)


def train(
    model, x, targets, *, loss, optimizer, lrs, batch: int, clip: float | None, read=lambda out: out.logits
) -> dict[str, np.ndarray]:
    """A plain training loop; step t uses images [t·batch, (t+1)·batch) of the pool, cyclically.

    Minimises `loss(read(output), targets)`.

    Returns:
        `loss` and `grad_norm` (global, before clipping) of every step, float64.
    """
    losses, norms = [], []
    for step, lr in enumerate(lrs):
        rows = [(step * batch + i) % len(x) for i in range(batch)]
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        value = loss(read(model(x[rows])), targets[rows])
        value.backward()
        limit = float("inf") if clip is None else clip
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit)))
        losses.append(value.item())
        optimizer.step()
    return {"loss": np.array(losses), "grad_norm": np.array(norms)}
