# Everything a newcomer types. `make` alone explains itself.
#
# One environment, .venv, is made and kept current from pyproject.toml and setup.py.
# Say PYTHON=python3.12 to choose the interpreter, JOBS=6 to test on more cores: three workers keep
# two busy, because tests of real processes wait a lot.

PYTHON ?= python3
JOBS ?= 3

VENV := .venv
PY := $(VENV)/bin/python
# The stamps carry the folder's checksum: an environment copied along with its tree still
# points at the old folder, and would silently run the code there.
HERE := $(firstword $(shell printf '%s' '$(CURDIR)' | cksum))
RUNTIME := $(VENV)/.installed-$(HERE)
DEV := $(VENV)/.installed-dev-$(HERE)
SITE := $(VENV)/.installed-docs-$(HERE)

# Several workers share the cores: numeric threads of each, too, would cost a quarter more.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest

PARTS := api shared client server simulations

# Nothing here reports home (Flower would by default).
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Checks start hundreds of processes: they compile the sources once, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help:  ## show this list
	@echo "Fieldfare: institutions learn together, and only noised, masked sums leave them."
	@echo
	@sed -n 's/^\([a-z-]*\):.*  ## /\1 /p' $(firstword $(MAKEFILE_LIST)) \
	| while read -r target what; do printf '  make %-15s %s\n' "$$target" "$$what"; done

# --- what most people want -------------------------------------------------------------

.PHONY: demo
demo: $(RUNTIME)  ## set up, invent a world, let its banks, NGOs and hotline learn together, report
	$(VENV)/bin/fieldfare demo --out out/demo

.PHONY: federation
federation: $(RUNTIME)  ## a coordinator and three banks as real processes: train, audit, leave it running
	$(VENV)/bin/fieldfare federation up --out out/federation

.PHONY: federation-stop
federation-stop:  ## end what make federation left running
	$(VENV)/bin/fieldfare federation down --out out/federation

.PHONY: test
test: $(DEV)  ## set up and run the fast tests; says what make faults adds
	$(PYTEST) -n $(JOBS) -m "not faults and not promises"
	@echo "The fast tests passed. make faults adds whole deployments, killed processes, cut lines"
	@echo "and full disks (20 to 40 minutes); make check adds lint, types and imports."

.PHONY: check
check: lint types imports test  ## the one gate: lint, types, imports, fast tests
	@echo "make check: everything holds"

# --- the gate, stage by stage ----------------------------------------------------------

.PHONY: lint
lint: $(DEV)  ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

.PHONY: types
types: $(DEV)  ## mypy, strict, over the source and the tests
	$(PY) -m mypy .typing/fieldfare tests docs

.PHONY: imports
imports: $(DEV)  ## import-linter: simulations -> server | client -> shared
	cd .typing && ../$(PY) ../$(VENV)/bin/lint-imports --no-cache --config ../pyproject.toml

.PHONY: coverage
coverage: $(DEV)  ## tests (without fault injection) with the coverage floor
	$(PYTEST) -n $(JOBS) -m "not faults and not promises" --cov --cov-report=term

.PHONY: faults
faults: $(DEV)  ## whole deployments; kill processes, cut lines, fill disks, see what is left
	timeout --foreground 40m env $(PYTEST) -n 3 --dist loadgroup -m "faults and not promises"

.PHONY: mutants
mutants: $(DEV)  ## put in bugs that would break a promise, see the tests catch each
	$(PY) -m tests.mutants

