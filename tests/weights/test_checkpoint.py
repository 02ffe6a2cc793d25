"""Checkpoints: what is restored is what was saved, and a kill leaves the last complete one."""

import errno
import json
import os
import shutil

import numpy as np
import paddle
import pytest
from checkpointed import assert_same, everything

from ppcore import optim
from ppcore.ema import EMA
from ppcore.errors import CheckpointError
from ppcore.weights import checkpoints as module
from ppcore.weights.checkpoints import Checkpoints, find_weights, read_state, restore
from ppcore.weights.training_state import OPTIMIZERS, TrainingState
from ppvit import VisionTransformer

TINY = dict(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=3)


class Run:
    """A model, its optimiser and its average, a few steps in."""

    def __init__(self, steps: int = 3, factory=optim.AdamW, seed: int = 0, **extra):
        paddle.seed(seed)
        self.model = VisionTransformer(**TINY)
        self.optimizer = optim.make(
            self.model, factory, weight_decay=0.1, no_weight_decay=["1d", "pos_embed", "cls_token"], **extra
        )
        self.ema = EMA(self.model, 0.9)
        for step in range(steps):
            self.step(step)

    def step(self, step: int) -> None:
        image = np.random.default_rng(step).standard_normal((4, 3, 8, 8)).astype("float32")
        self.optimizer.set_lr(0.01 * (step + 1))
        self.model(paddle.to_tensor(image)).square().mean().backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.ema.update()

    def training(self, ema: bool = True) -> TrainingState:
        return TrainingState(self.model, self.model, {"model": self.optimizer}, self.ema if ema else None)

    def arrays(self) -> dict[str, np.ndarray]:
        return everything(self.training())


def damage(path, name="weights.safetensors"):
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(bytes(content))


