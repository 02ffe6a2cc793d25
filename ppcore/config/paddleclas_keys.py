"""PaddleClas's keys and names that are called otherwise here: what an error line answers to them."""

from fnmatch import fnmatchcase

# Key path (* stands for any part) -> what to write instead. The sections themselves carry PaddleClas's names.
KEYS = {
    "Global.pretrained_model": "Global.pretrained=FILE",
    "Global.checkpoints": "Global.output_dir=RUN: a run resumes from its own folder (Global.resume)",
    "Global.save_interval": "Global.save_every={epochs: N}",
    "Global.eval_interval": "Global.eval_every={epochs: N}",
    "Global.start_eval_epoch": "Global.eval_every={epochs: N}",
    "Global.eval_during_train": "nothing: a run evaluates where DataLoader.Eval is given",
    "Global.print_batch_step": "Global.log_every={steps: N}",
    "Global.use_visualdl": "Global.visualdl",
    "Global.image_shape": "Arch.img_size, and the crop in DataLoader.*.transforms",
    "Global.class_num": "Arch.num_classes",
    "Global.save_inference_dir": "Export.output",
    "Global.use_gpu": "Global.device",
    "Global.use_amp": "AMP.level",
    "AMP.use_amp": "AMP.level: O0 is off",
    "AMP.scale_loss": "AMP.init_loss_scaling",
    "AMP.use_dynamic_loss_scaling": "nothing: float16 is always scaled dynamically",
    "AMP.use_fp16_test": "nothing: evaluation follows AMP.level",
    "Arch.class_num": "Arch.num_classes",
    "Loss.teacher.arch.class_num": "num_classes, for a network of the suite",
    "Arch.pretrained": "Global.pretrained=FILE",
    "Arch.use_ssld": "Global.pretrained=FILE",
    "Arch.use_sync_bn": "Global.sync_batch_norm",
    "Loss.Train": "Loss: {name: ppcore.losses.CrossEntropy}, one criterion for training",
    "Loss.Eval": "nothing: evaluation measures by Metric",
    "Loss.epsilon": "Loss.label_smoothing",
    "Metric.Train": "nothing: training logs the loss",
    "Metric.Eval": "Metric: {name: ppcore.metrics.TopK, topk: [1, 5]}",
    "Optimizer.regularizer": "Optimizer.weight_decay",
    "Optimizer.one_dim_param_no_weight_decay": "Optimizer.no_weight_decay=[1d]",
    "Optimizer.no_weight_decay_name": "Optimizer.no_weight_decay=[PART_OF_A_NAME, ...]",
    "Optimizer.multi_precision": "nothing: it is always on",
    "Optimizer.lr.learning_rate": "Optimizer.lr.base_lr",
    "Optimizer.lr.warmup_epoch": "Optimizer.lr.warmup={epochs: N}",
    "Optimizer.lr.warmup_start_lr": "Optimizer.lr.warmup_lr of ppcore.schedules.TimmCosine",
    "Optimizer.lr.eta_min": "Optimizer.lr.min_lr of ppcore.schedules.TimmCosine",
    "Optimizer.lr.decay_epochs": "Optimizer.lr.milestones=[{epochs: N}, ...] of ppcore.schedules.StepDecay",
    "Optimizer.lr.values": "Optimizer.lr.gamma of ppcore.schedules.StepDecay",
    "DataLoader.*.sampler": "batch_size beside dataset (over all cards); training shuffles, evaluation does not",
    "DataLoader.*.loader": "num_workers beside dataset",
    "DataLoader.*.dataset.image_root": "root, or ppcore.data.FileList, which takes it",
    "DataLoader.*.dataset.cls_label_path": "ppcore.data.FileList, which takes it",
    "DataLoader.*.dataset.transform_ops": "transforms beside dataset, a mapping of named steps",
    "DataLoader.*.dataset.batch_transform_ops": "batch_transforms beside dataset, a mapping of named steps",
    "Infer.infer_imgs": "Infer.input",
    "Infer.transforms": "nothing: DataLoader.Eval.transforms prepare the images",
    "Infer.PostProcess": "Infer.topk and Infer.class_names",
}

# Bare name of a component -> its name here.
NAMES = {
    "CELoss": "ppcore.losses.CrossEntropy",
    "AdamW": "ppcore.optim.AdamW",
    "Adam": "ppcore.optim.Adam",
    "Lamb": "ppcore.optim.Lamb",
    "Momentum": "ppcore.optim.Momentum",
    "SGD": "ppcore.optim.SGD",
    "Cosine": "ppcore.schedules.TimmCosine",
    "Constant": "ppcore.schedules.Constant",
    "Piecewise": "ppcore.schedules.StepDecay",
    "Step": "ppcore.schedules.StepDecay",
    "MultiStepDecay": "ppcore.schedules.StepDecay",
    "ImageNetDataset": "ppcore.data.FileList",
    "TopkAcc": "ppcore.metrics.TopK",
}


def answer(path: str) -> str:
    """` (PaddleClas's; here: …)` for a key path of PaddleClas's, else an empty string."""
    for pattern, ours in KEYS.items():
        if fnmatchcase(path, pattern):
            return f" (PaddleClas's key; here: {ours})"
    return ""


def answer_name(name: object) -> str:
    """` (PaddleClas's; here: …)` for the name of a component of PaddleClas's, else an empty string."""
    return f" (PaddleClas's name; here: {NAMES[name]})" if isinstance(name, str) and name in NAMES else ""