.PHONY: nightly
nightly: $(DEV)  ## the long form of one part; without PART= it lists the parts
	@case "$(PART)" in \
	  mutants) $(MAKE) mutants ;; \
	  golden) $(PY) -m tests.golden.record ;; \
	  recorded) rm -rf out/recorded && nice -n 5 $(PY) -m tests.recorded record out/recorded \
	      && $(PY) -m tests.recorded compare $(BEFORE) out/recorded ;; \
	  lab) FIELDFARE_LAB_LONG=1 timeout --foreground 60m env $(PYTEST) -n 2 -m "faults or promises" tests/docs ;; \
	  console) mkdir -p out/console && FIELDFARE_CONSOLE_LONG=1 FIELDFARE_SCREENSHOTS=$(CURDIR)/out/console \
	      timeout --foreground 60m env $(PYTEST) -n 2 -m "faults or promises" tests/deployment/consoles \
	      tests/deployment/test_coordinator_console.py tests/client/console tests/client/desk \
	      tests/server/console tests/server/desk tests/shared/console ;; \
	  coverage) $(MAKE) coverage ;; \
	  attacks) FIELDFARE_KILL_SEEDS=6 FIELDFARE_RESUME_SEEDS=6 FIELDFARE_MARKED_FILES=10000 timeout --foreground 60m env $(PYTEST) -n 2 --dist loadgroup \
	      tests/security tests/deployment/losses ;; \
	  demo) FIELDFARE_DEMO_SEEDS=20 $(PYTEST) -n 2 tests/simulations/demo/test_screen_is_true.py ;; \
	  operate) FIELDFARE_OPERATE_LONG=1 timeout --foreground 60m env $(PYTEST) -n 2 --dist loadgroup -m "faults or promises" tests/operation \
	      tests/deployment/test_many.py ;; \
	  promises) FIELDFARE_NIGHT=1 $(PYTEST) -n 2 -m "promises or hypothesis and not faults" --ignore tests/deployment/consoles --ignore tests/operation --ignore tests/scale ;; \
	  scale) FIELDFARE_SCALE_LONG=1 timeout --foreground 60m env $(PYTEST) -n 0 -m "faults or promises" tests/scale ;; \
	  years) FIELDFARE_OPERATE_LONG=1 timeout --foreground 60m env $(PYTEST) -n 2 tests/operation/years ;; \
	  model) $(PY) -m tests.security.protocol_model.scenarios ;; \
	  audit) for epsilon in 1 4; do \
	      for form in training asked moments start local; do \
	        $(PY) -m fieldfare.simulations.attacks.canaries --epsilon $$epsilon --form $$form || exit 1; \
	        $(PY) -m fieldfare.simulations.attacks.canaries --epsilon $$epsilon --form $$form --halve-noise && exit 1 || true; \
	      done; \
	    done; $(VENV)/bin/fieldfare attack door && $(VENV)/bin/fieldfare attack poisoning --seeds 5 ;; \
	  *) echo "make nightly: expected PART=mutants, attacks, audit, console, coverage, demo, golden, lab, model, operate, promises, recorded, scale or years, found PART=$(PART)"; exit 2 ;; \
	esac

.PHONY: locks
locks: $(DEV)  ## write the lock of every role anew: one version of each package, with hashes
	$(PY) -m tests.packaging.make_locks

.PHONY: site
site: $(SITE)  ## build the documents as a site, offline, with references from the code: out/site/index.html
	$(PY) -m docs.site out

.PHONY: bench
bench: $(DEV)  ## measure the speeds that the project promises; results in bench/
	$(PY) -m tests.benchmarks.everything --keep

.PHONY: bench-large
bench-large: $(DEV)  ## measure large records and many members, for hours; results in bench/
	$(PY) -m tests.benchmarks.kept.large $(if $(LINE),--line $(LINE))

.PHONY: bench-flames
bench-flames: $(DEV)  ## draw where time goes, as flame graphs in out/flames, beside the machine's limits
	$(PY) -m tests.benchmarks.flames.flames --keep

# --- the environment -------------------------------------------------------------------

.PHONY: venv
venv: $(PY)  ## make an empty environment (to choose a torch build before anything else)

$(PY):
	@[ "$$(uname -s)" = Linux ] || { echo "Fieldfare runs on Linux only; this is $$(uname -s)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Fieldfare needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)"; \
	  echo "Name a newer one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),demo)"; exit 1; }
	@# A half-made environment would look finished to the next run.
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): pyproject.toml setup.py $(PY)
	@rm -rf *.egg-info  # a stale one would hide commands that were added since
	@# Python compiles what is used when it is first used: a fifth of the disk and half a minute less.
	$(PY) -m pip install --no-compile -e '.[demo]'
	@touch $@

$(DEV): pyproject.toml setup.py $(PY)
	@rm -rf *.egg-info
	$(PY) -m pip install -e '.[dev]'
	@touch $(RUNTIME) $(SITE) $@

# Beside what runs: the project itself is left as it is installed.
$(SITE): $(RUNTIME)
	$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])' \
	| xargs $(PY) -m pip install --no-compile
	@touch $@

.PHONY: clean
clean:  ## remove everything that was built, except the environment
	rm -rf out build dist *.egg-info .coverage .coverage.* \
	  .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(PARTS) tests -type d -name __pycache__ -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean  ## remove the environment too
	rm -rf $(VENV)
