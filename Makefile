# Needs GNU make and Python 3.11 or newer; everything else goes into .venv, in the versions of constraints.txt.
PYTHON ?= python3
WORKERS ?= 2
BENCHMARKS ?= adaptation attention boundary_matching clips augment decoding detection features scoring shift tam tadaconv tadaconv_v2
BENCHMARK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.PHONY: help venv demo test lint types pytest bench clean distclean

help:
	@echo "make demo    the whole way on the toy kitchen, a few minutes"
	@echo "make test    lint, types and all tests"
	@echo "make bench   the benchmarks (BENCHMARK_ARGS=--quick for a short run)"
	@echo "make venv    only set up $(VENV); also: lint types pytest clean distclean"

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("make needs Python 3.11 or newer; give one: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.benchmark: $(VENV)/.installed
	$(INSTALL) --editable '.[dev,benchmark]'
	@touch $@

demo: venv
	$(BIN)/zoopraxis demo

test: lint types pytest

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: venv
	$(BIN)/mypy

pytest: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS)

bench: $(VENV)/.benchmark
	@for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py $(BENCHMARK_ARGS) || exit 1; done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
