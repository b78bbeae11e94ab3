# `make` lists what there is. Everything runs in .venv, which is made and kept up to date on the way.

VENV := .venv
PYTHON := $(VENV)/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-sqlite check lint fmt races dedupe forgeries traps fuzz chaos tradeday bench messages setup setup-dev clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done
	@echo
	@echo '  PORT and SANDBOX_PORT choose the ports of `make run` (8000 and 8001);'
	@echo '  DATABASE_URL and REDIS_URL move it to PostgreSQL and Redis.'

run: setup ## start the hub, its worker and the partner sandbox; Ctrl-C stops them
	@exec $(PYTHON) manage.py run_stack --end-with-parent

test: setup-dev ## run every test on SQLite, then on PostgreSQL and Redis (ARGS="-k name")
	@exec $(PYTHON) -m tests.run $(ARGS)

test-sqlite: setup-dev ## run every test on SQLite only
	@exec $(PYTHON) -m tests.run --only sqlite $(ARGS)

check: lint ## all that the build checks: lint, types, layers, migrations, settings, tests
	@$(MAKE) --no-print-directory test

lint: setup-dev ## the checks that need no test run
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy .
	$(VENV)/bin/lint-imports
	$(PYTHON) manage.py makemigrations --check --dry-run
	@echo '$(PYTHON) manage.py check --deploy --fail-level WARNING  (DEBUG=0, throwaway keys)'
	@env -u DATABASE_URL -u REDIS_URL DEBUG=0 ALLOWED_HOSTS=hub.example PUBLIC_URL=https://hub.example \
		SECRET_KEY="$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))')" \
		FIELD_ENCRYPTION_KEY="$$($(PYTHON) -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')" \
		$(PYTHON) manage.py check --deploy --fail-level WARNING

fmt: setup-dev ## sort imports and format
	$(PYTHON) -m ruff check --fix-only .
	$(PYTHON) -m ruff format .

races: setup-dev ## the races of installs, 200 rounds each, on PostgreSQL (ROUNDS=200)
	@RACE_ROUNDS=$(or $(ROUNDS),200) $(PYTHON) -m tests.run --only servers -n 0 --timeout 3000 tests/test_races.py

dedupe: setup-dev ## 50 identical webhooks at once over two web processes (ROUNDS=200)
	@DEDUPE_ROUNDS=$(or $(ROUNDS),200) $(PYTHON) -m tests.run --only servers -n 0 --timeout 3000 -s tests/test_dedupe.py

forgeries: setup-dev ## forged requests against every signature scheme (COUNT=100000)
	@FORGERIES=$(or $(COUNT),100000) $(PYTHON) -m pytest -n 0 -q -s tests/test_inbound_forgeries.py

traps: setup-dev ## what breaks naive servers, over raw sockets against two web processes (ROUNDS=1000)
	@TRAP_ROUNDS=$(or $(ROUNDS),1000) $(PYTHON) -m tests.run --only servers -n 0 -s tests/test_traps.py

fuzz: setup-dev ## every operation of the OpenAPI document with generated requests (EXAMPLES=1000)
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),1000) $(PYTHON) -m tests.run --only servers -n 0 -s tests/test_openapi_fuzz.py

chaos: setup-dev ## kill everything while events come and go, and count (WAY=inbound EVENTS=2000 SECONDS=180)
	@exec $(PYTHON) -m chaos $(or $(WAY),outbound) --events $(or $(EVENTS),2000) --seconds $(or $(SECONDS),180) $(ARGS)

tradeday: setup-dev ## a generated day of trade at five outlets, compared with an oracle (ORDERS=1000)
	@TRADE_ORDERS=$(or $(ORDERS),1000) $(PYTHON) -m tests.run --only servers -n 0 --timeout 900 -s tests/test_trade_day.py

bench: setup-dev ## measure on PostgreSQL (NAME=dispatch, outbound, inbound or budget, ARGS=part)
	@exec $(PYTHON) -m benchmarks.run $(NAME) $(ARGS)

messages: setup-dev ## collect the texts to translate and compile the translations (needs gettext)
	$(PYTHON) manage.py makemessages --locale id --no-obsolete --ignore .venv --ignore var --ignore tests
	$(PYTHON) manage.py compilemessages --locale id --ignore .venv

setup:
	@$(call install,requirements.txt,run)

setup-dev:
	@$(call install,requirements-dev.txt,dev)

clean: ## remove .venv, the caches and the development data in var/
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,<requirements file>,<stamp>): the stamp holds a checksum of what was installed, so
# that a second start installs nothing and an interrupted one starts over. The development set holds
# the running one, so installing it stamps both.
define install
set -e; \
if ! $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	for python in python3.13 python3.12 python3.11 python3 none; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	done; \
	if [ $$python = none ]; then \
		echo 'Posz Hub needs Python 3.11 or newer, and none was found as python3.13, python3.12, python3.11 or python3.' >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	if $$python -c 'import venv, ensurepip' >/dev/null 2>&1; then \
		$$python -m venv --clear $(VENV); \
	elif $$python -c 'import venv, pip' >/dev/null 2>&1; then \
		$$python -m venv --clear --without-pip $(VENV); \
		$$python -m pip --python $(PYTHON) install --quiet --disable-pip-version-check pip; \
	else \
		echo "$$python can not make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	fi; \
fi; \
run=$$(cksum < requirements.txt); dev="$$run $$(cksum < requirements-dev.txt)"; \
if [ "$$(cat $(VENV)/.installed-$2 2>/dev/null)" != "$$$2" ]; then \
	echo 'Installing $1; the first time takes about a minute'; \
	rm -f $(VENV)/.installed-run $(VENV)/.installed-dev; \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input -r $1; \
	if [ $2 = dev ]; then echo "$$dev" > $(VENV)/.installed-dev; fi; \
	echo "$$run" > $(VENV)/.installed-run; \
fi
endef
