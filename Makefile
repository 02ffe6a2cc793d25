# The two commands: `make reproduce` and `make test`. Both set up everything in a virtual environment
# the first time and need no network after that.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEVICE ?= cpu
PAPER ?= vit
comma := ,
# Optional real data (see README): used when the folder exists.
DATA ?= $(or $(PP_DATA_DIR),../shared/data)
# With DEVICE=gpu: the wheel, and its index beside PyPI. tools/gpu_setup.py says which fits the cards: PyPI's
# Paddle 2.6.2, or a Paddle 3 of PaddlePaddle's own index. Each gets an environment of its own.
PADDLE ?= paddlepaddle-gpu==2.6.2
PADDLE_INDEX ?=
ON_GPU := $(filter gpu,$(DEVICE))
PADDLE2 := $(findstring ==2.,$(PADDLE))
WHEEL := $(notdir $(subst =,,$(subst paddlepaddle-gpu,,$(PADDLE))))$(if $(PADDLE_INDEX),-$(notdir $(PADDLE_INDEX:/=)))
VENV ?= .venv$(if $(ON_GPU),-gpu$(if $(filter-out 2.6.2,$(WHEEL)),-$(WHEEL)))
VENV26 ?= .venv-paddle26
# The engines of exported models run on CPUs; beside a GPU wheel they can be installed by hand.
EXTRAS := $(if $(ON_GPU),$(if $(PADDLE2),gpu$(comma))test,cpu$(comma)test$(comma)deploy)
CONSTRAINTS := constraints/$(if $(and $(ON_GPU),$(PADDLE2)),paddle26,cpu).txt
PIP_PADDLE := "$(PADDLE)"$(if $(PADDLE_INDEX), --extra-index-url $(PADDLE_INDEX))

export PP_DATA_DIR := $(abspath $(wildcard $(DATA)))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A process of tests a core; the tests of a file stay together.
SPREAD := -n auto --dist loadfile

.PHONY: reproduce test test-paddle26 test-reference test-slow test-gpu lint format clean

reproduce: $(VENV)/installed
	$(VENV)/bin/python tools/reproduce.py $(PAPER) --device $(DEVICE)

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(SPREAD)

# The release that PyPI's GPU wheel has: models, layers, weights and the rest of the core.
test-paddle26: $(VENV26)/installed
	$(VENV26)/bin/python -m pytest $(SPREAD) $(filter-out tests/report tests/reproduce tests/benchmarks tests/reference tests/fidelity_data,$(patsubst %/,%,$(wildcard tests/*/)))

# Against torch and transformers. Elsewhere than on a CPU-only index, torch from PyPI brings CUDA with it.
test-reference: $(VENV)/installed-reference
	$(VENV)/bin/python -m pytest tests/reference -m reference

test-slow: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m slow $(TESTS)

test-gpu: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m gpu

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/installed: setup.py $(CONSTRAINTS)
ifdef ON_GPU
	$(PYTHON) tools/gpu_setup.py wheel --paddle "$(PADDLE)" --index "$(PADDLE_INDEX)"
endif
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -c $(CONSTRAINTS) $(if $(ON_GPU),$(PIP_PADDLE)) -e ".[$(EXTRAS)]"
ifdef ON_GPU
	$(VENV)/bin/python tools/gpu_setup.py kernels
endif
	touch $@

$(VENV)/installed-reference: $(VENV)/installed
	$(VENV)/bin/pip install --quiet -c $(CONSTRAINTS) -e ".[$(EXTRAS),reference]"
	touch $@

$(VENV26)/installed: setup.py constraints/paddle26.txt
	test -d $(VENV26) || $(PYTHON) -m venv $(VENV26)
	$(VENV26)/bin/pip install --quiet -c constraints/paddle26.txt -e ".[cpu26,test]"
	touch $@

clean:
	rm -rf .venv .venv-gpu* $(VENV26) output
