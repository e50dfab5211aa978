# Rollcall's commands. `make` alone lists them. They need Python 3.11+ with venv, make and git, and set up the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
TYPED := controlplane rollout calls story benchmarks manage.py
PYTEST_ARGS ?=
WORKERS ?= 2
STORY_ARGS ?=
BENCH_ARGS ?=
PEERS := UnleashClient flagsmith-flag-engine growthbook statsig-python-core django-waffle
RUNTIME := $(VENV)/.runtime-$(shell sha256sum requirements.lock | cut -c1-16)
DEV := $(VENV)/.dev-$(shell cat requirements.lock requirements-dev.txt | sha256sum | cut -c1-16)

export PYTHONUNBUFFERED := 1

.PHONY: help run test quick check bench bench-peers story reset doctor setup setup-dev chromium format lock

help:  ## list the commands
	@echo "make run      start everything: PostgreSQL, Redis, web, edge, worker and beat (PORT=, CONSOLE_PORT=, ROLLCALL_DATA=)"
	@echo "make story    play the launch of 2015 against the running stack, or one of its own (STORY_ARGS='--fast')"
	@echo "make doctor   check what a deployment needs, and say what to do"
	@echo "make test     set up what tests need, and run them, two at a time (WORKERS=, PYTEST_ARGS='tests/rules -q')"
	@echo "make quick    what takes less than a minute: lint, types, rules, and the tests that were changed"
	@echo "make check    ruff, mypy --strict, migrations, Django's checks, the OpenAPI document"
	@echo "make bench    measure (BENCH_ARGS='decisions swap --json'); 'make bench-peers' installs others to compare with"
	@echo "make format   let ruff format the code"
	@echo "make lock     pin what requirements.txt names by hash (after changing it)"
	@echo "make reset    delete the data folder, after asking (FORCE=1: without asking)"

# A demonstration unless somebody says otherwise: it seeds people, and shows one-time codes.
run story doctor: export ROLLCALL_DEMONSTRATION := $(or $(ROLLCALL_DEMONSTRATION),1)

run: setup  ## start everything
	@exec $(PY) manage.py run

story: setup
	@exec $(PY) manage.py story $(STORY_ARGS)

doctor: setup
	@exec $(PY) manage.py doctor

reset:
	@$(or $(wildcard $(PY)),$(PYTHON)) -m controlplane.host.reset $(if $(FORCE),--force)

# Much of the tests' time is waiting for processes and phones: side by side they take about half of it.
test: setup-dev chromium
	@echo "Running the tests."
	@exec $(PY) -m pytest $(or $(PYTEST_ARGS),-n $(WORKERS) --durations=20 --durations-min=1)

quick: setup-dev
	@$(PY) -m ruff check . && $(PY) -m ruff format --check --quiet .
	@ROLLCALL_DATA="$$(mktemp -d)" $(PY) -m mypy --strict $(wildcard $(TYPED))
	@exec $(PY) -m pytest -q -m "not stack and not browser" tests/rules tests/test_architecture.py \
	  $$(git diff --name-only --diff-filter=d HEAD -- 'tests/**/test_*.py' | grep -v ^tests/rules/)

bench: setup-dev
	@exec $(PY) -m benchmarks $(BENCH_ARGS)

# Other engines, measured beside ours by the benchmark `decisions`; they never enter the runtime's environment.
bench-peers: $(PY)
	@echo "Installing the peers into .venv-peers."
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python "$(PYTHON)" .venv-peers; \
	  uv pip install --quiet --python .venv-peers/bin/python $(PEERS); \
	else [ -x .venv-peers/bin/python ] || $(PYTHON) -m venv .venv-peers; \
	  .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-input --prefer-binary $(PEERS); fi

format: setup-dev
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

check: setup-dev
	@echo "Checking: ruff"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "Checking: mypy --strict"
	@ROLLCALL_DATA="$$(mktemp -d)" $(PY) -m mypy --strict $(wildcard $(TYPED))
	@echo "Checking: Django, migrations, the OpenAPI document"
	@export ROLLCALL_DATA="$$(mktemp -d)"; trap 'rm -rf "$$ROLLCALL_DATA"' EXIT; \
	  $(PY) manage.py check --fail-level WARNING; \
	  $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run; \
	  ROLLCALL_SECRET="$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" \
	    ROLLCALL_PUBLIC_URL=https://calls.example ALLOWED_HOSTS=calls.example TRUSTED_PROXIES=10.0.3.0/24 \
	    CODE_SENDER=tests.builders.KeptCodes DATABASE_URL=postgresql://db.example/rollcall REDIS_URL=redis://redis.example \
	    TURN_URLS=turn:relay.example TURN_SECRET=example $(PY) manage.py check --deploy --fail-level WARNING; \
	  $(PY) manage.py spectacular --validate --fail-on-warn --file "$$ROLLCALL_DATA/openapi.yaml"; \
	  if [ -e docs/openapi.yaml ] && ! diff -u docs/openapi.yaml "$$ROLLCALL_DATA/openapi.yaml"; then \
	    echo "docs/openapi.yaml is out of date: run '$(PY) manage.py spectacular --file docs/openapi.yaml'."; exit 1; fi
	@echo "All checks passed."

setup: $(RUNTIME)
setup-dev: $(DEV)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Rollcall needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: PYTHON=…"; exit 1; }
	@echo "Making $(VENV)."
	@$(patiently); if command -v uv >/dev/null; then uv venv --quiet --python "$(PYTHON)" $(VENV); else \
	  $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "Python can't make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }; fi

$(RUNTIME): $(PY) requirements.lock
	@echo "Installing requirements.lock into $(VENV): a minute or two with a cold cache."
	@$(call install,--require-hashes -r requirements.lock)
	@rm -f $(VENV)/.runtime-*; touch $@

$(DEV): $(RUNTIME) requirements-dev.txt
	@echo "Installing requirements-dev.txt into $(VENV)."
	@$(call install,-r requirements-dev.txt)
	@rm -f $(VENV)/.dev-*; touch $@

lock:  ## write requirements.lock anew: the hash of every file of what requirements.txt pins
	@command -v uv >/dev/null || { echo "Writing requirements.lock needs uv: pip install uv"; exit 1; }
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-package tzdata \
	  requirements.txt -o requirements.lock

define install
$(patiently); if command -v uv >/dev/null; then uv pip install --quiet --compile-bytecode --python $(PY) $(1); else \
  $(PY) -m pip install --quiet --disable-pip-version-check --no-input --prefer-binary $(1); fi
endef

# Until the recipe's line ends, it says every few seconds that it goes on.
define patiently
( while sleep 4 >/dev/null 2>&1; do echo "  … still at it ($$SECONDS s)"; done ) & trap "kill $$!" EXIT
endef

# The browser tests use Debian's Chromium; without one they say why they were skipped.
chromium:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests (apt-get install chromium): a minute or two."; \
	  log=$$(mktemp); $(patiently); \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; } \
	    >"$$log" 2>&1 || { tail -n 3 "$$log"; echo "Chromium can't be installed: the browser tests will be skipped."; }; \
	  rm -f "$$log"; \
	else echo "There is no chromium, and it takes root and apt-get to install it: the browser tests will be skipped."; fi
