"""A small reader of the report's HTML: cells with their classes, attributes, text; complains about bad nesting."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "col", "link", "input", "hr", "path", "use", "rect", "wbr"}


@dataclass
class Cell:
    tag: str
    classes: list[str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    source: str
    open_tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    tables: list[list[list[Cell]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self.open_tags, f"never closed: {self.open_tags}"

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag in VOID:
            return
        self.open_tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append(Cell(tag, (dict(attrs).get("class") or "").split()))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open_tags[-1:] == [tag], f"</{tag}> closes <{self.open_tags[-1:]}> at {self.getpos()}"
            self.open_tags.pop()

    def handle_data(self, data):
        if "style" in self.open_tags or "script" in self.open_tags:
            return
        data = data.replace("\xa0", " ")  # a space that does not break
        self.text += data
        if "td" in self.open_tags or "th" in self.open_tags:
            self.tables[-1][-1][-1].text += data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]

    def cells(self, name: str) -> list[str]:
        """Texts of the body cells of a class."""
        return [
            " ".join(cell.text.split())
            for table in self.tables
            for row in table
            for cell in row
            if cell.tag == "td" and name in cell.classes
        ]
