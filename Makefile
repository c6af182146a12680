# Everything is one target away from a fresh clone: each target first builds the environment it
# needs, once, inside the clone, and again only when pyproject.toml or the pins change.

PYTHON ?= python3
BIN := .venv/bin
ZOO := .venv-zoo/bin
INSTALL := -m pip install -qq --disable-pip-version-check
# Two workers: a worker holds torch, and the suite is sized for two cores.
PYTEST := -m pytest -n 2 --durations=5 --durations-min=5

# What `make test` runs; CI asks for 'not zoo'.
MARKERS ?= not zoo and not slow
HYPOTHESIS_PROFILE ?= quick
export HYPOTHESIS_PROFILE
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-phone test test-zoo test-onnx docs docs-check pictures bench lint audit wheel release-check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## Run the demonstration; writes demo/report.html and demo/result.json
	@$(BIN)/convsmith demo --force $(ARGS)

demo-phone: .venv/installed ## The same, then the light network on a phone (QEMU) and in a browser, without Python
	@$(BIN)/convsmith demo --phone --force $(ARGS)

# The doctests read the settings of the tests (seeds, threads, skips) through `-p tests.conftest`.
# Both runs happen, so that one pass shows every failure; the tests have the last word.
test: .venv/installed ## Run the doctests and the tests (ARGS="-k window" or a path picks some)
	@status=0; \
	$(BIN)/python $(PYTEST) -p tests.conftest --doctest-modules src || status=$$?; \
	$(BIN)/python $(PYTEST) -m "$(MARKERS)" $(ARGS) || status=$$?; \
	exit $$status

test-zoo: .venv-zoo/installed build/onnx/downloaded ## Run the tests on torchvision's and timm's networks (a second, large environment)
	@$(ZOO)/python $(PYTEST) -m zoo $(ARGS)

test-onnx: .venv/installed build/onnx/downloaded ## Run the tests on ONNX files that others trained (downloads 26 MB)
	@$(BIN)/python $(PYTEST) -m zoo tests/zoo/test_published_onnx.py $(ARGS)

docs-check: .venv/installed ## Run the examples of README.md and docs/
	@$(BIN)/python -m pytest -q tests/docs $(ARGS)

# Material's notice about its successor is not a defect of these pages.
docs: .venv/installed ## Build the pages into build/site, with the pictures and the reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pictures: .venv/installed ## Draw the pictures of the READMEs again, as their commands say
	@$(BIN)/python docs/_site/examples.py

bench: $(if $(NAME),.venv/installed-bench) ## Run one benchmark: make bench NAME=startup ARGS=...
	@test -n "$(NAME)" || { echo "name a benchmark: make bench NAME=startup" >&2; exit 2; }
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

lint: .venv/installed ## Check style, formatting, types and the order of the floors
	@status=0; \
	for check in "ruff check ." "ruff format --check ." mypy "lint-imports --no-logo"; do \
		$(BIN)/$$check || status=1; \
	done; \
	exit $$status

# Strict: a package that could not be looked up is an error. The pins are looked up as they stand.
audit: .venv-audit/installed ## Look up known vulnerabilities of the pinned versions (needs the network)
	@.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt $(ARGS)

wheel: ## Build the wheel into dist/ and try it in an empty environment
	@PYTHON=$(PYTHON) bash .ci/release-check --wheel

release-check: ## The same, and whether version, changelog and commit are ready (CONTRIBUTING.md)
	@PYTHON=$(PYTHON) bash .ci/release-check

clean: ## Remove caches and what the demonstration wrote (environments stay: rm -rf .venv .venv-zoo)
	@rm -rf demo dist build .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "convsmith needs Python 3.11 or newer, '$(PYTHON)' is not: make PYTHON=python3.12 ..." >&2; \
	exit 1; }
@test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
endef

.venv/installed: pyproject.toml constraints.txt
	@echo "building .venv (some minutes, once)"
	$(environment)
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[all,dev]'
	@touch $@

.venv/installed-bench: .venv/installed
	@echo "adding the benchmarks' peers to .venv"
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[all,bench,dev]'
	@touch $@

# The networks alone: what the packages run them with is not needed.
build/onnx/downloaded:
	@$(firstword $(wildcard $(BIN)/python $(ZOO)/python)) -m pip download -qq --disable-pip-version-check --no-deps -d $(@D) \
		rapidocr-onnxruntime silero-vad
	@touch $@

.venv-audit/installed: Makefile
	$(environment)
	@.venv-audit/bin/python $(INSTALL) 'pip-audit>=2.9'
	@touch $@

.venv-zoo/installed: pyproject.toml constraints-zoo.txt
	@echo "building .venv-zoo (some minutes and several GB, once)"
	$(environment)
	@$(ZOO)/python $(INSTALL) -c constraints-zoo.txt -e '.[all,dev]' torchvision timm
	@touch $@
