# The front door. `make demo` and `make test` set up everything they need in .venv; a second run installs nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Real radar patches for the demonstration: a folder as described in docs/data.md, where there is one.
DATA ?= $(if $(SARHUB_TEST_DATA),$(wildcard $(SARHUB_TEST_DATA)/data/dsn))
OUT ?= outputs
# MMCV is compiled once for each release of PyTorch and Python; its wheels stay here.
MM_WHEELS ?= $(HOME)/.cache/sarhub-models/wheels
MM_TESTS = $(shell grep -rl --include='test_*.py' -E 'importorskip..(mmcv|pycocotools)' tests) sarhub_models/integrations/mm.py

# The oldest releases that pyproject.toml promises, in an environment of their own, for the tests of the core.
LOWEST := .venv-lowest
CORE_TESTS = tests/zoo tests/networks tests/weights tests/transforms tests/models

.PHONY: help demo check test test-lowest test-mm lint docs renew fuzz bench build clean

help:
	@echo "make demo    set up, then features of radar chips and what they are good for (DATA=folder of real patches)"
	@echo "make check   lint, types, documentation and the tests that are not slow: before every commit"
	@echo "make test    set up, then the tests (ARGS='-k weights' passes arguments to pytest)"
	@echo "make test-mm adds MMDetection and MMSegmentation to .venv (MM_WHEELS=folder of MMCV's wheels), then their tests"
	@echo "make test-lowest  the core's tests with the oldest supported releases of torch, timm, huggingface_hub, ..."
	@echo "make lint    ruff and mypy"
	@echo "make docs    the documentation, to docs/_build/html"
	@echo "make renew   what is generated from the code: tests/public_api.txt and the schema's enums"
	@echo "make fuzz    changed files of every kind, for MINUTES (default 120); what breaks a reader goes to $(OUT)/fuzz"
	@echo "make bench   speed, beside named peers; tables to $(OUT)/speed"
	@echo "make build   source distribution and wheel, to dist/"

# One stamp per set of extras, renewed when pyproject.toml changes.
$(VENV)/.ready-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

demo: $(VENV)/.ready-demo
	$(BIN)/sarhub demo $(if $(DATA),--data $(DATA)) --out $(OUT)/demo

# One thread per worker: the workers share the cores.
test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

# The two parts that use one core run side by side; the tests share the cores.
check: $(VENV)/.ready-dev
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m 'not slow' -q $(ARGS)

# The lower bounds of [project] dependencies become exact versions. Old releases warn of what newer ones changed.
# Export and the engine are extras with bounds of their own: ONNX needs a newer torch, and says so.
$(LOWEST)/.ready: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	sed -n '/^dependencies/,/^]/s/.*"\(.*\)>=\(.*\)",/\1==\2/p' pyproject.toml > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt \
		--editable . pytest pytest-xdist hypothesis jsonschema segmentation-models-pytorch
	touch $@

test-lowest: $(LOWEST)/.ready
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n auto -W ignore::DeprecationWarning \
		$(CORE_TESTS) $(addprefix --ignore tests/models/,test_export.py test_whole.py test_own_weights.py test_descriptions.py) $(ARGS)

# On the CPU, which MMCV was compiled for.
test-mm: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.mm.install --cache $(MM_WHEELS)
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(MM_TESTS) $(ARGS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready-dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

renew: $(VENV)/.ready-dev
	$(BIN)/python -m tests.renew

fuzz: $(VENV)/.ready-dev
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),120) --out $(OUT)/fuzz

bench: $(VENV)/.ready-dev
	mkdir -p $(OUT)/speed
	$(BIN)/python -m benchmarks.speed.startup --json $(OUT)/speed/startup.json
	$(BIN)/python -m benchmarks.speed.loading --json $(OUT)/speed/loading.json
	$(BIN)/python -m benchmarks.speed.draa --json $(OUT)/speed/draa.json
	$(BIN)/python -m benchmarks.speed.training --json $(OUT)/speed/training.json
	$(BIN)/python -m benchmarks.speed.explain --json $(OUT)/speed/explain.json
	$(BIN)/python -m benchmarks.speed.scenes --json $(OUT)/speed/scenes.json
	$(BIN)/python -m benchmarks.speed.clusters --json $(OUT)/speed/clusters.json
	@if $(BIN)/python -c 'import mmcv' 2>/dev/null; then $(BIN)/python -m benchmarks.speed.mm --json $(OUT)/speed/mm.json; \
	else echo "left out, as make test-mm has not set the MM packages up: benchmarks.speed.mm"; fi

build: $(VENV)/.ready-dev
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) $(LOWEST) $(OUT) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
