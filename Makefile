# Every target sets up what it needs, on a fresh machine too; the second time that takes no time.

# The first Python that is new enough; `make PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PACKAGES := scrm customers profiles wxwork
INSTALLED := .venv/installed
RUN := .venv/bin/python

# An account without a home (nobody) gets one here for the caches of uv and pip.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.local/home
endif
# Without compiled files every one of a dozen processes would parse Django again: three seconds each.
unexport PYTHONDONTWRITEBYTECODE
# Trust what the machine trusts, as pip does: a company's own registry has a certificate of its own.
export UV_SYSTEM_CERTS := 1
# The set-up is this folder's, whatever environment the caller has activated.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help demo test check bench lock clean browser
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: $(INSTALLED) ## everything from nothing: servers, a sample company, web, worker, beat and keeper; Ctrl-C ends it
	@$(RUN) manage.py demo $(ARGS)

test: $(INSTALLED) browser ## the whole suite on real servers of its own; ARGS="tests/cache -x" for a part
	@# Neighbours stay with one worker, which has made what they begin with (kept_state) and runs their browser.
	@$(RUN) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

check: $(INSTALLED) ## lint, types, import contracts, migrations, deploy checks
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy manage.py $(PACKAGES)
	.venv/bin/lint-imports
	$(RUN) manage.py makemigrations --check --dry-run
	@echo "manage.py check --deploy, as in production"
	@DEBUG=0 SECRET_KEY=$$($(RUN) -c 'import secrets; print(secrets.token_urlsafe(50))') ALLOWED_HOSTS=scrm.example.com \
	DATABASE_URL=postgres://check@control.invalid/scrm \
	DEPARTMENT_DATABASES=100=postgres://check@dept.invalid/dept_100,101=postgres://check@dept.invalid/dept_101 \
	REDIS_URL=redis://cache.invalid/0 CELERY_BROKER_URL=redis://broker.invalid/0 \
	$(RUN) manage.py check --deploy --fail-level WARNING

bench: $(INSTALLED) ## the benchmarks, as ratios; they go into benchmarks/RESULTS.md
	@$(RUN) -m benchmarks $(ARGS)

lock: $(INSTALLED) ## pin what pyproject.toml names; UPGRADE=--upgrade takes newer versions
	.venv/bin/uv pip compile pyproject.toml --python-version 3.11 --universal --generate-hashes --no-header --quiet $(UPGRADE) -o requirements.lock
	.venv/bin/uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal --generate-hashes --no-header --quiet $(UPGRADE) -o requirements-dev.lock

clean: ## delete the environment, the demo's and the tests' data, and every cache
	@test -n "$(PYTHON)" && $(PYTHON) -c "import os; from scrm import embedded; [embedded.remove(path.parent) \
	for pattern in ('*/secret', '*/*/secret') for path in embedded.local_folder(os.environ).glob(pattern)]"
	rm -rf .venv .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and no python3 of this machine is." >&2; exit 1; }
	@echo "Installing the packages of requirements-dev.lock into .venv …"
	@.venv/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv || { \
		echo "Python cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
	@# uv is ten times faster; pip does the same where it cannot be had or cannot reach what pip is configured for.
	@{ .venv/bin/python -m pip install -qq --disable-pip-version-check uv && \
		.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes --compile-bytecode requirements-dev.lock; } || \
		.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# The page tests drive the system's Chromium. Only root can install it; without one they are skipped and say so.
browser:
	@command -v chromium >/dev/null || test -n "$$CHROMIUM" || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "Installing Debian's chromium for the page tests …" && export DEBIAN_FRONTEND=noninteractive && \
		timeout 900 sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk' \
			>/dev/null 2>&1; } || echo "No Chromium: the page tests will be skipped (Debian: apt-get install chromium fonts-noto-cjk)."
