# Everything runs from a clean clone: `make demo` and `make test` create the environment themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

.PHONY: install demo test lint check clean

# One stamp per set of pins: a second `make` does not install again.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install -q --python $(BIN)/python --constraint constraints.txt --editable '.[run,dev]'
	touch $@

install: $(VENV)/.installed
