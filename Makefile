# README's two commands are `make demo` and `make test`; both set themselves up in .venv.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-out
BIN := $(VENV)/bin
# Processes that run tests side by side; each file stays in one of them. Three fill two cores: many tests wait, for a
# browser, a cluster or a time limit.
TEST_JOBS ?= 3
# Containers often set this; every process that a test or the demo starts would then compile all sources
# (docs/log/runtime.md#time-of-the-tests).
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest --numprocesses=$(TEST_JOBS) --dist=loadfile --no-loadscope-reorder
READY := $(VENV)/.ready
# uv installs in a third of pip's time; it looks for wheels where pip is told to.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

.PHONY: demo test suite check test-all bench contract docs clean

demo: $(READY)
	$(BIN)/xsheet demo --out $(OUT)

# Everything CI runs but pyright, which keeps no cache and has a job of its own there, with its ten slowest tests; mypy
# runs beside them.
test: $(READY) lint
	@$(MAKE) --no-print-directory --jobs=2 mypy suite

# What fails runs once more, alone: on a busy machine a browser or a cluster can miss a time limit beside another test.
suite: $(READY)
	$(PYTEST) -m "not nightly" --durations=10 \
	  || { test $$? = 1 && $(BIN)/python -m pytest -m "not nightly" --last-failed --last-failed-no-failures=none; }

# Every night: also pyright, real clips in depth, fuzzing, an hour of requests to the review server, the wheel in an
# empty environment; 200 examples per property.
test-all: $(READY) lint types
	XSHEET_REVIEW_SECONDS=3600 $(PYTEST) --hypothesis-profile=thorough --durations=10

# Before every commit: less than a minute, once mypy has its cache. Fast tests wait for nothing, so there are two
# processes, each with its half: a process imports all that it collects, which is a fifth of its time.
check: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target fast-curation fast-rest lint mypy

.PHONY: lint types mypy fast-curation fast-rest
FAST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not nightly"
CURATION := tests/curate tests/annotate tests/audit
fast-curation: $(READY)
	$(FAST) $(CURATION)
fast-rest: $(READY)
	$(FAST) tests $(addprefix --ignore=,$(CURATION))

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python docs/wrap.py --check

mypy: $(READY)
	$(BIN)/mypy

types: mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# The tables of docs/benchmarks.md, with machine and date: all (hours), or some: make bench ONLY="faults vlm-tokens".
bench: $(READY)
	$(BIN)/python benchmarks/bench.py $(ONLY)
	$(BIN)/python docs/wrap.py

# Golden dumps and docs/data-contract.md, after a change of a record.
contract: $(READY)
	$(BIN)/python docs/make_contract.py

# The pages as a site in site/; a link that leads nowhere is an error.
docs: contract
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The requirements come with their pinned versions; torch would pull CUDA packages without its pin.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v in ((3, 11), (3, 12)) or sys.exit("error: expected Python 3.11 or 3.12, got %d.%d; run `make PYTHON=python3.11 ...`" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
