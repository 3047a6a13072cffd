# make demo, make test: each makes the environment first (.venv, once) and runs.
# PYTHON chooses the interpreter. Only the tests want PyTorch: TORCH=0 leaves it, and the
# cross-checks against it, out.

PYTHON ?= python3
TORCH ?= 1

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
ready := .venv/ready-python$(VERSION)

ifeq ($(TORCH),0)
ready_to_test := $(ready)
PYTEST_OPTIONS := --ignore-glob='tests/test_parity_*.py'
else
ready_to_test := $(ready)-torch
endif

.PHONY: demo test setup lint format clean

demo: $(ready)
	.venv/bin/python scripts/demo.py

test: lint $(ready_to_test)
	@test "$(TORCH)" != 0 || echo "TORCH=0: the cross-checks against PyTorch are left out"
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_OPTIONS)

setup: $(ready_to_test)

lint: $(ready)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: $(ready)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

$(ready): pyproject.toml requirements.txt
	@test "$(VERSION)" != "" || { echo "there is no $(PYTHON); set PYTHON"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) --editable ".[test,demo]"
	@touch $@

$(ready)-torch: $(ready)
	$(PIP) --editable ".[torch,compare]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
