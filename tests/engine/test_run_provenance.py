"""What a run recorded of its weights, found again for cards and files."""

import json
import shutil

import yaml

from ppcore import config
from ppcore.engine.run_provenance import provenance
from ppcore.engine.train import train
from ppcore.engine.trained import load_model
from ppcore.io import sha256
from ppcore.weights.file_export import save_file


def known(path, *overrides, weights=None):
    settings = config.load(path, overrides)
    model, used = load_model(settings, weights)
    return model, provenance(settings, used, model=model)


def test_a_run_and_what_is_trained_on_from_it(tmp_path, tiny_config):
    first = train(config.load(tiny_config))
    model, found = known(tiny_config, "Export.licence=mit")
    best = tmp_path / f"run/checkpoints/step_{first.best['step']}/weights.safetensors"
    assert found.sha256 == sha256(best)
    assert (found.licence, found.origin, found.started_from) == ("mit", None, None)
    assert found.run["name"] == "run"
    assert found.run["step"] == first.best["step"]
    top1 = found.metrics[0]
    assert (top1["key"], top1["unit"], top1["n"]) == ("top1", "%", 360)
    assert abs(top1["value"] - 100 * first.best["top1"]) < 1e-9
    assert "Digits(split=test)" in top1["protocol"]
    assert found.training_data["images"] == 1437
    assert found.classes == [str(i) for i in range(10)]
    assert yaml.safe_load(found.config)["Arch"]["embed_dim"] == 16
    json.dumps(found.to_json())

    # What the run measured is not said of another network, or of images prepared otherwise.
    _, other = known(tiny_config, "Arch.act=relu")
    assert other.changes == ["the network is built otherwise than the run's: Arch.act"]
    assert other.metrics == []
    _, other = known(tiny_config, "DataLoader.Eval.transforms.normalize.std=[0.4, 0.4, 0.4]")
    assert other.changes == ["images are prepared otherwise than the run's: DataLoader.Eval.transforms"]
    assert (other.metrics, found.changes) == ([], [])

    # The file is exported, and another run starts from it.
    save_file(model, tmp_path / "first.safetensors", "timm", found)
    start = f"Global.pretrained={{path: {tmp_path / 'first.safetensors'}, source: timm}}"
    again = ["Global.output_dir=" + str(tmp_path / "second"), start]
    train(config.load(tiny_config, again))
    model, found = known(tiny_config, *again, "Export.origin=us")
    assert (found.licence, found.origin) == (None, "us")  # what it started from does not decide it
    assert found.started_from["licence"] == "mit"
    assert found.started_from["sha256"] == sha256(tmp_path / "first.safetensors")
    # A third run from the second one's folder takes the chain along.
    third = ["Global.output_dir=" + str(tmp_path / "third"), f"Global.pretrained={tmp_path / 'second'}"]
    train(config.load(tiny_config, third))
    _, found = known(tiny_config, *third)
    assert found.started_from["started_from"]["licence"] == "mit"

    # A checkpoint copied without its run's records, in folders of the same names.
    copied = tmp_path / "elsewhere" / "checkpoints" / best.parent.name
    shutil.copytree(best.parent, copied)
    _, found = known(tiny_config, weights=str(copied))
    assert (found.run, found.metrics, found.sha256) == (None, [], sha256(best))
    assert found.classes == [str(i) for i in range(10)]

    # A file by itself: no run, no measurement, and nothing made up.
    _, found = known(tiny_config, weights={"path": str(tmp_path / "first.safetensors"), "source": "timm"})
    assert (found.run, found.training_data, found.metrics, found.licence) == (None, None, [], "mit")
