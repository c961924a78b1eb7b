# Everything runs in a virtual environment of its own: .venv, made on first use.
PYTHON ?= python3
VENV := .venv
# Which torch is installed, such as TORCH=torch==2.13.0 or the path of a wheel. Empty: the newest that pyproject.toml allows.
TORCH ?=
BIN := $(VENV)/bin
# One thread for each of two processes: torch's threads wait for one another, and tests are small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: setup check lint types contracts audit unit test test-torch test-lowest fuzz kills smoke bench bench-pictures bench-text clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH),$(BIN)/python -m pip install --quiet $(TORCH))
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

audit: setup  ## known holes in what is installed; says so where no database of them can be reached
	$(BIN)/python .ci/audit.py

unit: setup
	$(PYTEST) tests/unit tests/contract

test: setup  ## everything; with MAQUETTE_DATA set, on real data too
	$(PYTEST) tests

test-torch:  ## everything, on the torch of VERSION=2.14.1, say, in an environment of its own
	$(if $(VERSION),,$(error Say which torch: make test-torch VERSION=2.14.1))
	$(MAKE) setup VENV=.venv-torch-$(VERSION) TORCH=torch==$(VERSION)
	.venv-torch-$(VERSION)/bin/python -c "import torch; assert torch.__version__.startswith('$(VERSION)'), \
	  f'pyproject.toml does not allow it: torch {torch.__version__} was installed'"
	$(MAKE) test VENV=.venv-torch-$(VERSION)

test-lowest:  ## unit and contract tests, on the oldest releases that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv $(TORCH)
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	touch .venv-lowest/installed
	$(MAKE) unit VENV=.venv-lowest

fuzz: setup  ## mutates every file of small runs, TRIES times a file and verb; says how long it took: hours
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m fuzz --tries $(or $(TRIES),300)

kills: setup  ## kill -9 and disk errors at every change of the disk, KILLS times; half an hour
	OMP_NUM_THREADS=1 $(BIN)/python tests/kills.py --kills $(or $(KILLS),120)

smoke: setup  ## the main job, as a new user would run it
	$(BIN)/maquette demo -o runs/smoke --budget 20s

bench: setup  ## prints the tables of the documents; takes hours
	$(BIN)/python benchmarks/judge.py train
	for name in race data_preparation engine_overhead gan_mnist startup textbook_gan vae_likelihood; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-pictures: setup  ## flows, editing, few pictures, modes, likelihoods; three hours
	$(BIN)/python benchmarks/flow_mnist.py --budget 20m --out runs/bench/flow
	$(BIN)/python benchmarks/flow_mnist.py --run runs/bench/flow --sampler midpoint --steps 4 --guidance 1.2
	$(BIN)/python benchmarks/flow_mnist.py --budget 5m
	$(BIN)/maquette train image/restore --data mnist --steps 2400 -o runs/bench/restore
	$(BIN)/python benchmarks/editing_mnist.py --restore runs/bench/restore --flow runs/bench/flow
	$(BIN)/python benchmarks/few_pictures.py --steps 3000
	$(BIN)/python benchmarks/stacked_mnist.py --budget 9m
	$(BIN)/python benchmarks/stacked_mnist.py --recipe image/flow --budget 30m
	$(BIN)/maquette train image/density --data mnist --given none --budget 20m -o runs/bench/density
	$(BIN)/python benchmarks/flow_mnist.py --run runs/bench/density --steps '' --score 1000
	$(BIN)/python benchmarks/engine_overhead.py --recipe image/flow --compile
	$(BIN)/python benchmarks/ceilings.py --recipe image/flow

bench-text: setup  ## the same for text: trains each run and judges it; an hour
	$(BIN)/python benchmarks/race.py --families text/lm --seconds 180
	$(BIN)/maquette train text/lm --data "$(MAQUETTE_DATA)/tinyshakespeare" --budget 15m -o runs/bench/lm
	$(BIN)/python benchmarks/lm_shakespeare.py --run runs/bench/lm
	$(BIN)/python benchmarks/generation.py --run runs/bench/lm
	$(BIN)/maquette train text/transformer --data "$(MAQUETTE_DATA)/multi30k" --given de --target en --epochs 3.35 \
	  -o runs/bench/transformer
	$(BIN)/maquette train text/seq2seq --data "$(MAQUETTE_DATA)/multi30k" --given de --target en --epochs 6 \
	  -o runs/bench/seq2seq
	for run in transformer seq2seq; do \
	  $(BIN)/python benchmarks/translation_bleu.py --run runs/bench/$$run --split test_2016_flickr || exit 1; done

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
