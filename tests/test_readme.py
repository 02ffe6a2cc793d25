"""Every command README shows exists and reads what it names."""

import re
import shlex

import yaml

from ppcore import config, runtime  # noqa: F401
from ppcore.config import components


def commands(root) -> list[list[str]]:
    text = (root / "README.md").read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.S | re.M)
    blocks = [body for language, body in fenced if not language]
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:make |python tools/)[^`]*)`", text)
    return [shlex.split(line) for line in [*lines, *inline] if line]


def test_there_are_as_many_as_we_think(root):
    found = commands(root)
    assert sum(words[0] == "make" for words in found) == 12
    assert sum("tools/" in word for words in found for word in words) == 27


def test_the_distillation_example_is_a_loss(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    [body] = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.S | re.M)
    components.check(yaml.safe_load(body)["Loss"], "README.md: Loss")


def test_first_screen_has_the_two_commands(root):
    top = (root / "README.md").read_text(encoding="utf-8")[:700]
    assert "make reproduce" in top
    assert "make test" in top


def test_make_targets_exist(root):
    targets = set(re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(), flags=re.M))
    for words in commands(root):
        if words[0] == "make":
            assert words[1] in targets, words


def test_tools_and_their_options_exist(root):
    for words in commands(root):
        tool = next((word for word in words if word.startswith("tools/")), None)
        if tool is None:
            continue
        source = (root / tool).read_text() + (root / "ppcore" / "cli.py").read_text()
        for word in words[words.index(tool) + 1 :]:
            if word.startswith("-"):
                assert f'"{word}"' in source, (tool, word)


def test_configurations_load_with_their_overrides(root):
    checked = 0
    for words in commands(root):
        if "-c" in words:
            overrides = [words[i + 1] for i, word in enumerate(words) if word == "-o"]
            config.load(root / words[words.index("-c") + 1], overrides)
            checked += 1
    assert checked == 19


def test_ci_runs_the_readme_commands(root):
    script = (root / ".ci" / "run").read_text()
    assert re.search(r"^step make test$", script, flags=re.M)
    assert re.search(r"^step make reproduce$", script, flags=re.M)
