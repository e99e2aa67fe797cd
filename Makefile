# Everything a user or a developer runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?=
# processes of the suite, on two cores too: half of what a test does is to wait for a disk, a server or another process
WORKERS ?= 4
export PYTHONDONTWRITEBYTECODE =  # empty: a suite that starts hundreds of processes compiles what they import once

.DEFAULT_GOAL := help
.PHONY: help image-steps pythons run test watch browser tools mutants chaos load soak fuzz mutation audit lint matrix bench bench-data schema clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once, from requirements.lock, hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(VENV)/.installed ## play the demo: fourteen orders through six days, in about twenty seconds
	@$(BIN)/tracker demo $(if $(SEED),--seed $(SEED)) $(ARGS)

test: $(VENV)/.installed ## run the whole suite on SQLite, PostgreSQL and Redis (all brought along)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not mutants and not matrix and not browser' --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --skip-covered --fail-under=95
	@$(BIN)/coverage report --skip-covered --fail-under=100 --include='tracker/domain/*,tracker/plugin/*,carriers/*,adapters/*' --omit='tracker/plugin/conformance/*'

watch: $(VENV)/.installed ## when a file is saved, run the tests that belong to it
	@$(BIN)/python -m tests.watch

browser: $(VENV)/.installed ## the page in a real browser: Chromium, by apt where it works (else it says so, and passes)
	@$(BIN)/python -m tests.browser $(ARGS)

image-steps: $(VENV)/.installed ## the image's steps without an engine, in an empty root of Debian packages (root and apt; else it says so, and passes)
	@$(BIN)/python -m tests.image_steps $(ARGS)

pythons: $(VENV)/.installed ## does each later release of Python find every wheel of the image? (needs a registry, else it says so)
	@$(BIN)/python -m tests.pythons

tools: $(VENV)/.installed ## bring what tests use where it is there: Chromium, promtool (by apt)
	@$(BIN)/python -m tests.tools

mutants: $(VENV)/.installed ## prove that each requirement, and each mended rule, has a test that fails without it
	@$(BIN)/python -m pytest -m mutants -q -p no:cacheprovider tests/requirements tests/cases $(ARGS)

matrix: $(VENV)/.installed ## the requirements' scenarios on each platform that can express them, on SQLite and PostgreSQL, as a table
	@$(BIN)/python -m tests.matrix $(ARGS)
	@$(BIN)/python -m pytest -n 2 -m matrix -q -p no:cacheprovider tests/chaos/test_shops.py

chaos: $(VENV)/.installed ## random faults from printed seeds, then count what was lost (SEEDS=10 SECONDS=60)
	@$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),10) --seconds $(or $(SECONDS),60) $(ARGS)

load: $(VENV)/.installed ## send what a shop sends, and more, then verify every id (SECONDS=60 BACKLOG=100000)
	@$(BIN)/python -m tests.load --seconds $(or $(SECONDS),60) --backlog $(or $(BACKLOG),100000) $(ARGS)

soak: $(VENV)/.installed ## a storm for hours that kills none of ours: memory, files and connections stay flat (SECONDS=28800)
	@$(BIN)/python -m tests.chaos.soak --seconds $(or $(SECONDS),28800) $(ARGS)

fuzz: $(VENV)/.installed ## coverage-guided fuzzing of parsers, verifiers and the configuration (SECONDS=60 each)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/fuzz/requirements.txt
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(ARGS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.fuzz.web --examples $(or $(EXAMPLES),200)

mutation: $(VENV)/.installed ## mutmut on domain, verifiers and claims: a random sample, 85 % must be killed (SAMPLE=300)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/mutation-requirements.txt
	@$(BIN)/python -m tests.mutation --sample $(or $(SAMPLE),300) $(ARGS)

audit: $(VENV)/.installed ## known weaknesses of what is installed (needs the registry's data), and an SBOM in sbom.json
	@$(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/audit-requirements.txt
	@$(VENV)/audit/bin/cyclonedx-py requirements deploy/requirements.lock --pyproject pyproject.toml --mc-type application --output-reproducible -o sbom.json && echo "wrote sbom.json"
	@$(VENV)/audit/bin/pip-audit --strict --require-hashes --disable-pip -r deploy/requirements.lock

lint: $(VENV)/.installed ## check format, style, types and arrows
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.installed $(VENV)/peer ## measure each path beside its floor, and the parsers beside the peer's; STORES=2000: what many stores cost
	@$(BIN)/python -m $(if $(STORES),tests.bench.stores --roles --stores $(STORES),tests.bench) $(ARGS)

$(VENV)/peer: tests/peer-requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target $@ -r $<
	@touch $@

bench-data: $(VENV)/.installed ## make 1 M orders / 3 M shipments / 30 M scans and time every query (SCALE=0.01: less)
	@$(BIN)/python -m tests.bench_data --scale $(or $(SCALE),1.0) $(ARGS)

clean: ## remove what was installed and made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
