"""Model cards: what they say, what they do not guess, and whose they never overwrite."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ppcore.errors import OutputError
from ppcore.io import sha256
from ppcore.weights.card import Loader, card_text, front_matter, write_card
from ppcore.weights.provenance import Provenance, of_file
from ppcore.weights.snippets import of_export

METRIC = {"key": "top1", "name": "top-1 accuracy", "value": 81.2345, "unit": "%", "digits": 2, "protocol": "crop 0.875",
          "data": "ImageFolder(root=val)", "n": 50000}  # fmt: skip
FULL = Provenance(
    file="w.safetensors", sha256="ab", licence="Apache-2.0", origin="https://example.org", task="image-classification",
    architecture={"name": "mine.net", "depth": 2}, classes=["cat", "dog"], config="Arch: {}", metrics=[METRIC],
    training_data={"dataset": {"name": "ppcore.data.ImageFolder", "root": "train"}, "images": 7}, run={"name": "run", "step": 3},
)  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vit.safetensors"
    path.write_bytes(b"weights")
    return path


def block(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_what_is_known_is_said(file):
    text, content = write_card(file, FULL, [Loader("timm", "import timm")], library="timm")
    assert (text.name, content.name) == ("vit.card.md", "vit.card.json")
    found = json.loads(content.read_text())
    assert found["provenance"] == json.loads(json.dumps(FULL.to_json()))
    assert found["files"] == {"vit.safetensors": {"bytes": 7, "sha256": sha256(b"weights")}}
    markdown = text.read_text()
    said = block(markdown)
    assert said["license"] == "apache-2.0"
    assert said["library_name"] == "timm"
    assert said["datasets"] == ["ImageFolder(root=train)"]
    [result] = said["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "top1", "name": "top-1 accuracy %", "value": 81.2345}]
    for words in (
        "81.23 %",
        "50,000",
        "crop 0.875",
        "https://example.org",
        "2: cat, dog",
        "import timm",
        sha256(b"weights"),
    ):
        assert words in markdown, words


def test_what_is_not_known_is_not_guessed():
    said = front_matter("x", Provenance())
    assert said == {"tags": ["vision", "paddlepaddle"]}
    text = card_text("x", Provenance(), [], {})
    assert "| licence | not stated |" in text
    assert "no measurement of exactly these weights" in text


def test_a_licence_of_ones_own():
    assert front_matter("x", Provenance(licence="ask me"))["license"] == "other"
    assert front_matter("x", Provenance(licence="ask me"))["license_name"] == "ask me"


def test_changed_weights_have_no_metrics():
    changed = FULL.changed(["head: fresh"])
    assert changed.metrics == []
    assert "model-index" not in front_matter("x", changed)
    assert FULL.changed([]) is FULL


@pytest.mark.parametrize("name", ["vit.card.md", "vit.card.json"])
def test_a_card_of_somebody_else_stays(file, name):
    (file.parent / name).write_text("mine")
    with pytest.raises(OutputError, match="is not a card as this suite wrote it"):
        write_card(file, FULL)
    assert (file.parent / name).read_text() == "mine"


def test_two_files_that_differ_in_their_suffix_have_a_card_each(file):
    write_card(file, FULL)
    other = file.with_suffix(".npz")
    other.write_bytes(b"the same in numpy")
    text, _ = write_card(other, Provenance())
    assert text.name == "vit.npz.card.md"
    assert json.loads(file.with_name("vit.card.json").read_text())["files"].keys() == {"vit.safetensors"}
    assert write_card(file, FULL)[0].name == "vit.card.md"
    assert write_card(other, FULL)[0].name == "vit.npz.card.md"
    file.unlink()  # its card is that of nothing
    assert write_card(other, FULL)[0].name == "vit.card.md"


def test_an_edited_card_stays_and_ours_is_replaced(file):
    text, _ = write_card(file, Provenance())
    write_card(file, FULL)
    assert "81.23" in text.read_text()
    text.write_text(text.read_text() + "More words of mine.\n")
    with pytest.raises(OutputError, match=r"vit\.card\.md: is not a card"):
        write_card(file, FULL)
    assert text.read_text().endswith("More words of mine.\n")


def test_a_folder_with_a_readme(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match=r"README\.md"):
        write_card(tmp_path, FULL)
    assert (tmp_path / "README.md").read_text() == "mine"


@given(text=st.text(max_size=60))
def test_any_text_leaves_the_card_whole(text):
    known = Provenance(
        licence=text or None, origin=text, classes=[text, "b"], config=f"a: {text}", task="image-classification"
    )
    found = card_text(text or "x", known, [], {"w": {"bytes": 1, "sha256": "0"}})
    head = yaml.safe_load(found[4:].split("\n---\n\n# ", 1)[0])
    assert head["pipeline_tag"] == "image-classification"
    rows = [line for line in found.splitlines() if line.startswith("| origin |")]
    assert len(rows) == 1


def test_a_file_carries_its_licence(tmp_path):
    from ppcore.weights import save_arrays

    start = {"file": "a", "sha256": "0", "licence": "cc-by-nc-4.0"}
    known = Provenance(licence="mit", origin="here", started_from=start)
    save_arrays(tmp_path / "a.safetensors", {}, known.file_metadata())
    found = of_file(tmp_path / "a.safetensors")
    assert (found.licence, found.origin, found.started_from) == ("mit", "here", start)
    save_arrays(tmp_path / "b.safetensors", {}, {"started_from": "[" * 9})
    assert of_file(tmp_path / "b.safetensors").started_from is None


def test_runtimes_are_named_where_they_load_what_is_there():
    one = {"model": {"x": [None, 3, 8, 8]}}
    assert [loader.framework for loader in of_export("e", ["onnx"], one)][1:] == ["onnxruntime", "OpenVINO"]
    assert len(of_export("e", ["paddle"], one)) == 1
    assert len(of_export("e", ["onnx"], one | {"tail": {"y": [None]}})) == 1
