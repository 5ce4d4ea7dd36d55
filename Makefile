# `make demo` and `make test` need python3 and a way to PyPI, nothing else.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check docs picture clean

# Half a minute; leaves ./npmmirror-demo.
demo: .venv/.ready
	@$(BIN)/npmmirror demo

test: .venv/.ready
	$(BIN)/pytest --numprocesses auto --dist worksteal

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is made from the program: after a change of a configuration key, or of what --json prints.
docs: .venv/.ready
	$(BIN)/npmmirror config init --force mirror.toml
	$(BIN)/npmmirror config reference > docs/configuration.md
	$(BIN)/python -m npmmirror.cli.shapes > docs/json-schema.json

# The README's picture, drawn by a real run.
picture: .venv/.ready
	$(BIN)/npmmirror demo --no-keep --picture docs/demo.svg

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "python3 is missing. On Debian and Ubuntu: sudo apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "npmmirror needs Python 3.11 or newer, and $(PYTHON) is older." >&2; \
		echo "Name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv, once."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable .
	@touch $@
