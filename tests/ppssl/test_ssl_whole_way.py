"""Trainings through the tools: what they record, save and resume, and two processes against one."""

import json

import numpy as np
import pytest
from killing import train_and_kill
from ssl_configs import ALLOW, METHODS, STEPS, records, train, written

from ppcore.io import sha256
from ppcore.weights.files import read

LOGGED = {
    "dino": {"teacher_entropy", "divergence", "center_norm"},
    "simclr": {"contrast_accuracy", "feature_std"},
    "fixmatch": {"labelled_loss", "unlabelled_loss", "kept", "kept_right"},
    "pseudo": {"labelled_loss", "unlabelled_loss", "kept", "kept_right", "unlabelled_weight"},
}
MEASURED = {
    "dino": {"knn5", "knn5_top5", "linear", "linear_lr"},
    "simclr": {"knn5"},
    "fixmatch": {"top1"},
    "pseudo": {"top1"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every method's run from beginning to end."""
    folders = {}
    for method in METHODS:
        folders[method] = tmp_path_factory.mktemp(method)
        train(written(method, folders[method]))
    return folders


def last(folder):
    return folder / "run" / "checkpoints" / f"step_{STEPS}"


@pytest.mark.parametrize("method", METHODS)
def test_records(runs, method):
    steps = records(runs[method] / "run", "train")
    assert [record["step"] for record in steps] == list(range(1, STEPS + 1))
    for record in steps:
        assert LOGGED[method] <= set(record)
        assert all(np.isfinite(record[name]) for name in LOGGED[method])
    found = records(runs[method] / "run", "eval")[-1]
    assert MEASURED[method] <= set(found)
    assert found["n"] == 60


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_bit_for_bit(runs, tmp_path, method):
    """Teacher, centre, velocities and averages included."""
    file = written(method, tmp_path)
    train_and_kill(tmp_path / "run", "-c", file, *ALLOW, at=3, last=STEPS)
    assert "resumed from step_" in train(file)
    kept = sorted(path.name for path in last(runs[method]).glob("*.safetensors"))
    assert "optimizer.safetensors" in kept
    assert ("networks.safetensors" in kept) == (method in ("dino", "simclr"))
    for name in kept:
        assert sha256(last(tmp_path) / name) == sha256(last(runs[method]) / name), name


def test_dinos_parts(runs):
    """The teacher is what is saved as the model; the student, both heads and the centre stand beside it."""
    teacher, others = (read(last(runs["dino"]) / f"{name}.safetensors") for name in ("weights", "networks"))
    assert {f"student.backbone.{name}" for name in teacher} < set(others)
    assert (others["criterion.center"] != 0).all()
    assert (others["teacher.head.last_layer.weight_g"] == 1).all()
    for name, array in teacher.items():
        assert 0 < np.abs(array - others[f"student.backbone.{name}"]).max() < 0.05, name
    kept = read(last(runs["dino"]) / "optimizer.safetensors")
    assert {key.split("|")[1].split(".")[0] for key in kept} == {"student"}
    # Adam has counted 5 updates of the last layer, which was frozen for 3 of 8.
    powers = {key.split("|")[1]: float(kept[key].item()) for key in kept if key.split("|")[2].startswith("beta1_pow")}
    assert powers["student.head.last_layer.weight_v"] == pytest.approx(0.9**6, rel=1e-5)
    assert powers["student.backbone.norm.weight"] == pytest.approx(0.9**9, rel=1e-5)


def test_the_last_layer_stays_while_it_is_frozen(runs):
    """Neither gradient nor decay moves it."""
    steps = records(runs["dino"] / "run", "train")
    assert steps[0]["lr"] == 0.0
    assert steps[1]["lr"] == pytest.approx(1e-3)
    assert steps[0]["center_norm"] == 0
    assert all(record["center_norm"] > 0 for record in steps[1:])
    for record in steps:
        assert record["loss"] == pytest.approx(record["teacher_entropy"] + record["divergence"], rel=1e-4)


def test_unlabelled_weight_ramps(runs):
    weights = [record["unlabelled_weight"] for record in records(runs["pseudo"] / "run", "train")]
    np.testing.assert_allclose(weights, [0, 0, 0.6, 1.2, 1.8, 2.4, 3, 3], rtol=1e-9, atol=0)
    for record in records(runs["pseudo"] / "run", "train"):
        total = record["labelled_loss"] + record["unlabelled_weight"] * record["unlabelled_loss"]
        assert record["loss"] == pytest.approx(total, rel=1e-5)
        assert record["kept"] == 1


def test_both_weights_of_fixmatch_are_evaluated(runs):
    assert {record["weights"] for record in records(runs["fixmatch"] / "run", "eval")} == {"model", "ema"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dino", "simclr"])
def test_two_processes_match_one(tmp_path, method):
    """Gathered negatives, batch norms of all processes, a centre of all outputs."""
    file = written(method, tmp_path)
    options = ["Global.duration={steps: 20}", "Global.save_every={steps: 20}", "Global.eval_every={steps: 20}"]
    if method == "dino":
        options.append("Task.student={}")  # stochastic depth draws for each process
    train(file, *options)
    train(file, *options, f"Global.output_dir={tmp_path / 'two'}", launch=2, log_dir=tmp_path / "log")
    for name in ("weights", "networks"):
        ours, theirs = (
            read(tmp_path / folder / "checkpoints" / "step_20" / f"{name}.safetensors") for folder in ("run", "two")
        )
        assert ours.keys() == theirs.keys()
        for key in ours:
            if "qkv.bias" not in key:
                assert np.abs(ours[key] - theirs[key]).max() < 1e-5, key
    moved = [record["loss"] for record in records(tmp_path / "run", "train")]
    assert abs(moved[-1] - moved[0]) > 0.01, "nothing was trained"
    first, second = (records(tmp_path / folder, "eval")[-1] for folder in ("run", "two"))
    assert first["n"] == second["n"] == 60
    assert first["knn5"] == pytest.approx(second["knn5"], abs=1.5 / 60)


@pytest.mark.parametrize("method", ["dino", "simclr"])
def test_an_encoder_goes_on_as_a_classifier(runs, tmp_path, method):
    """Strictly: only the head is missing; without a new one it is refused by name."""
    import ppcore.weights
    from ppcore.errors import WeightsError
    from ppvit import VisionTransformer

    model = VisionTransformer(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=10)
    file = last(runs[method]) / "weights.safetensors"
    with pytest.raises(WeightsError, match=r"missing head\.\w+, head\.\w+ \(new_head"):
        ppcore.weights.load(model, file)
    notes = ppcore.weights.load(model, file, new_head=True)
    assert [note.partition(":")[0] for note in notes] == ["head"]
    np.testing.assert_array_equal(model.blocks[1].mlp.fc1.weight.numpy(), read(file)["blocks.1.mlp.fc1.weight"])


def test_evaluated_as_training_did(runs, tmp_path, tool):
    done = tool(
        "eval",
        "-c",
        runs["dino"] / "dino.yaml",
        *ALLOW,
        "--weights",
        last(runs["dino"]),
        "--json",
        tmp_path / "found.json",
    )
    assert done.returncode == 0, done.stderr
    found, recorded = json.loads((tmp_path / "found.json").read_text()), records(runs["dino"] / "run", "eval")[-1]
    assert {name: found[name] for name in MEASURED["dino"]} == {name: recorded[name] for name in MEASURED["dino"]}


def test_the_teacher_is_exported(runs, tool):
    """Its backbone, at the size of its position embedding."""
    pytest.importorskip("paddle2onnx")
    done = tool("export_model", "-c", runs["dino"] / "dino.yaml", *ALLOW, "--weights", last(runs["dino"]))
    assert done.returncode == 0, done.stderr
    assert "paddle agrees with the model" in done.stderr
    assert "onnx agrees with the model" in done.stderr
