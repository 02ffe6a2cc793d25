"""Writing a report: one self-contained HTML page, the same in Markdown and JSON, and the pictures as files."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ppcore.errors import PPError
from ppcore.report import content, drawing, formats, image_cards, image_grids, metric_specs, summary
from ppcore.report.ablation_tables import of_config
from ppcore.report.analysis_plots import figure
from ppcore.report.curves import MANY
from ppcore.report.curves import curves as draw_curves
from ppcore.report.fidelity_table import check_rows
from ppcore.report.methods import methods as beside_others
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run


def write_report(
    out_dir: str | Path,
    *,
    paper: PaperTables | None,
    runs: Sequence[Run],
    fidelity: Sequence[Mapping[str, object]],
    predictions: Sequence[Mapping[str, Any]],
    title: str,
    predictions_note: str = "",
    evaluations: Sequence[Mapping[str, Any]] = (),
    findings: Sequence[Mapping[str, Any]] = (),
    methods: Sequence[Mapping[str, Any]] = (),
    restored: Sequence[Mapping[str, Any]] = (),
    figures: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Writes `index.html`, `report.md`, `report.json` and `pictures/` into `out_dir`, replacing older ones.

    Args:
        out_dir: Created when missing.
        paper: The published tables to set the runs beside, or None for none.
        runs: Runs as `read_run` returns them; runs that differ in the seed alone are summarised together.
        fidelity: Rows {level, what, reference, measured, kind, tolerance, passed, seconds, note}; see `FidelityRow`.
        predictions: Classified images, see `prediction_cards`; may be empty.
        title: Heading of the report.
        predictions_note: What to say of them: which run they are of, or why there are none.
        evaluations: For the paper's claims, weights evaluated with other options, see `ppcore.reproduce.ablations`.
        findings: For the paper's findings, curves measured on runs, see `ppcore.reproduce.analyses`.
        methods: Other methods evaluated on the runs' test images, see `ppcore.reproduce.qualitative.methods`.
        restored: Enhanced test images, see `ppcore.reproduce.qualitative.pictures`.
        figures: The paper's figures on test images, see `ppcore.reproduce.qualitative.figures`.

    Returns:
        Path of `index.html`.

    Raises:
        PPError: A fidelity row is wrong, or the folder cannot be written.
    """
    data = content.build(title, paper, runs, check_rows(fidelity), evaluations, findings)
    classes = next((run.start["classes"] for run in runs if run.start.get("classes")), None)
    cards = image_cards.prediction_cards(predictions, classes)
    data["predictions"] = [{key: card[key] for key in ("label", "pred", "prob", "topk", "correct")} for card in cards]
    if predictions_note:
        data["predictions_note"] = predictions_note
    if paper and methods:
        data["methods"] = beside_others(paper, runs, methods)
    titles = {
        run.name: quick.dataset
        for run in runs
        for quick in (paper.quick if paper else [])
        if of_config(run, quick.config)
    }
    shown_plates = {
        "restored": image_grids.restored(restored, titles),
        "figures": image_grids.drawn(paper, figures) if paper else [],
    }
    data |= {key: [image_grids.facts(plate) for plate in found] for key, found in shown_plates.items() if found}
    curves = draw_curves(runs)
    drawn = {f"finding_{item['id']}": figure(item) for item in data.get("findings", [])}
    files: dict[str, bytes] = {
        f"pictures/{name}.svg": drawing.standalone(svg).encode()
        for name, svg in [*((curve["name"], curve["svg"]) for curve in curves), *drawn.items()]
        if svg
    }
    for plate in (plate for found in shown_plates.values() for plate in found):
        files[f"pictures/{plate['name']}.jpg"] = image_grids.sheet(plate)
    if cards:
        files["pictures/predictions.png"] = image_cards.contact_sheet(cards)
    files["report.json"] = json.dumps(content.jsonable(data), indent=1, ensure_ascii=False, allow_nan=False).encode()
    missing = {"claims": [], "findings": [], "predictions_note": "", "methods": []}
    missing["paper_unit"] = summary.unit_facts(metric_specs.of(paper.headline_metric)) if paper else None
    shown = {
        **missing,
        **data,
        **shown_plates,
        "curves": curves,
        "cards": cards,
        "drawn": drawn,
        "many": len(runs) > MANY,
    }
    files["report.md"] = _tidy(_environment(markdown=True).get_template("report.md.j2").render(shown)).encode()
    files["index.html"] = _together(_environment(markdown=False).get_template("report.html.j2").render(shown)).encode()
    out_dir = Path(out_dir)
    try:
        (out_dir / "pictures").mkdir(parents=True, exist_ok=True)
        for name, data_bytes in files.items():
            (out_dir / name).write_bytes(data_bytes)
    except OSError as error:
        raise PPError(f"{out_dir}: the report cannot be written there ({error.strerror})") from None
    return out_dir / "index.html"


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
    environment.filters["data_uri"] = lambda data: Markup("data:image/png;base64," + base64.b64encode(data).decode())
    environment.filters["jpeg_uri"] = lambda data: Markup("data:image/jpeg;base64," + base64.b64encode(data).decode())
    environment.filters["svg"] = lambda svg: Markup(svg)
    environment.globals["palette"] = lambda theme: Markup(drawing.css_variables(theme))
    return environment


def _together(page: str) -> str:
    """Keeps a percent sign on the line of its number, but for commands, which are copied as they are."""
    return re.sub(
        r"<(pre|code)>.*?</\1>|(?<=\d) (?=%)",
        lambda found: "\N{NO-BREAK SPACE}" if found.group() == " " else found.group(),
        page,
        flags=re.DOTALL,
    )


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
