# Every target sets up what it needs by itself: a virtual environment in .venv, and the packages in it.
# A stamp in .venv tells what is installed, so the second run starts at once.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs bench counts wheel clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PYTEST_ARGS ?=
# One process for each core of the machine; more than eight only cost start-up time.
PYTEST_PROCESSES ?= -n auto --maxprocesses=8
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## Show this list
	@echo "make TARGET, where TARGET is:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

demo: $(VENV)/.run ## See requests signed and verified; needs no AWS (DEMO_ARGS=--once ends by itself)
	@$(BIN)/aws-signing-proxy demo $(DEMO_ARGS)

test: $(VENV)/.test ## Run every test (PYTEST_ARGS='-k name' for some)
	$(BIN)/python -m pytest $(PYTEST_PROCESSES) $(PYTEST_ARGS)

lint: $(VENV)/.test $(VENV)/.lint ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.lint ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.run ## Write the generated pages anew
	$(BIN)/python -m aws_signing_proxy.config.reference --write docs/configuration.md
	$(BIN)/python -m aws_signing_proxy.observe.metrics > $(VENV)/metrics.md && mv $(VENV)/metrics.md docs/metrics.md

bench: $(VENV)/.test ## Measure everything, half an hour (BENCH_ARGS='--quick --only cost' less)
	$(BIN)/python -m bench.run $(BENCH_ARGS)

counts: $(VENV)/.test ## Compare instructions of the request's path with the record (COUNTS_ARGS=--record)
	$(BIN)/python -m bench.instructions $(COUNTS_ARGS)

wheel: $(VENV)/.run ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## Remove everything that was made here
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Not `test -x`: a version manager's python3.13 may exist and still not run.
$(VENV)/.python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$("$$python" --version)" && "$$python" -m venv $(VENV) && \
	    $(PIP_INSTALL) --upgrade 'pip>=25.1' && touch $@ && exit 0; \
	    exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with its venv module was found. On Debian and Ubuntu: apt-get install python3 python3-venv" >&2; \
	echo "(in a release that has 3.11). Another interpreter is named with: make PYTHON=/path/to/python ..." >&2; \
	exit 1

$(VENV)/.run: $(VENV)/.python pyproject.toml
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml
	$(PIP_INSTALL) --editable . --group test
	@touch $@ $(VENV)/.run

$(VENV)/.lint: $(VENV)/.python pyproject.toml
	$(PIP_INSTALL) --group lint
	@touch $@
