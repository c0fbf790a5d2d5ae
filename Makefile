# Everything runs from a clean clone: `make demo` and `make test` create the environment themselves.
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9

# Every worker of Ray is a process of its own: without compiled modules each spends seconds on imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo test test-quick lint docs check bench clean

install: .venv/.installed

# One stamp per set of pins: a second `make` does not install again.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install -q --python $(BIN)/python --constraint constraints.txt --editable '.[run,dev,docs]'
	touch $@

demo: install
	$(BIN)/mmcsal demo

# Test processes share the cores: threads that wait for each other cost more than they bring.
test test-quick: export OMP_NUM_THREADS := 1
test test-quick: export OPENBLAS_NUM_THREADS := 1

# Three files at a time, also on two cores: starting Ray and its nodes is mostly waiting.
test: install
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# For every save: what starts no Ray, in under two minutes.
test-quick: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not cluster and not slow'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/house
	@! git ls-files '*.py' | xargs wc -l | awk '$$1 > 400 && $$2 != "total"' | grep . # no file over 400 lines

# The site of docs/ and the docstrings, in build/site; a warning is an error (--quiet would hide them from --strict).
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What CI runs: style and types first, they are quick.
check: lint docs test

bench: install
	$(BIN)/uv pip install -q --python $(BIN)/python --constraint constraints.txt --editable '.[run,dev,bench]'
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.fuzz
	$(BIN)/python -m benchmarks.hostile
	$(BIN)/python -m benchmarks.media
	$(BIN)/python -m benchmarks.mmssl
	$(BIN)/python -m benchmarks.pretrain
	$(BIN)/python -m benchmarks.pretrain_gpu
	$(BIN)/python -m benchmarks.merge
	$(BIN)/python -m benchmarks.select
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.sharing
	$(BIN)/python -m benchmarks.faults

clean:
	rm -rf .venv runs
