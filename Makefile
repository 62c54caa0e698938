# The two commands a newcomer needs: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What runs the flywheel, and with it what tests it: a newcomer's demo does not wait for the second.
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# Modules are compiled when they are first imported: doing so for all of them takes a minute, and few are used. What
# was compiled has to be kept, also where the environment says otherwise (container images do): Prefect and what it
# needs take 4 s to import, and 9 s to compile and import, in each process that a run or a test starts.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile
# Whole files go to three processes, which share nothing; each computes in one thread, and waits a third of its time
# for servers and workers. They go folder by folder, so that a folder's Prefect server starts once in each process, and
# the many small files fill the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
TESTS := $(PYTEST) --numprocesses 3 --dist loadfile --no-loadscope-reorder
# What failed beside thousands of others, on cores that it had to share, is run once more by itself. A defect fails
# again; what passes only now depends on time, is named, and wants mending.
AGAIN := { echo "What failed is run once more, alone; a test that passes only now depends on time: mend it." >&2; \
  $(PYTEST) --last-failed --last-failed-no-failures none -rap; }

.PHONY: demo server test long fast browser check lint format types clean

demo: $(STAMP)
	$(BIN)/flywheel demo

# A Prefect server, a worker and all deployments for a look around; Ctrl-C takes them down again.
server: $(STAMP)
	@exec $(BIN)/python -m deployments.local_server

test: $(DEV_STAMP) browser
	$(TESTS) -m "not long" || { test $$? = 1 && $(AGAIN); }

# Some sixty tests that take half of all the time: continuous integration runs them after `make test`.
long: $(DEV_STAMP)
	$(TESTS) -m long || { test $$? = 1 && $(AGAIN); }

fast: $(DEV_STAMP)
	$(TESTS) -m "not slow"

browser: # some tests look at pages with Debian's own Chromium
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  test "$$(id -u)" = 0 || { echo "The browser tests need chromium: sudo apt-get install chromium chromium-driver" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; }

check: lint types test long

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml exporter/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Flywheel needs Python 3.11 or newer; name one with: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), about two minutes the first time."
	$(INSTALL) -e '.[local]' -e ./exporter
	@touch $(STAMP)

$(DEV_STAMP): $(STAMP)
	$(INSTALL) -e '.[local,dev]' -e ./exporter
	@touch $(DEV_STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
