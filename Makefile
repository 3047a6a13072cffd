# make demo, make test: each makes the environment first (.venv, once) and runs. `make test` makes
# a second one, .venv-core, with the package and what it needs at least, as users install it.
# PYTHON chooses the interpreter. Only the tests want PyTorch: TORCH=0 leaves it, and the
# cross-checks against it, out.

PYTHON ?= python3
TORCH ?= 1

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PIP := -m pip install --quiet --disable-pip-version-check
ready := .venv/ready-python$(VERSION)
core := .venv-core/ready-python$(VERSION)

ifeq ($(TORCH),0)
ready_to_test := $(ready)
PYTEST_OPTIONS := --ignore-glob='tests/torch_reference/*'
else
ready_to_test := $(ready)-torch
endif

.PHONY: demo test setup lint format clean

demo: $(ready)
	.venv/bin/python scripts/demo.py

test: lint $(ready_to_test) $(core)
	@test "$(TORCH)" != 0 || echo "TORCH=0: the cross-checks against PyTorch are left out"
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_OPTIONS)

setup: $(ready_to_test)

lint: $(ready)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy --platform win32

format: $(ready)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

$(ready): pyproject.toml requirements.txt
	@test "$(VERSION)" != "" || { echo "there is no $(PYTHON); set PYTHON"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP) --requirement requirements.txt
	.venv/bin/python $(PIP) --editable ".[test]"
	@touch $@

$(ready)-torch: $(ready)
	.venv/bin/python $(PIP) --editable ".[torch,compare]"
	@touch $@

$(core): pyproject.toml $(shell find lnln_jax -type f -not -name '*.pyc')
	@rm -rf build
	@test -e $@ || $(PYTHON) -m venv --clear .venv-core
	.venv-core/bin/python $(PIP) .
	@touch $@

clean:
	rm -rf .venv .venv-core build *.egg-info .mypy_cache .pytest_cache .ruff_cache
