# Two commands do all set-up: `make quickstart` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export OMP_WAIT_POLICY ?= passive
unexport PYTHONDONTWRITEBYTECODE  # compiled once a clone: a test starts many processes

.PHONY: quickstart test check lint quick quick-a-h quick-i-z bench-step bench-solvers bench-train bench-recipes bench-restore bench-wait bench-distill bench-latent bench-serve docs site package clean
.DELETE_ON_ERROR:

quickstart: .venv/installed
	$(BIN)/scorefield train digits --out runs/digits --resume
	$(BIN)/scorefield sample runs/digits --n 100 --labels 0-9 --seeds 0-99 --out runs/digits/samples/grid.png
	$(BIN)/scorefield eval runs/digits --n 1000
	@echo "pictures: runs/digits/samples/grid.png and the stages of training beside it"

test: .venv/developer
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/developer
	@$(MAKE) --no-print-directory -j -O lint quick

lint:
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/pyright --warnings

# two runs of a half: a worker of xdist would collect the whole
quick: quick-a-h quick-i-z
QUICK := $(BIN)/python -m pytest -m "not slow"
quick-a-h:
	$(QUICK) tests/[a-h]*/ scorefield
quick-i-z:
	$(QUICK) tests/[i-z]*/ tests/test_*.py

bench-step: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/step.py

# peers are measured where they are: SCOREFIELD_PEERS="diffusers=.../python azula=.../python"
bench-solvers: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.solvers
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.default
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fitted

# peers as above: azula diffusers smalldiffusion lucidrains
bench-train: .venv/installed
	$(BIN)/python -m benchmarks.train --compile

# make bench-serve ARGS="burst runs/digits --n 4"
bench-serve: .venv/developer
	$(BIN)/python -m benchmarks.serving $(ARGS)

# ours beside a peer: make bench-recipes ARGS="fashion-mnist --path DIR --minutes 25 --peer .../python"
bench-recipes: .venv/installed
	$(BIN)/python -m benchmarks.recipes $(ARGS)

# make bench-restore ARGS="runs/digits runs/fashion --peer .../python"
bench-restore: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.restore $(ARGS)

# make bench-distill ARGS="consistency knowledge --seconds 180"
bench-distill: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.distilled $(ARGS)

# under six minutes on one core; scikit-learn comes with the extra [dev]
bench-latent: .venv/developer
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.latent $(ARGS)

# make bench-wait ARGS="startup step --before CHECKOUT --peer .../python"
bench-wait: .venv/installed
	$(BIN)/python -m benchmarks.wait $(ARGS)

# the documentation as pages, executed; what neither page nor library has changed is not run again
site: .venv/docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -W --keep-going -q docs build/site
	@echo "build/site/index.html"

# a wheel and a source archive, in dist
package: .venv/developer
	$(BIN)/python -m build

docs: .venv/docs
	$(BIN)/python docs/pictures.py
	OMP_NUM_THREADS=1 $(BIN)/python docs/pictures_training.py
	OMP_NUM_THREADS=1 $(BIN)/python docs/pictures_guidance.py
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.solvers
	$(BIN)/python -m docs.errata
	$(BIN)/python -m docs.folder
	$(BIN)/python -m docs.notebooks

.venv/docs: EXTRA = [docs]
.venv/developer: EXTRA = [dev]
.venv/installed .venv/docs .venv/developer: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.$(EXTRA)'
	@touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
