"""How numbers and names are spelt in a report; shared by its HTML and its Markdown."""

import math
import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from ppcore.metrics.spec import MetricSpec


def fixed(value: float | None, digits: int = 2) -> str:
    """Returns a number such as `97.22`; `–` for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_spread(value: float, spread: float | None, digits: int = 2) -> str:
    """Returns a mean with its standard deviation, `97.22 ± 0.31`; without one the mean alone."""
    return fixed(value, digits) if spread is None else f"{fixed(value, digits)} ± {fixed(spread, digits)}"


def published(value: float | None, digits: int = 2) -> str:
    """Returns a published figure with `digits` decimals, those of its column; thousands for large whole numbers."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}f}"


def decimals(values: Iterable[float | None], least: int = 2) -> int:
    """Returns the decimals a column of published figures needs, and at least so many: YAML does not keep a final zero."""
    given = [float(value) for value in values if value is not None]
    return max([least, *(0 if one.is_integer() else len(repr(one).partition(".")[2]) for one in given)])


def signed(value: float, digits: int = 2, error: float | None = None) -> str:
    """Returns a difference with its sign, e.g. `+0.12` or `−0.30 ± 0.05`; nothing has none: `0.00`."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    text = text if text.strip("+−0.") else text.lstrip("+−")
    return text if error is None else f"{text} ± {fixed(error, digits)}"


def quantity(value: float | int | str | None) -> str:
    """Returns a measured value: whole numbers with thousands, small ones as `1.2e-06`, text as it is."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    return (
        "0"
        if value == 0
        else f"{value:.1e}"
        if abs(value) < 1e-3
        else f"{value:.4g}"
        if abs(value) < 1e4
        else f"{value:,.0f}"
    )


def count(value: int | float | None) -> str:
    """Returns a count with thousands; `–` for None."""
    return "–" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def rate(value: float) -> str:
    """Returns a rate such as `640`, `4.3` or `0.52`."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Returns `48 s`, `3 min 05 s` or `2 h 07 min`; below ten seconds with one decimal."""
    if seconds is None:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def spoken(metric: MetricSpec, with_unit: bool = False) -> str:
    """Returns a metric's name as it stands in a sentence, `top-1` or `PSNR`; with its unit `top-1 %`."""
    text = metric.heading if with_unit else metric.name
    return text[0].lower() + text[1:] if metric.unit == "%" else text


def seed_list(values: Sequence[int | None]) -> str:
    """Returns `3 seeds (0, 1, 2)`; runs of one seed, and runs whose configuration sets none, are no seeds more."""
    known = [str(value) for value in values if value is not None]
    unset = len(values) - len(known)
    if not unset and len(set(known)) == len(known):
        return f"{len(known)} seed{'s' if len(known) != 1 else ''} ({', '.join(known)})"
    if not known:
        return f"{unset} run{'s' if unset != 1 else ''} without a set seed"
    rest = f"; {unset} without a set seed" if unset else ""
    return f"{len(values)} runs (seed{'s' if len(known) > 1 else ''} {', '.join(known)}{rest})"


def experiment(run: str) -> str:
    """Returns a run's name without its seed."""
    return re.sub(r"_seed\d+$", "", run)


def common_prefix(names: Sequence[str]) -> str:
    """Returns the words (ending in `_`) that all of several names begin with, leaving each at least one."""
    words = [name.split("_") for name in names]
    same = 0
    while len(names) > 1 and all(same < len(w) - 1 and w[same] == words[0][same] for w in words):
        same += 1
    return "".join(f"{word}_" for word in words[0][:same]) if words else ""


def breakable(name: object) -> Markup:
    """Returns a name or path for the page, which may be broken after `_` and `/`."""
    return Markup(re.sub("([_/])", r"\1<wbr>", str(escape(name))))


def cell(value: object) -> "MarkdownSafe":
    """Returns text fit for a Markdown table cell: no pipe, tag, link or line break of its own."""
    text = re.sub(r"\s+", " ", str(value))
    return MarkdownSafe(re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text))


class MarkdownSafe(str):
    """Text that is already escaped, or that the template itself wrote."""


def code(value: object) -> MarkdownSafe:
    """Returns inline code; backticks become quotes, as a backtick cannot be escaped inside it."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return MarkdownSafe(f"`{text}`")


def block(value: object) -> MarkdownSafe:
    """Returns one line for a fenced block; it cannot close the fence."""
    return MarkdownSafe(" ".join(str(value).split()).replace("```", "'''"))


def address(value: object) -> MarkdownSafe:
    """Returns a web address for a Markdown link; anything but http(s) is refused."""
    if not re.fullmatch(r"https?://[^\s()<>]+", str(value)):
        raise ValueError(f"not a web address: {value!r}")
    return MarkdownSafe(value)


def markdown_text(value: object) -> object:
    """Escapes every expression of a Markdown template that no filter has marked as safe."""
    return value if isinstance(value, (MarkdownSafe, int, float)) else cell(value)


FILTERS = {
    "fixed": fixed,
    "with_spread": with_spread,
    "breakable": breakable,
    "published": published,
    "signed": signed,
    "experiment": experiment,
    "seed_list": seed_list,
    "spoken": spoken,
    "quantity": quantity,
    "count": count,
    "rate": rate,
    "duration": duration,
    "code": code,
    "block": block,
    "address": address,
    "safe_markdown": MarkdownSafe,
}
