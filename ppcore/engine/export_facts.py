"""What an export says of itself, from the configuration and the weights in use."""

import dataclasses

from paddle import nn

from ppcore.config import Config
from ppcore.deploy.model_facts import ModelFacts
from ppcore.deploy.preprocessing import recordable
from ppcore.engine.classify_files import class_names
from ppcore.engine.logger import log
from ppcore.engine.run_provenance import provenance
from ppcore.engine.trained import Used
from ppcore.model import traits

# What stands in them by itself.
_ELSEWHERE = ("architecture", "classes", "preprocessing", "config")


def facts(config: Config, model: nn.Layer, used: Used) -> ModelFacts:
    """What goes into the manifest of an export.

    Args:
        config: the configuration.
        model: with its weights.
        used: the weights, as `ppcore.engine.trained.load_model` returns them.

    Raises:
        ConfigError: `Infer.class_names` cannot be read, or are not as many as the outputs.
    """
    known = provenance(config, used, model=model)
    steps = None if traits(model).makes_images else known.preprocessing
    why = "there is no DataLoader.Eval" if steps is None else recordable(steps)
    if why and not traits(model).makes_images:
        log.warning("the export does not say how images become its input, and takes arrays only: %s", why)
        steps = None
    return ModelFacts(
        architecture=known.architecture,
        preprocessing=steps,
        classes=class_names(config.Infer.class_names, used.classes, traits(model).num_classes),
        weights={key: value for key, value in dataclasses.asdict(known).items() if key not in _ELSEWHERE},
    )
