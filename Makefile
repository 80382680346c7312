# Every target sets up its own virtual environment; nothing but Python 3.11+ is needed beforehand.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: venv demo test slow lint bench

venv: .venv/installed

.venv/installed: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fedunlearn needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[dev,diffusion]'
	touch $@

demo: venv
	$(BIN)/python run_sim.py

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: venv
	$(BIN)/python -m pytest -m slow

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv
	$(BIN)/python scenarios/bench_simulation.py
