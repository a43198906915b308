# One command for each thing people do here. Everything is set up in .venv and in the user's cache.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made

.PHONY: help demo test check screens recording lab lab-requirements lab-tests bench lock clean

help:
	@echo "make demo    open the console on an embedded rehearsal home (without a terminal: print its set-up)"
	@echo "make check   lint, types, import contracts, shell scripts, fast tests"
	@echo "make test    all of that, and the tests on the lab's machines"
	@echo "make lab     boot the lab and open a shell in the operator's seat"
	@echo "make screens render every screen and state anew, to be looked at before it is committed"
	@echo "make recording  record the set-up in the lab as a moving picture"
	@echo "make bench   measure us beside pyinfra and Ansible on the lab's machines"
	@echo "make lock    write requirements.lock and the benchmarks' requirements anew"

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(STAMP)
	@$(BIN)/homek8s demo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry homek8s_tui
	tests/lint-scripts
	$(BIN)/pytest -q -m "not lab" -n 4

screens: $(STAMP)
	HOMEK8S_RENDER_SCREENS=1 $(BIN)/pytest -q -n 2 tests/screens
	$(BIN)/python -m tests.screens build/screens

recording: $(STAMP) lab-requirements
	rm -f build/recording.jsonl && mkdir -p build
	HOMEK8S_RECORD=$(CURDIR)/build/recording.jsonl CI=true $(BIN)/pytest -q -m lab tests/lab/test_console.py
	$(BIN)/python -m tests.recording build/recording.jsonl assets/first-home.gif

lab-requirements:
	tests/lab/requirements.sh

lab-tests: $(STAMP) lab-requirements
	$(BIN)/python -m tests.lab.kubernetes.build
	CI=true $(BIN)/pytest -q -m lab --timeout 1200 tests

test: lab-requirements check lab-tests

lab: $(STAMP) lab-requirements
	$(BIN)/python -m tests.lab shell

bench: $(STAMP) lab-requirements
	$(BIN)/python -m tests.lab.kubernetes.build
	$(BIN)/python -m bench

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --python-version 3.11

lock: $(STAMP)
	$(COMPILE) --all-extras pyproject.toml -o requirements.lock
	$(COMPILE) bench/requirements.in -o bench/requirements.txt

clean:
	rm -rf $(VENV) dist build