@pytest.fixture
def run():
    return Run()


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("factory", "extra"),
        [(optim.AdamW, {}), (optim.Momentum, {"momentum": 0.8}), (optim.Lamb, {}), (optim.SGD, {})],
    )
    def test_a_restored_run_continues_bit_for_bit(self, tmp_path, factory, extra):
        one = Run(3, factory, **extra)
        saved = Checkpoints(tmp_path).save(3, one.training(), state={"best": {"top1": 0.5}})
        VisionTransformer(**TINY)  # shifts Paddle's own parameter names
        paddle.nn.Linear(3, 3)
        other = Run(0, factory, seed=9, **extra)
        names = [[p.name for p in r.model.parameters()] for r in (one, other)]
        assert set(names[0]).isdisjoint(names[1])
        state = restore(saved, other.training())
        assert state == {"step": 3, "best": {"top1": 0.5}, "evaluated": False}
        for kind in ("model/", "ema/"):  # Paddle 2.6 shows restored accumulators after the next step only
            of_kind = [{k: a for k, a in r.arrays().items() if k.startswith(kind)} for r in (other, one)]
            assert_same(*of_kind)
        for step in (3, 4):
            one.step(step)
            other.step(step)
        assert_same(other.arrays(), one.arrays())

    def test_accumulators_have_structured_names(self, run):
        names = set(run.training().arrays()[OPTIMIZERS])
        assert {
            "model|blocks.0.norm1.weight|moment1_0",
            "model|cls_token|moment2_0",
            "model|head.bias|beta1_pow_acc_0",
        } <= names
        moments = [name for name in names if name.endswith("|moment1_0")]
        assert len(moments) == len(run.model.parameters())

    def test_without_ema(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(3, run.training(ema=False), state={})
        assert not (saved / "ema.safetensors").exists()
        with pytest.raises(CheckpointError, match="EMA is on"):
            restore(saved, run.training())
        other = Run(0, seed=4)
        restore(saved, other.training(ema=False))
        np.testing.assert_array_equal(other.model.head.weight.numpy(), run.model.head.weight.numpy())

    def test_an_average_the_run_does_not_want(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(3, run.training(), state={})
        with pytest.raises(CheckpointError, match="EMA is off"):
            restore(saved, run.training(ema=False))

    def test_another_model_is_refused(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(3, run.training(), state={})
        other = VisionTransformer(**{**TINY, "num_classes": 4})
        before = {name: t.numpy().copy() for name, t in other.state_dict().items()}
        optimizer = optim.make(other, optim.AdamW, weight_decay=0.0, no_weight_decay=[])
        with pytest.raises(CheckpointError, match=r"head\.bias, head\.weight"):
            restore(saved, TrainingState(other, other, {"model": optimizer}, EMA(other, 0.9)))
        for name, t in other.state_dict().items():
            np.testing.assert_array_equal(t.numpy(), before[name])


class TestWhichAreKept:
    def test_the_newest_and_the_best(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path, keep=2)
        for step in (2, 4, 6, 8, 10):
            checkpoints.save(step, run.training(), state={})
            checkpoints.record_evaluation(step, "model", {"step": min(step, 4)})
        kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
        assert kept == ["best", "latest", "step_10", "step_4", "step_8"]
        assert checkpoints.pointed("latest").name == "step_10"
        assert checkpoints.pointed("best").name == "step_4"
        assert checkpoints.newest().name == "step_10"  # by number, not by letters

    def test_a_new_best_frees_the_old(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path, keep=1)
        for step in (1, 2, 3):
            checkpoints.save(step, run.training(), state={})
            checkpoints.record_evaluation(step, "model", {"step": min(step, 2)})
        assert sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*")) == ["step_2", "step_3"]

    def test_saving_a_step_again_leaves_it_as_it_is(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path)
        first = checkpoints.save(5, run.training(), state={"n": 1})
        before = (first / "manifest.json").stat().st_mtime_ns
        checkpoints.save(5, run.training(), state={"n": 1})
        assert (first / "manifest.json").stat().st_mtime_ns == before

    def test_a_damaged_newer_folder_does_not_push_out_the_good_one(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path, keep=1)
        checkpoints.save(1, run.training(), state={})
        damage(checkpoints.save(9, run.training(), state={}))
        again = Checkpoints(tmp_path, keep=1)
        again.save(2, run.training(), state={})
        assert again.newest().name == "step_2"

    def test_an_evaluation_is_added_to_what_is_saved(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path)
        saved = checkpoints.save(5, run.training(), state={"weights": "model", "best": None})
        assert not read_state(saved)["evaluated"]
        checkpoints.record_evaluation(5, "ema", {"step": 5, "top1": 0.5})
        assert checkpoints.is_complete(saved)
        state = read_state(saved)
        assert (state["evaluated"], state["weights"], state["best"]["top1"]) == (True, "ema", 0.5)
        assert checkpoints.pointed("best") == saved

    def test_nothing_yet(self, tmp_path):
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.newest() is None
        assert checkpoints.pointed("latest") is None


class TestKilled:
    def test_while_files_are_written(self, tmp_path, run, monkeypatch):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, run.training(), state={})
        # A kill before the rename: the folder beside stays, the target is not there.
        monkeypatch.setattr(os, "replace", _killed_when(os.replace, "step_2"))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(2, run.training(), state={})
        monkeypatch.undo()
        left = list((tmp_path / "checkpoints").glob(".step_2.*.tmp"))
        assert len(left) == 1
        again = Checkpoints(tmp_path)
        assert again.newest().name == "step_1"
        assert again.pointed("latest").name == "step_1"
        again.save(2, run.training(), state={})
        assert again.newest().name == "step_2"
        assert not left[0].exists()

    def test_between_rename_and_pointer(self, tmp_path, run, monkeypatch):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, run.training(), state={})
        monkeypatch.setattr(os, "replace", _killed_when(os.replace, "latest"))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(2, run.training(), state={})
        monkeypatch.undo()
        assert checkpoints.newest().name == "step_2"  # whole, though not pointed to
        assert checkpoints.pointed("latest").name == "step_1"

    def test_between_an_evaluation_and_its_pointer(self, tmp_path, run, monkeypatch):
        checkpoints = Checkpoints(tmp_path)
        for step in (1, 2):
            checkpoints.save(step, run.training(), state={"weights": "model", "best": None})
            if step == 2:
                monkeypatch.setattr(os, "replace", _killed_when(os.replace, "best"))
                with pytest.raises(KeyboardInterrupt):
                    checkpoints.record_evaluation(2, "model", {"step": 2, "top1": 0.9})
                monkeypatch.undo()
            else:
                checkpoints.record_evaluation(1, "model", {"step": 1, "top1": 0.1})
        assert checkpoints.pointed("best").name == "step_1"
        assert find_weights(tmp_path).path.parent.name == "step_2"  # as it was recorded
        checkpoints.point_to_best(read_state(checkpoints.newest())["best"])  # what resuming does
        assert checkpoints.pointed("best").name == "step_2"

    def test_a_folder_without_a_manifest_is_passed_over(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, run.training(), state={})
        second = checkpoints.save(2, run.training(), state={})
        (second / "manifest.json").unlink()
        assert checkpoints.newest().name == "step_1"
        # Reaching the step again replaces what is incomplete.
        checkpoints.save(2, run.training(), state={})
        assert checkpoints.newest().name == "step_2"

    @pytest.mark.parametrize(
        "harm",
        [
            damage,
            lambda path: damage(path, "optimizer.safetensors"),
            lambda path: damage(path, "ema.safetensors"),
            lambda path: (path / "state.json").unlink(),
            lambda path: (path / "manifest.json").write_text("{"),
            lambda path: (path / "manifest.json").write_text("[]"),
            lambda path: (path / "manifest.json").write_text("{}"),
            lambda path: os.truncate(path / "weights.safetensors", 10),
        ],
    )
    def test_damage_of_any_file_is_noticed(self, tmp_path, run, harm):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, run.training(), state={})
        second = checkpoints.save(2, run.training(), state={})
        harm(second)
        assert not checkpoints.is_complete(second)
        assert checkpoints.newest().name == "step_1"

    def test_every_checkpoint_damaged(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path)
        for step in (1, 2):
            damage(checkpoints.save(step, run.training(), state={}))
        with pytest.raises(CheckpointError, match="every checkpoint is damaged") as raised:
            checkpoints.newest()
        assert str(tmp_path) in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_the_manifest_lists_every_file(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(1, run.training(), state={})
        listed = set(json.loads((saved / "manifest.json").read_text()))
        assert listed == {p.name for p in saved.iterdir()} - {"manifest.json"}
        assert listed == {"weights.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json"}


def _killed_when(replace, name):
    """os.replace that dies when the target is called `name`."""

    def dying(source, target):
        if os.path.basename(target) == name:
            raise KeyboardInterrupt
        replace(source, target)

    return dying


class TestFindWeights:
    def test_a_file_is_itself(self, tmp_path):
        assert find_weights(tmp_path / "x.safetensors").path == tmp_path / "x.safetensors"

    def test_a_run_that_was_not_evaluated_gives_its_latest(self, tmp_path, run):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, run.training(), state={"weights": "ema"})
        second = checkpoints.save(2, run.training(), state={"weights": "model"})
        found = find_weights(tmp_path)
        assert found.path == second / "weights.safetensors"
        assert "latest" in found.why

    @pytest.mark.parametrize(("weights", "file"), [("model", "weights.safetensors"), ("ema", "ema.safetensors")])
    def test_what_the_evaluation_says_is_taken(self, tmp_path, run, weights, file):
        checkpoints = Checkpoints(tmp_path)
        first = checkpoints.save(1, run.training(), state={"weights": "model"})
        checkpoints.record_evaluation(1, weights, {"step": 1, "top1": 0.8, "weights": weights})
        second = checkpoints.save(2, run.training(), state={"weights": weights})
        checkpoints.record_evaluation(2, weights, {"step": 1, "top1": 0.8, "weights": weights})
        assert find_weights(tmp_path).path == first / file
        assert "step 1, top1 0.8000" in find_weights(tmp_path).why
        assert find_weights(second).path == second / file
        assert find_weights(tmp_path / "checkpoints" / "latest").path == second / file

    def test_damaged_weights_are_not_used(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(1, run.training(), state={"weights": "model"})
        damage(saved)
        with pytest.raises(CheckpointError, match="damaged"):
            find_weights(tmp_path)

    def test_nothing_there(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        with pytest.raises(CheckpointError, match="no checkpoint"):
            find_weights(tmp_path)

    def test_a_pointer_to_a_removed_folder(self, tmp_path, run):
        saved = Checkpoints(tmp_path).save(1, run.training(), state={})
        shutil.rmtree(saved)
        with pytest.raises(CheckpointError, match="no checkpoint"):
            find_weights(tmp_path)


def test_a_full_disk_leaves_what_was_there(tmp_path, run, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, run.training(), state={})

    def full(path, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_arrays", full)
    with pytest.raises(CheckpointError, match=r"step_2: cannot be written: No space left on device"):
        checkpoints.save(2, run.training(), state={})
    assert checkpoints.newest().name == "step_1"
    assert not list((tmp_path / "checkpoints").glob(".step_*"))
