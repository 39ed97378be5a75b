# make demo: the whole job on the bundled model and data.  make test: everything CI runs.
# Both make their own virtual environment in .venv and need nothing but Python 3.11 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL ?= $(wildcard ../shared/real)
MODELOPT ?=

# Tests start oq some 200 times: its modules are compiled once, even where a shell says otherwise.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test soak bench bench-accuracy results public train clean

demo: $(VENV)/.core
	$(BIN)/oq demo -o out/demo

test: $(VENV)/.dev
	@echo "1 of 3: style (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "2 of 3: types (mypy --strict)"
	@$(BIN)/mypy
	@echo "3 of 3: tests, one worker per core$(if $(REAL),, (those on real models are skipped: no REAL folder))"
	@OQ_REAL=$(abspath $(REAL)) $(BIN)/python -m pytest -q -n auto --dist loadgroup --no-loadscope-reorder

# The tests that take a sample in "make test", whole: ONNX's backend suite, 2,000 random graphs, 20 kills, every light
# model for every target, every model through every format of oq deploy.
soak: $(VENV)/.dev
	@OQ_SOAK=1 $(BIN)/python -m pytest -q -n auto --dist load \
		tests/test_onnx_suite.py tests/test_fuzz.py tests/test_interrupted.py tests/test_light_models.py \
		tests/deployment/test_every_model.py

bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks --real "$(REAL)" --modelopt "$(MODELOPT)"

results: $(VENV)/.dev
	$(BIN)/python -m benchmarks.results --real "$(REAL)"

public: $(VENV)/.dev
	$(BIN)/python -m benchmarks.public --folder out/public

bench-accuracy: $(VENV)/.dev
	$(BIN)/python -m benchmarks.draws --real "$(REAL)"
	$(BIN)/python -m benchmarks.accuracy --real "$(REAL)" --learned

train: $(VENV)/.dev
	$(BIN)/python -m models.train

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml
	@echo "installing oq into $(VENV)"
	$(BIN)/python -m pip install --quiet -e .
	touch $@

# torch first and pinned: a looser requirement may pull gigabytes of GPU libraries.
$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "installing oq with every extra into $(VENV): some minutes, once"
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e '.[all,dev]'
	touch $(VENV)/.core $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
