"""Writing a report: one self-contained HTML page, the same in Markdown and JSON, and the pictures as files."""

import base64
import json
import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from ppcore.errors import PPError, reason
from ppcore.report import content, drawing, formats, image_grids
from ppcore.report.analysis_plots import analysis_drawing
from ppcore.report.content_types import ReportContent
from ppcore.report.evaluations import digits_of
from ppcore.report.image_cards import contact_sheet, image_cards
from ppcore.report.monitor_plots import monitor_drawing
from ppcore.report.protocol_plots import protocol_plots
from ppcore.report.training_curves import MANY, Level, training_curves


def write_report(folder: str | Path, report: ReportContent) -> Path:
    """Writes `index.html`, `report.md`, `report.json` and `pictures/` into `folder`, replacing older ones.

    Args:
        folder: Created when missing.
        report: What it says.

    Returns:
        Path of `index.html`.

    Raises:
        PPError: The folder cannot be written.
        ValueError: An image is not what it must be.
    """
    said, drawn = content.build(report), _drawn(report)
    said |= {key: [image_grids.grid_facts(grid) for grid in drawn[key]] for key in ("image_grids", "figures")}
    said["predictions"] = [
        {key: card[key] for key in ("label", "pred", "prob", "topk", "correct")} for card in drawn["cards"]
    ]
    drawn["protocol_plots"] = [protocol_plots(table, n) for n, table in enumerate(said["protocol_tables"], 1)]
    drawn["analysis_drawings"] = {item["id"]: analysis_drawing(item) for item in said["analyses"]}
    drawn["monitor_drawings"] = {item["key"]: monitor_drawing(item) for item in said["monitors"]}
    files = _pictures(drawn)
    files["report.json"] = json.dumps(content.jsonable(said), indent=1, ensure_ascii=False, allow_nan=False).encode()
    shown = {**said, **drawn, "many": len(report.runs) > MANY}
    files["report.md"] = _tidy(_environment(markdown=True).get_template("report.md.j2").render(shown)).encode()
    files["index.html"] = _together(_environment(markdown=False).get_template("report.html.j2").render(shown)).encode()
    folder = Path(folder)
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise PPError(f"{folder}: the report cannot be written there ({reason(error)})") from None
    return folder / "index.html"


def _drawn(report: ReportContent) -> dict:
    """The pictures of a report as the templates take them."""
    paper = report.paper
    quick = paper.quick if paper else []
    titles = {run.name: item.dataset for run in report.runs for item in quick if run.trained_with(item.config)}
    classes = next((run.start["classes"] for run in report.runs if run.start.get("classes")), None)
    return {
        "image_grids": image_grids.enhanced_grids(report.image_grids, titles),
        "method_grids": image_grids.method_grids(report.evaluated),
        "figures": image_grids.figure_grids(paper, report.figures) if paper else [],
        "curves": training_curves(report.runs, _levels(report)),
        "cards": image_cards(report.classified, classes),
    }


def _levels(report: ReportContent) -> dict[str, Level]:
    """By run, the published number of what it trains, where the paper's page names one."""
    found = {}
    for item in report.paper.quick if report.paper else []:
        if item.published is not None:
            _, row, value = report.paper.cell(item.published)
            metric = report.paper.metric(item.metric)
            what = f"{metric.name.lower()} " if metric.offset else ""  # an error beside a curve of accuracies
            text = f"published: {row.name}, {what}{value:.{digits_of(item.published, value)}f}"
            for run in (run for run in report.runs if run.trained_with(item.config)):
                drawn = run.primary_metric.written(metric.recorded(value)) if metric.offset else value
                found[run.name] = Level(text, drawn)
    return found


def _pictures(drawn: dict) -> dict[str, bytes]:
    """The files of `pictures/`, which the Markdown shows."""
    svgs = {curve["name"]: curve["svg"] for curve in drawn["curves"]}
    svgs |= {f"analysis_{name}": svg for name, svg in drawn["analysis_drawings"].items() if svg}
    svgs |= {f"monitor_{key}": svg for key, svg in drawn["monitor_drawings"].items()}
    svgs |= {plot["name"]: plot["svg"] for plots in drawn["protocol_plots"] for plot in plots}
    files = {f"pictures/{name}.svg": drawing.standalone(svg).encode() for name, svg in svgs.items()}
    for grid in [*drawn["image_grids"], *filter(None, drawn["method_grids"]), *drawn["figures"]]:
        files[f"pictures/{grid['name']}.jpg"] = image_grids.grid_sheet(grid)
    if drawn["cards"]:
        files["pictures/predictions.png"] = contact_sheet(drawn["cards"])
    return files


def _environment(*, markdown: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ppcore.report", "templates"),
        autoescape=not markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=formats.markdown_text if markdown else None,
    )
    environment.filters.update(formats.FILTERS)
    for kind in ("png", "jpeg"):
        environment.filters[f"{kind}_uri"] = lambda data, kind=kind: Markup(
            f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        )
    environment.filters["svg"] = lambda svg: Markup(svg)
    environment.globals["palette"] = lambda theme: Markup(drawing.css_variables(theme))
    return environment


def _together(page: str) -> str:
    """Keeps a percent sign on the line of its number, but for commands, which are copied as they are."""
    return re.sub(
        r"<(pre|code)>.*?</\1>|(?<=\d) (?=%)",
        lambda match: "\N{NO-BREAK SPACE}" if match.group() == " " else match.group(),
        page,
        flags=re.DOTALL,
    )


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
