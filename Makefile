# Everything runs in a virtual environment of its own: .venv, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread for each of two processes: torch's threads wait for one another, and tests are small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: setup check lint types contracts unit test smoke bench clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

check: lint types contracts unit  ## under three minutes

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

unit: setup
	$(PYTEST) tests/unit tests/contract

test: setup  ## everything; with MAQUETTE_DATA set, on real data too
	$(PYTEST) tests

smoke: setup  ## the main job, as a new user would run it
	$(BIN)/maquette demo -o runs/smoke --budget 20s

bench: setup  ## prints the tables of the documents; takes hours
	$(BIN)/python benchmarks/judge.py train
	for name in data_preparation engine_overhead gan_mnist startup textbook_gan vae_likelihood; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
