"""What fits a phone and a desk: the structure the styles need, and the layout in a real browser where there is one."""

import html
import json
import re
import shutil
import subprocess

import fabricate
import pytest
import test_protocol_tables as protocols
import test_report_images as restoration
import yaml
from page import Page

from ppcore.report import ReportContent, load_paper, read_run, write_report
from ppcore.report.training_curves import training_curves

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-file-access-from-files", "--virtual-time-budget=10000",
    "--window-size=1400,900", "--dump-dom",
)  # fmt: skip
SLOW_CHECK = fabricate.FIDELITY[0].model_copy(update={"level": 5, "measured": "24 of 24 equal", "seconds": 88.0})
WIDTHS = (320, 390, 700, 800, 1280)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A report of every kind of table, and one with photographs."""
    folder = tmp_path_factory.mktemp("layout")
    (folder / "paper.yaml").write_text(yaml.safe_dump(fabricate.comparing_paper()))
    contents = {
        "classes": ReportContent(
            "Made up",
            paper=load_paper(folder / "paper.yaml"),
            runs=[read_run(run) for run in fabricate.comparing_runs(folder / "runs")],
            fidelity=[*fabricate.FIDELITY, SLOW_CHECK],
            ablations=fabricate.evaluations(),
            analyses=fabricate.curves(),
            classified=fabricate.classified(),
        ),
        "photographs": ReportContent(
            "Made up",
            paper=load_paper(restoration.UHDFOUR),
            runs=[read_run(restoration.run(folder, seed, value)) for seed, value in enumerate((20.0, 21.0, 22.0))],
            fidelity=[SLOW_CHECK],
            baselines=[restoration.BASELINES],
            image_grids=[restoration.ENHANCED],
            figures=[restoration.FIGURE],
        ),
        "protocols": ReportContent(
            "Made up", paper=load_paper(protocols.PAPERS / "pairlie.yaml"), evaluated=[protocols.evaluated()]
        ),
        "few": ReportContent(
            "Made up",
            runs=[
                read_run(fabricate.write_run(folder / f"a_rather_long_name_seed{seed}", fabricate.records(seed=seed)))
                for seed in range(3)
            ],
            fidelity=[SLOW_CHECK],
            classified=fabricate.classified(),
        ),
    }
    made = {name: write_report(folder / name, content) for name, content in contents.items()}
    return folder, made


def boxes(source: str) -> list[tuple[list[str], str]]:
    """Classes and inner source of every box that holds a table."""
    found = re.findall(r'<div class="scroll([^"]*)"[^>]*>\s*(<table>.*?</table>)', source, flags=re.DOTALL)
    return [(classes.split(), table) for classes, table in found]


def test_every_table_becomes_cards_or_scrolls_beside_its_first_column(reports):
    for index in reports[1].values():
        source = index.read_text()
        assert len(boxes(source)) == source.count("<table>")
        for classes, table in boxes(source):
            assert ("cards" in classes) != ("wide" in classes)
            rows = re.findall(r"<tr(?: class=\"group\")?>(.*?)</tr>", table.partition("<tbody>")[2], flags=re.DOTALL)
            rows = [row for row in rows if "colspan" not in row]
            if "cards" in classes:
                assert all("data-label=" in cell for row in rows for cell in re.findall(r"<td[^>]*>", row))
            else:
                assert all(row.startswith('<th scope="row" class="stick">') for row in rows)


def test_a_card_calls_its_cells_as_the_head_of_the_column_does(reports):
    """The heads of ablations are in two rows, so their cells have words of their own."""
    for index in reports[1].values():
        for classes, table in boxes(index.read_text()):
            if "cards" not in classes or "ablation" in classes:
                continue
            [page] = Page(table).tables
            head = [cell.text for cell in page[0][1:]]
            row = re.search(r"<tbody>\s*(<tr>.*?</tr>)", table, flags=re.DOTALL).group(1)
            labels = [html.unescape(label).replace("\xa0", " ") for label in re.findall(r'data-label="([^"]*)"', row)]
            assert [one.startswith(other) for one, other in zip(head, labels, strict=True)] == [True] * len(head)


def test_a_percent_sign_stays_with_its_number(reports):
    for index in reports[1].values():
        text = re.sub(r"<(pre|code)>.*?</\1>", "", index.read_text(), flags=re.DOTALL)
        assert not re.findall(r".{20}\d %", text)
        assert "\xa0%" in text or index.parent.name == "protocols"  # which has no shares


@pytest.mark.parametrize("count", [2, 14])
def test_no_line_runs_through_a_legend(tmp_path, count):
    """The legend's words stand below everything that is drawn in the axes."""
    runs = [
        read_run(fabricate.write_run(tmp_path / f"name_{number}_seed0", fabricate.records(seed=number)))
        for number in range(count)
    ]
    for drawn in training_curves(runs):
        legend = drawn["svg"][drawn["svg"].index("legend_1") :]
        words = [float(y) for y in re.findall(r'<text[^>]* y="([\d.]+)"', legend)]
        axes = re.search(r'id="[^"]*-axes_1".*?id="[^"]*-patch_2">\s*<path d="([^"]*)"', drawn["svg"], flags=re.DOTALL)
        lowest = max(float(y) for _, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", axes.group(1)))
        assert len(words) == count
        assert min(words) > lowest + 10
        height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', drawn["svg"]).group(1))
        assert max(words) < height


MEASURE = """<!doctype html><body>{frames}<pre id="out"></pre><script>
const found = [];
function measure(frame) {{
  const page = frame.contentDocument, root = page.documentElement, phone = frame.clientWidth < 760;
  const say = (what, one) => found.push([frame.dataset.name, what, one.innerText.slice(0, 60)]);
  const shown = one => one.getClientRects().length > 0, over = one => one.scrollWidth > one.clientWidth + 1;
  if (over(root)) say('page wider than the window', page.body);
  if (phone) page.querySelectorAll('.cards').forEach(one => over(one) && say('cards do not fit', one));
  page.querySelectorAll('.tile .value').forEach(one => over(one) && say('value wider than its tile', one));
  page.querySelectorAll('td,th').forEach(one =>
    shown(one) && over(one) && !(phone && one.closest('.cards thead')) && say('cell clipped', one));
  if (phone) page.querySelectorAll('.wide').forEach(one => {{
    const hint = parseFloat(getComputedStyle(one, '::before').opacity) > 0;
    if (shown(one) && hint !== over(one)) say(hint ? 'hint of nothing' : 'more columns without a hint', one); }});
}}
addEventListener('load', () => {{
  const frames = [...document.querySelectorAll('iframe')];
  frames.forEach(one => one.contentDocument.querySelectorAll('details').forEach(part => part.open = true));
  setTimeout(() => {{
    frames.forEach(measure);
    document.getElementById('out').textContent = JSON.stringify([frames.length, found]); }}, 500);
}});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to lay the pages out")
def test_nothing_is_clipped_or_wider_than_the_window(reports, tmp_path):
    folder, made = reports
    frames = "".join(
        f'<iframe data-name="{name} at {width}" style="width:{width}px;height:800px;border:0" src="{index}"></iframe>'
        for name, index in made.items()
        for width in WIDTHS
    )
    (folder / "measure.html").write_text(MEASURE.format(frames=frames))
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"file://{folder / 'measure.html'}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    out = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert out, done.stderr[-2000:]
    assert json.loads(html.unescape(out.group(1))) == [len(made) * len(WIDTHS), []]
