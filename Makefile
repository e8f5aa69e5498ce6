# Each target does its own set-up, as any user, from any directory, as often as you like.
#   make demo   ARGS="--for 60s --check"     a whole plant on this machine
#   make test   ARGS="-k spool"              every check: format, lint, types, import contracts, audit, tests
#   make bench  ARGS="--only spool"          figures, beside their limits     -> build/bench.json
#   make bench-detection ARGS="nab --data DIR"  how well faults are found -> build/detection.json
#   make cycles ARGS="casting real_data"     how well cycles are told, and what real recordings give
#   make torture ARGS="--for 2min"           everything pulled out of the wall -> build/torture.json
#   make screenshots                         the pictures of the README, from a demo that runs
#   make bundle                              all that a plant without internet needs -> build/bundle
#   make check                               test without the tests: format, lint, types, contracts, known weaknesses of dependencies

HERE   := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
PYTHON ?= python3
ARGS   ?=

# The environment lies in the checkout; where this user may not write there, in the user's own cache.
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
VENV   ?= $(shell if [ -w "$(HERE)" ] && { [ ! -e "$(HERE)/.venv" ] || [ -w "$(HERE)/.venv" ]; }; \
            then echo "$(HERE)/.venv"; \
            else echo "$(CACHE)/rootdx/venv-$$(echo "$(HERE)" | cksum | cut -d' ' -f1)"; fi)
BIN    := "$(VENV)/bin"
RUN    := cd "$(HERE)" && PYTHONPATH="$(HERE)" PYTHONPYCACHEPREFIX="$(VENV)/cache/pyc" \
          MYPY_CACHE_DIR="$(VENV)/cache/mypy" RUFF_CACHE_DIR="$(VENV)/cache/ruff" \
          HYPOTHESIS_STORAGE_DIRECTORY="$(VENV)/cache/hypothesis"
STAMP   = $(VENV)/.installed-$(shell cksum < "$(HERE)/pyproject.toml" | cut -d' ' -f1)

.PHONY: demo test check bench bench-detection cycles torture screenshots format setup

demo: setup
	@$(RUN) $(BIN)/python -m rootdx demo $(ARGS)

test: check
	@$(RUN) $(BIN)/python -m pytest -o cache_dir="$(VENV)/cache/pytest" $(ARGS)

check: setup
	@$(RUN) $(BIN)/ruff format --check .
	@$(RUN) $(BIN)/ruff check .
	@$(RUN) $(BIN)/mypy
	@$(RUN) $(BIN)/lint-imports --cache-dir "$(VENV)/cache/imports"
	@$(RUN) $(BIN)/python -m tests.support.audit --memo "$(VENV)/cache/audit.json"

bench: setup
	@$(RUN) $(BIN)/python -m tests.bench.run $(ARGS)

bench-detection: setup
	@$(RUN) $(BIN)/python -m tests.bench.detection.run $(ARGS)

cycles: setup
	@$(RUN) $(BIN)/python -m tests.bench.cycles $(ARGS)

torture: setup
	@$(RUN) $(BIN)/python -m tests.chaos.torture $(ARGS)

screenshots: setup
	@$(RUN) $(BIN)/python -m tests.support.screenshots

bundle: setup
	@$(RUN) $(BIN)/python deploy/bundle.py $(ARGS)

format: setup
	@$(RUN) $(BIN)/ruff format . && $(RUN) $(BIN)/ruff check --fix .

setup: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rootdx needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3 ..."; exit 1; }
	@echo "setting up $(VENV), once"
	@$(PYTHON) -m venv "$(VENV)" || { echo "python3 -m venv failed; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable "$(HERE)[dev]"
	@rm -f "$(VENV)"/.installed-* && touch "$(STAMP)"
