"""What a paper shows beyond single numbers: ablations, analyses (curves) and figures, to be tried at quick scale, and what is
watched in training."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, field_validator

from ppcore.report.citation import Citation, Strict
from ppcore.report.quick_configs import Option, Quick, check_named


class AblationRow(Strict):
    """A row of an ablation and our quick configs that try it, at most one a data set.

    `published` is in the metric's unit (accuracies in percent), None where the paper gives no number. With
    `eval_options` the final weights of the runs are evaluated once more with these `-o` texts, and that counts instead.
    """

    name: str = Field(min_length=1)
    published: float | None
    quick: list[str] = Field([])
    eval_options: list[Option] = Field([])


class Ablation(Strict):
    """A comparison of the paper, rows in its order; the first is what the others are set against."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    published_on: str
    metric: str
    source: Citation
    note: str = ""
    rows: list[AblationRow] = Field(min_length=2)


class Point(Strict):
    """A published value of a curve: at the `first` or `last` layer of whatever depth, or at a numbered one."""

    x: int | str
    y: float

    @field_validator("x", mode="before")
    @classmethod
    def _known_place(cls, value: Any) -> Any:
        if value in ("first", "last") or (type(value) is int and value >= 0):
            return value
        raise ValueError(f"must be first, last or the number of a layer, got {value!r}")

    def place(self, last: int) -> int:
        """The layer, on a curve whose last layer is number `last`."""
        return {"first": 0, "last": last}.get(self.x, self.x)


class Analysis(Strict):
    """A curve the paper describes, measured on quick runs.

    `measure` is the dotted path of `measure(model, images) -> list[float]`, one value a layer, 0
    being what enters the first block; images are float32 [N, C, H, W], the first test images.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    measure: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    x: str
    y: str
    label: str = ""
    source: Citation
    note: str = ""
    published: list[Point] = Field([])
    quick: list[str] = Field(min_length=1)


class DrawnFigure(Strict):
    """A figure of the paper, drawn anew for quick configs.

    `draw` is the dotted path of what returns {rows, text}: rows [{label, panels: [{caption, image uint8 [H, W, 3]}]}];
    what was measured, in words. Of `pairs` it is `draw(pairs)`: test pairs (image, target) float32 [H, W, 3] in 0..1. Of a
    `network`, `draw(model, images)`: a trained one in evaluation mode and the first test images float32 [N, C, H, W], as
    it takes them.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    draw: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    of: Literal["pairs", "network"] = "pairs"
    source: Citation
    note: str = ""
    quick: list[str] = Field(min_length=1)


class Limit(Strict):
    """A value that a watched number is seen against, such as that of a total collapse, or chance."""

    value: FiniteFloat
    caption: str = Field(min_length=1)


class Monitor(Strict):
    """A number that trainings log beside their loss, under `key`, drawn over the steps for the runs that logged it."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    note: str = ""
    limits: list[Limit] = Field([])


def _told_apart(monitors: list[Monitor]) -> list[Monitor]:
    keys = [one.key for one in monitors]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"the key '{min(twice)}' is used twice")
    return monitors


Monitors = Annotated[list[Monitor], AfterValidator(_told_apart)]


def check_comparisons(
    ablations: list[Ablation], analyses: list[Analysis], figures: list[DrawnFigure], quick: list[Quick]
) -> None:
    """Checks what ablations, analyses and drawn figures refer to.

    Raises:
        ValueError: two have one id, a config is not a quick config, a row's name stands twice in an
            ablation, or a row has two configs of one data set.
    """
    for kind, items in (("ablations", ablations), ("analyses", analyses), ("figures_drawn", figures)):
        ids = [item.id for item in items]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"{kind}: the id '{min(twice)}' is used twice")
    datasets = {item.config: item.dataset for item in quick}
    for ablation in ablations:
        names = [row.name for row in ablation.rows]
        for row in ablation.rows:
            where = f"ablation '{ablation.id}', row '{row.name}'"
            if names.count(row.name) > 1:
                raise ValueError(f"{where}: two rows have this name")
            check_named(row.quick, quick, where)
            data = [datasets[config] for config in row.quick]
            if twice := [name for name in data if data.count(name) > 1]:
                raise ValueError(f"{where}: two configs on '{twice[0]}'; a row is one experiment a data set")
    for analysis in analyses:
        check_named(analysis.quick, quick, f"analysis '{analysis.id}'")
    for figure in figures:
        check_named(figure.quick, quick, f"figure '{figure.id}'")
