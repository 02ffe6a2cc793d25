# The two commands: `make reproduce` and `make test`. Both set up everything in a virtual environment
# the first time and need no network after that.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEVICE ?= cpu
PAPER ?= vit
comma := ,
# Optional real data (see README): used when the folder exists.
DATA ?= $(or $(PP_DATA_DIR),../shared/data)
VENV ?= .venv$(if $(filter gpu,$(DEVICE)),-gpu)
VENV26 ?= .venv-paddle26
# The engines of exported models run on CPUs; beside the GPU wheel they can be installed by hand.
EXTRAS := $(DEVICE),test$(if $(filter cpu,$(DEVICE)),$(comma)deploy)
# The GPU wheel on PyPI is Paddle 2.6.2.
CONSTRAINTS := constraints/$(if $(filter gpu,$(DEVICE)),paddle26,cpu).txt

export PP_DATA_DIR := $(abspath $(wildcard $(DATA)))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: reproduce test test-paddle26 test-reference test-slow test-gpu lint format clean

reproduce: $(VENV)/installed
	$(VENV)/bin/python tools/reproduce.py $(PAPER) --device $(DEVICE)

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest

# The release that PyPI's GPU wheel has: models, layers, weights and the rest of the core.
test-paddle26: $(VENV26)/installed
	$(VENV26)/bin/python -m pytest tests/layers tests/ppcore tests/ppvit tests/ppdeit tests/ppuhdfour tests/golden tests/data tests/engine

# Against torch and transformers. Elsewhere than on a CPU-only index, torch from PyPI brings CUDA with it.
test-reference: $(VENV)/installed-reference
	$(VENV)/bin/python -m pytest tests/reference -m reference

test-slow: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m slow

test-gpu: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m gpu

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/installed: setup.py $(CONSTRAINTS)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -c $(CONSTRAINTS) -e ".[$(EXTRAS)]"
	touch $@

$(VENV)/installed-reference: $(VENV)/installed
	$(VENV)/bin/pip install --quiet -c $(CONSTRAINTS) -e ".[$(EXTRAS),reference]"
	touch $@

$(VENV26)/installed: setup.py constraints/paddle26.txt
	test -d $(VENV26) || $(PYTHON) -m venv $(VENV26)
	$(VENV26)/bin/pip install --quiet -c constraints/paddle26.txt -e ".[cpu26,test]"
	touch $@

clean:
	rm -rf .venv .venv-gpu $(VENV26) output
