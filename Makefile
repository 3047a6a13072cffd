# make demo, make test, make test-slow: each makes the environment first ($(VENV), once) and runs.
# `make test` is lint, types and the fast tests; `make test-slow` runs the others. It makes a second
# environment, .venv-core, with the package and what it needs at least, as users install it.
# PYTHON chooses the interpreter, VENV the folder of its environment. Only the tests want PyTorch:
# TORCH=0 leaves it, and the cross-checks against it, out. JOBS tests run at once.

PYTHON ?= python3
TORCH ?= 1
VENV ?= .venv
JOBS ?= 2

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PIP := -m pip install --quiet --disable-pip-version-check
ready := $(VENV)/ready-python$(VERSION)
core := .venv-core/ready-python$(VERSION)

ifeq ($(TORCH),0)
ready_to_test := $(ready)
PYTEST_OPTIONS := --ignore-glob='tests/torch_reference/*'
else
ready_to_test := $(ready)-torch
endif

# Tests of a file run one after another in one process, until another process has nothing to do.
pytest := $(VENV)/bin/python -m pytest --numprocesses $(JOBS) --dist worksteal $(PYTEST_OPTIONS)

.PHONY: demo test test-fast test-slow setup lint format clean

demo: $(ready)
	$(VENV)/bin/python scripts/demo.py

test: lint test-fast

test-fast: $(ready_to_test)
	@test "$(TORCH)" != 0 || echo "TORCH=0: the cross-checks against PyTorch are left out"
	$(pytest) -m "not slow"

test-slow: $(ready_to_test) $(core)
	@test "$(TORCH)" != 0 || echo "TORCH=0: the cross-checks against PyTorch are left out"
	$(pytest) -m slow

setup: $(ready_to_test)

lint: $(ready)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform win32

format: $(ready)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(ready): pyproject.toml requirements.txt
	@test "$(VERSION)" != "" || { echo "there is no $(PYTHON); set PYTHON"; exit 1; }
	@echo "Installing into $(VENV), once: half a GB of packages, about a minute plus the download"
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python $(PIP) --requirement requirements.txt
	$(VENV)/bin/python $(PIP) --editable ".[test]"
	@touch $@

$(ready)-torch: $(ready)
	@echo "Adding PyTorch, for the cross-checks (TORCH=0 leaves them out): another minute or more"
	$(VENV)/bin/python $(PIP) --editable ".[torch,compare]"
	@touch $@

$(core): pyproject.toml $(shell find lnln_jax configs -type f -not -name '*.pyc')
	@rm -rf build
	@test -e $@ || $(PYTHON) -m venv --clear .venv-core
	.venv-core/bin/python $(PIP) .
	@touch $@

clean:
	rm -rf $(VENV) .venv-core build *.egg-info .mypy_cache .pytest_cache .ruff_cache
