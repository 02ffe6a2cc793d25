"""Configuration: YAML files over `_base_`, `-o` overrides, one strict check, then read-only.

Every key of every section is declared in `schema` or is an argument of the component the section names; `loading` reads and
checks; `explain` says what is wrong.
"""

from ppcore.config.loading import check, for_network, infer_section, load, parse_overrides
from ppcore.config.schema import (
    AMPSection,
    Config,
    DataSection,
    EMASection,
    ExportSection,
    GlobalSection,
    InferSection,
    LoaderSection,
    NetworkSection,
    OptimizerSection,
    Pretrained,
)

__all__ = [
    "AMPSection",
    "Config",
    "DataSection",
    "EMASection",
    "ExportSection",
    "GlobalSection",
    "InferSection",
    "LoaderSection",
    "NetworkSection",
    "OptimizerSection",
    "Pretrained",
    "check",
    "for_network",
    "infer_section",
    "load",
    "parse_overrides",
]
