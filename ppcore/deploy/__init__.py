"""Exported models: what is written (`form`, `manifest`, `onnx_file`, `paddle_file`) and what runs them (one file an engine).

The public modules are `ppcore.deploy.export` and `ppcore.deploy.predictor`.
"""
