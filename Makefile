# lm-sandbox: `make run` sets up and does the main job, `make test` sets up and runs every test.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROMPT ?= Which Linux is this?
PYTEST_ARGS ?=
PROFILES ?= cpu sandbox
CUDA_BASE ?= nvidia/cuda:12.8.1-base-ubuntu24.04

## run: set up, then ask the model PROMPT="..." and let it use a sandbox
run: setup
	@$(BIN)/lm-sandbox run "$$LM_SANDBOX_PROMPT"
run: export LM_SANDBOX_PROMPT = $(PROMPT)

## serve: set up, then serve the HTTP API on 127.0.0.1:8000
serve: setup
	@exec $(BIN)/lm-sandbox serve

## test: set up, then run every test; as root those of the Docker driver too, on an engine of their own
test: setup-dev
	@scripts/system-packages test
	@scripts/test-image
	@scripts/test-clients >/dev/null
	@scripts/test-mcp
	@scripts/test-actionlint >/dev/null
	$(BIN)/pytest -n 2 $(PYTEST_ARGS)

## lint: format check, lint, types, import contracts; scripts, Dockerfiles, workflows, compose, playbook
lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@scripts/lint-deploy

## format: rewrite the code in the house format
format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## bench: measure a command against bash, bwrap and docker exec (DOCKER_HOST=unix://...)
bench: setup-dev
	$(BIN)/python -m benchmarks.commands

## docs: write docs/settings.md again from the settings, and the site into dist/site
docs: setup-dev
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

## up: build and start the compose stack, on the CPU; PROFILES="cpu sandbox monitoring ..." for more
up:
	@scripts/build-images
	@scripts/compose up $(PROFILES)

## up-gpu: the same on NVIDIA GPUs; LLAMA_INDEX says where wheels of xllamacpp with CUDA are
up-gpu:
	@scripts/build-images
	@TAG=latest-cuda BASE=$(CUDA_BASE) scripts/build-images server
	@scripts/compose up $(subst cpu,gpu,$(PROFILES))

## down: stop the compose stack; volumes stay
down:
	@scripts/compose down

## dist: build the source package and the wheel into dist/
dist: setup-dev
	$(BIN)/uv build --quiet --out-dir dist

## lock: resolve pyproject.toml again into the hashed lock files
lock: setup-dev
	$(BIN)/uv pip compile -q pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --group build --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements-dev.lock

## clean: remove what set-up and the tools made in this folder
clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

## help: list these targets
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

setup: $(VENV)/.run-ready
	@scripts/system-packages

setup-dev: $(VENV)/.dev-ready
	@scripts/system-packages

$(VENV)/.run-ready: requirements.lock pyproject.toml
	@scripts/venv $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev-ready: requirements-dev.lock pyproject.toml
	@scripts/venv $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.run-ready

.PHONY: run serve test lint format bench docs up up-gpu down dist lock clean help setup setup-dev
