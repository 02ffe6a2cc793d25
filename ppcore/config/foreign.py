"""Other people's collections of networks, Paddle's and PaddleClas's.

Their builders declare neither what they return nor what they take, download or unpickle what `pretrained` names, and
some evaluate text as Python (`norm_layer`). So they are handed numbers only.
"""

from typing import Any

_COLLECTIONS = ("paddle.vision.models.", "paddleclas.ppcls.arch.backbone.")


def is_foreign(target: Any) -> bool:
    """Whether a class or function is of one of these collections."""
    return str(getattr(target, "__module__", "")).startswith(_COLLECTIONS)


def foreign_argument(key: Any, value: Any) -> str | None:
    """Why an argument is not handed to a network of those collections; None where it is."""
    if key in ("pretrained", "use_ssld"):
        return "the suite alone reads weights: name a file in Global.pretrained (a teacher's in its weights)"
    if isinstance(value, (list, tuple)):
        return next((why for item in value if (why := foreign_argument(None, item))), None)
    if value is None or isinstance(value, (bool, int, float)):
        return None
    return f"only numbers, true, false and lists of them are handed to a network that is not the suite's, not {value!r}"
