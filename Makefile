# make train    set everything up, then do the main job: notebooks 01 and 02 on the synthetic videos, into out/
# make test     set everything up, then run all tests
# make test-long  set everything up, then run the long repetitions that `make test` leaves out
# make test-browser  set everything up, then use the notebooks in JupyterLab and Chromium as a learner does
# make lab      set everything up, then open JupyterLab with the first notebook
# make setup    only set up: .venv with the tested versions; done again when the dependencies change
# make clean    remove caches and out/; keeps .venv, data/ and runs/
# PYTHON=python3.12 chooses another Python for .venv;  LAB_ARGS="--no-browser --port 8900" goes to JupyterLab.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '' 2>/dev/null && echo $$p && break; done)
LAB_ARGS ?=

# Programs run as `python -m`, by a relative path, so that blanks in the folder's path do no harm.
RUN = PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m

# Whatever runs here runs in .venv: no packages, modules or Jupyter kernels of the user's own.
export PYTHONNOUSERSITE = 1
export JUPYTER_PREFER_ENV_PATH = 1
unexport PYTHONHOME PYTHONPATH JUPYTER_PATH

.PHONY: help setup train test test-long test-browser lab clean

help:
	@sed -n -e 's/^# //p' -e '/^$$/q' Makefile

setup:
	@test -n "$(PYTHON)" || { echo "set-up: no python3 was found: install Python 3.11, 3.12 or 3.13."; exit 2; }
	@"$(PYTHON)" tools/set_up.py

train: setup
	mkdir -p out
	$(RUN) papermill notebooks/01_prepare_data.ipynb out/01_prepare_data.ipynb
	$(RUN) papermill notebooks/02_train.ipynb out/02_train.ipynb
	@echo "Done. The executed notebooks: out/01_prepare_data.ipynb and out/02_train.ipynb"

test: setup
	$(RUN) ruff check .
	$(RUN) pytest tests
	runs=$$(mktemp -d) && trap 'rm -rf "$$runs"' EXIT && export DN3D_RUNS="$$runs" && $(RUN) pytest --nbval notebooks

test-long: setup
	$(RUN) pytest -m long tests

test-browser: setup
	$(RUN) pytest -m browser --durations=0 tests

# JupyterLab shows stored players only in notebooks that it trusts, those that were run here. The kit's own are trusted as they
# came: who runs make trusts this code already. One that was changed since, or that somebody has put here, is not.
lab: setup
	@own=$$(git ls-files 'notebooks/*.ipynb' 2>/dev/null | while read -r name; do git diff --quiet HEAD -- "$$name" && echo "$$name"; done); \
	if [ -n "$$own" ]; then $(RUN) jupyter trust $$own >/dev/null; fi
	$(RUN) jupyterlab --LabApp.default_url=/lab/tree/00_start_here.ipynb $(LAB_ARGS) notebooks/

clean:
	rm -rf out out.ipynb build dist dn3d.egg-info .pytest_cache .ruff_cache
	find benchmarks dn3dlib notebooks tests tools \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	@echo "Kept: .venv, data/ and runs/. To have .venv made anew: rm -rf .venv && make setup"
