# Two commands do all the set-up: `make demo` and `make test`.
# BACKEND=tensorflow, torch or jax chooses one Keras backend.

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
DEMO_BACKEND = $(or $(BACKEND),jax)
TEST_BACKENDS = $(or $(BACKEND),tensorflow torch jax)
export TF_CPP_MIN_LOG_LEVEL = 3

# The minor release of Keras before the one in constraints.txt, which is supported too.
OLDER_KERAS = 3.14.1

.PHONY: help demo test test-older-keras check wheel readme docs clean

help:
	@echo "make demo [BACKEND=jax]   load, measure, classify, train, draw: pictures in demo/"
	@echo "make test [BACKEND=...]   the tests, on every backend or on one"
	@echo "make test-older-keras     a part of them with the minor release of Keras before"
	@echo "make check                ruff, mypy, and that README and results are up to date"
	@echo "make wheel                build the wheel and use it in an empty environment"
	@echo "make readme               write the README's tables and pictures, RESULTS.md and results.csv"
	@echo "make docs                 build the site of the documentation: build/site/index.html"

demo: $(VENV)/.with-$(DEMO_BACKEND)
	KERAS_BACKEND=$(DEMO_BACKEND) $(BIN)/python -m fmae_zoo.demo

test: $(VENV)/.with-dev
	@set -e; for backend in $(TEST_BACKENDS); do \
		echo "== tests on $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest --numprocesses auto $(PYTEST_ARGS); \
	done

test-older-keras: $(VENV)/.with-dev
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/older-keras keras==$(OLDER_KERAS)
	@set -e; for backend in $(TEST_BACKENDS); do \
		echo "== tests on $$backend with Keras $(OLDER_KERAS)"; \
		PYTHONPATH=$(VENV)/older-keras KERAS_BACKEND=$$backend $(BIN)/python -m pytest \
			--numprocesses auto $(PYTEST_ARGS) tests/test_layers.py tests/test_fit.py \
			tests/test_models.py; \
	done

check: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/make_readme.py --check

wheel: $(VENV)/.with-dev
	$(BIN)/python tools/check_wheel.py

readme: $(VENV)/.with-dev
	$(BIN)/python tools/make_readme.py

docs: $(VENV)/.with-dev
	KERAS_BACKEND=torch $(BIN)/python tools/make_site.py
	$(BIN)/zensical build --strict
	@echo "open build/site/index.html"

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.with-%: pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) ".[$*]"
	touch $@

$(VENV):
	$(PYTHON) -m venv $(VENV)
