"""Writes docs/configuration.md: python docs/configuration.py"""

from pathlib import Path

from ppcore.config.reference import markdown

if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(markdown(), encoding="utf-8")
