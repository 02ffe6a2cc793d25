"""What a report is made of, beside the paper's tables: its runs, and what a reproduction measured and drew for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pydantic
from pydantic import Field

from ppcore.metrics.spec import MetricSpec
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run


class FidelityRow(pydantic.BaseModel):
    """`measured` against `tolerance` in the unit `kind`; `passed` None means not run, and `note` then says why."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
    level: int = Field(ge=1, le=5)
    what: str
    reference: str
    measured: float | int | str | None = None
    kind: str = ""
    tolerance: float | int | str | None = None
    passed: bool | None
    seconds: float | int | None = None
    note: str = ""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "FidelityRow":
        if self.passed is None and not self.note:
            raise ValueError("a row that was not run needs a note that says why")
        if self.passed is not None and self.measured is None:
            raise ValueError("a row that was run needs its measured value")
        return self


@dataclass(frozen=True)
class AblationEvaluation:
    """The final weights of a run, evaluated once more with the options of an ablation's row.

    Attributes:
        ablation: id of the ablation.
        row: name of its row.
        config: the quick configuration the run was trained with.
        seed: of the run.
        run: name of the run.
        options: the row's `eval_options`.
        numbers: the metrics as they are recorded (accuracies 0..1), by key.
        n: images evaluated.
        skipped: unreadable images left out.
        weights: the file.
        protocol: how it was measured, in one line.
    """

    ablation: str
    row: str
    config: str
    seed: int
    run: str
    options: Sequence[str]
    numbers: Mapping[str, float]
    n: int
    skipped: int
    weights: str
    protocol: str


@dataclass(frozen=True)
class AnalysisMeasurement:
    """The curve of an analysis, measured on one run.

    Attributes:
        analysis: id of the analysis.
        config: the quick configuration the run was trained with.
        seed: of the run.
        run: name of the run.
        images: how many images it was measured on.
        values: one a layer, the first of what enters the first block.
    """

    analysis: str
    config: str
    seed: int
    run: str
    images: int
    values: Sequence[float]


@dataclass(frozen=True)
class BaselineResult:
    """Another method's evaluation: its `numbers` as they are recorded, by key, over `n` images in `seconds`."""

    method: str
    numbers: Mapping[str, float]
    n: int
    seconds: float


@dataclass(frozen=True)
class Baselines:
    """Other methods on the test images of a quick configuration.

    Attributes:
        config: the configuration.
        run: name of the run whose settings they were evaluated with.
        protocol: how they were measured, in one line.
        metrics: of the numbers, the primary one first.
        results: one a method.
    """

    config: str
    run: str
    protocol: str
    metrics: Sequence[MetricSpec]
    results: Sequence[BaselineResult]


@dataclass(frozen=True)
class EvaluatedMethod:
    """A method on a test set: its `numbers` as they are recorded, by key, in `seconds` for `n` images, on what it ran.

    `trained`: whether it has weights; `published`: what others say of it, in words; `protocol`: how it was measured, where
    that is its own. `left_out` says why it has no numbers; then the others are empty.
    """

    method: str
    numbers: Mapping[str, float]
    n: int = 0
    seconds: float = 0.0
    runs_on: str = ""
    trained: bool = False
    published: str = ""
    protocol: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class ProtocolColumns:
    """Numbers that one protocol gives: its `name`, what it is in one line, and the metrics."""

    name: str
    text: str
    metrics: Sequence[MetricSpec]


@dataclass(frozen=True)
class EvaluatedNetworks:
    """Networks that others trained (and methods without training) under every protocol of a configuration.

    Attributes:
        config: the configuration.
        title: what was evaluated.
        data: the test images and what happens to them, in one line.
        protocols: what the numbers are.
        methods: the rows.
        pictures: one test image by every method; may be empty.
        missing: why nothing was evaluated; then the sequences are empty.
    """

    config: str
    title: str
    data: str = ""
    protocols: Sequence[ProtocolColumns] = ()
    methods: Sequence[EvaluatedMethod] = ()
    pictures: Sequence["PanelRow"] = ()
    missing: str = ""


@dataclass(frozen=True)
class Panel:
    """An image, uint8 [H, W, 3], and what is written below it."""

    caption: str
    image: np.ndarray


@dataclass(frozen=True)
class PanelRow:
    """Panels side by side; `label` names what they all show, and may be empty."""

    label: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class ImageGrid:
    """Test images that a run's network has enhanced; `data` names the test set."""

    run: str
    data: str
    rows: Sequence[PanelRow]


@dataclass(frozen=True)
class FigureGrid:
    """A figure of the paper drawn on test images of a quick configuration; `text` says what was measured.

    `figure` is the id of one of the paper's `figures_drawn`; `run` names the run whose test images they are.
    """

    figure: str
    config: str
    run: str
    rows: Sequence[PanelRow]
    text: str


@dataclass(frozen=True)
class ClassifiedImage:
    """A classified test image.

    Attributes:
        image: uint8 [H, W, 3] or [H, W, 1].
        label: the true class: its name, or its number among the classes of the runs.
        pred: the class it was given, likewise.
        prob: the probability of that class, 0..1.
        topk: (class, probability) of the likeliest classes; may be empty.
        attention: float [h, w], how much of each patch the head reads; None without.
    """

    image: np.ndarray
    label: str | int
    pred: str | int
    prob: float
    topk: Sequence[tuple[str | int, float]] = ()
    attention: np.ndarray | None = None


@dataclass(frozen=True)
class ReportContent:
    """A report before it is written; everything but the title may be absent.

    Attributes:
        title: its heading.
        paper: the published tables the runs are set beside.
        runs: those that differ in the seed alone are summarised together.
        fidelity: checks against a reference.
        ablations: for the paper's ablations, weights evaluated with other options.
        analyses: for the paper's analyses, curves measured on runs.
        baselines: other methods on the runs' test images.
        evaluated: others' networks under the protocols of published figures.
        image_grids: enhanced test images.
        figures: the paper's figures, drawn anew.
        classified: classified test images.
        classified_note: what to say of them: which run they are of, or why there are none.
    """

    title: str
    paper: PaperTables | None = None
    runs: Sequence[Run] = ()
    fidelity: Sequence[FidelityRow] = ()
    ablations: Sequence[AblationEvaluation] = ()
    analyses: Sequence[AnalysisMeasurement] = ()
    baselines: Sequence[Baselines] = ()
    evaluated: Sequence[EvaluatedNetworks] = ()
    image_grids: Sequence[ImageGrid] = ()
    figures: Sequence[FigureGrid] = ()
    classified: Sequence[ClassifiedImage] = ()
    classified_note: str = ""
