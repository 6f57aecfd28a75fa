# Two commands, each doing all its own set-up in a local virtual environment:
#   make demo    install humanparse and parse two real photos with the model inside the package
#   make test    run every check (make test TORCH= leaves PyTorch out; what needs it is then skipped)
# Two for whoever changes it, set up as make test is:
#   make quick   the checks without servers, browsers, trainings and exports: one to two minutes
#   make long    those that take too long for every change: many kills, clients, made-up requests
# And two that need the network: make audit, which looks for known holes in what is installed, and make floor, which tries
# the oldest versions that pyproject.toml allows, all together. make docs builds the documentation as a site.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
PAGE := src/humanparse/service/page/static src/humanparse/export/web
# Most tests wait for other processes most of the time, so that two cores have enough for four
# workers. A worker that crashes ends the run: its successor would begin the same group anew.
WORKERS ?= 4
PARALLEL := --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder \
	--max-worker-restart 0
# Compiled modules are kept, whatever the environment says: a few hundred processes of the tests load
# the same ones, and pytest would prepare every test module anew in each worker.
unexport PYTHONDONTWRITEBYTECODE
# Of what is installed a small part is ever imported: it is compiled then, which halves the time to install.
PIP := --quiet --disable-pip-version-check --no-compile

.PHONY: demo test quick long audit floor docs clean

demo: $(VENV)/.installed
	$(BIN)/humanparse demo

# What failed is run once more, alone, to tell a test that is flaky from one that is broken. Either way the target fails: a test
# that passes the second time has found something, in itself or in the program.
test: $(VENV)/.installed-for-tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/oxlint $(PAGE)
	$(BIN)/oxfmt --check $(PAGE)
	$(BIN)/mypy --num-workers 2
	@echo $(BIN)/python -m pytest $(PARALLEL)
	@$(BIN)/python -m pytest $(PARALLEL) || { \
		echo "The tests failed. What failed is run once more, alone; make test fails whatever comes of it." >&2; \
		if $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; \
		then echo "FLAKY: what failed above passed when it was run again, alone." >&2; \
		else echo "BROKEN: what failed above failed again, alone." >&2; fi; \
		exit 1; }

quick: $(VENV)/.installed-for-tests
	$(BIN)/ruff check
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# One after the other, since they measure memory, and how long the service takes under load.
long: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -m long

# Known holes in what is installed. Asks PyPI's advisory service; exit status 1 if there are any, another if it cannot be reached.
audit: $(VENV)/.installed-for-tests
	$(BIN)/python -m pip install $(PIP) 'pip-audit>=2.9'
	$(BIN)/python -m pip_audit --skip-editable --progress-spinner off

# The oldest Python and the oldest packages: whoever has them is promised that they work.
floor:
	$(PYTHON) -m venv --clear $(VENV)-floor
	$(VENV)-floor/bin/python -m pip install $(PIP) . \
		$$($(PYTHON) deploy/requirements.py | sed 's/;.*//; s/,.*//; s/>=/==/')
	$(VENV)-floor/bin/humanparse doctor
	$(VENV)-floor/bin/humanparse demo --output $(VENV)-floor/results

# The documentation as a site: open build/site/index.html. A warning, such as a link that leads nowhere, fails it.
docs: $(VENV)/.installed-for-docs
	$(BIN)/python -m mkdocs build --strict

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(shell find src -type f -not -name '*.pyc') | $(BIN)/python
	$(BIN)/python -m pip install $(PIP) .
	touch $@

# PyTorch first and pinned: an open requirement would bring the newest build with several gigabytes of GPU libraries.
$(VENV)/.installed-for-tests: pyproject.toml | $(BIN)/python
	$(if $(TORCH),$(BIN)/python -m pip install $(PIP) $(TORCH))
	$(BIN)/python -m pip install $(PIP) --editable '.[test,dev,docs,openvino,export,ray,video$(if $(TORCH),$(comma)train$(comma)quantize)]'
	touch $@

$(VENV)/.installed-for-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP) --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-floor build dist humanparse-demo

comma := ,
