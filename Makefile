# make demo, make test: each makes the environment first (.venv, once) and runs.
# PYTHON chooses the interpreter, TORCH=0 leaves PyTorch and the cross-checks against it out.

PYTHON ?= python3
TORCH ?= 1

EXTRAS := test,demo
ifneq ($(TORCH),0)
EXTRAS := $(EXTRAS),torch
endif

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ready := .venv/ready-python$(VERSION)-torch$(TORCH)

.PHONY: demo test setup lint format clean

demo: $(ready)
	.venv/bin/python scripts/demo.py

test: lint
	@test "$(TORCH)" != 0 || echo "TORCH=0: the cross-checks against PyTorch are left out"
	.venv/bin/python -m pytest

setup: $(ready)

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
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
