# edgefleet: every target does all of its own set-up from a bare Python 3.11 with plain pip.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Extras of the server: tflite writes .tflite files (1.2 GB and a minute more). `make setup EXTRAS=` leaves it out.
EXTRAS ?= tflite
comma := ,
READY := $(VENV)/.ready$(EXTRAS:%=-%)

# Interpreters of the boards, where this machine has them: the agent's floor (3.9), Raspberry Pi OS trixie's (3.13) and
# the runner's floor (3.6).
find_python = $(shell for p in python$(1) $$HOME/.pyenv/versions/$(1).*/bin/python$(1); do \
	"$$p" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$(1)')" 2>/dev/null && { echo "$$p"; break; }; done)
PYTHON39 ?= $(call find_python,3.9)
PYTHON36 ?= $(call find_python,3.6)
PYTHON313 ?= $(call find_python,3.13)
BOARD_VENVS := $(if $(PYTHON39),.venv-agent39/.ready) $(if $(PYTHON36),.venv-runner36/.ready)

.PHONY: setup demo docs screenshots test check bench bench-pages bench-compression bench-fleet bench-measurement bench-search bench-targets test-linux-i2c test-arm64 lint-ansible wheels require-board-pythons format clean

setup: $(READY)

$(READY): pyproject.toml agent/pyproject.toml constraints/server-py311.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints/server-py311.txt --editable ./agent --editable '.[dev$(EXTRAS:%=$(comma)%)]'
	touch $@

.venv-agent39/.ready: agent/pyproject.toml constraints/agent-py39.txt
	$(PYTHON39) -m venv .venv-agent39
	.venv-agent39/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints/agent-py39.txt --editable './agent[onnxruntime]'
	touch $@

# pip 18, which comes with 3.6, does not see manylinux2014 wheels
.venv-runner36/.ready: constraints/runner-py36.txt
	$(PYTHON36) -m venv .venv-runner36
	.venv-runner36/bin/python -m pip install --quiet --disable-pip-version-check pip==21.3.1
	.venv-runner36/bin/python -m pip install --quiet --disable-pip-version-check --requirement constraints/runner-py36.txt
	touch $@

# tflite-runtime needs numpy 1, so it has an environment of its own
.venv-tflite/.ready: constraints/runner-tflite.txt
	$(PYTHON) -m venv .venv-tflite
	.venv-tflite/bin/python -m pip install --quiet --disable-pip-version-check --requirement constraints/runner-tflite.txt
	touch $@

demo: setup
	$(BIN)/edgefleet demo $(DEMO_ARGUMENTS)

test: setup $(BOARD_VENVS) .venv-tflite/.ready
	OMP_NUM_THREADS=1 EDGEFLEET_PY39="$(if $(PYTHON39),$(CURDIR)/.venv-agent39/bin/python)" \
	EDGEFLEET_PY36="$(if $(PYTHON36),$(CURDIR)/.venv-runner36/bin/python)" \
	EDGEFLEET_PY313="$(PYTHON313)" \
	EDGEFLEET_TFLITE_PYTHON="$(CURDIR)/.venv-tflite/bin/python" \
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_ARGUMENTS)

# a file of tests stays on one worker, the long ones of tests/acceptance first, which wait more than they compute: one worker
# more than cores; each test's processes have their own host lock
TEST_WORKERS ?= 3

# CI must not skip what needs the boards' interpreters
require-board-pythons:
	@test -n "$(PYTHON39)" || { echo "no Python 3.9 found: install one or set PYTHON39" >&2; exit 1; }
	@test -n "$(PYTHON36)" || { echo "no Python 3.6 found: install one or set PYTHON36" >&2; exit 1; }
	@test -n "$(PYTHON313)" || { echo "no Python 3.13 found: install one or set PYTHON313" >&2; exit 1; }

check: setup docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --violations -t=3.6- agent/edgefleet_agent/runner

# the documentation site, from the pages as they are; a link that leads nowhere is an error
docs: setup
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees -c docs . build/docs
	@echo "file://$(CURDIR)/build/docs/index.html"

# pictures of the pages for docs/img, from a controller with made-up boards; needs Chromium
screenshots: setup
	$(BIN)/python -m tests.browser.screenshots $(SCREENSHOT_ARGUMENTS)

bench: setup
	$(BIN)/python tests/benchmarks/bench_plain_loop.py

# server time of every page over 100,000 runs, and a front of 10,000 points in Chromium
bench-pages: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_pages.py $(BENCH_ARGUMENTS)

# thousands of simulated agents and injected faults, on SQLite and on a PostgreSQL of its own
bench-fleet: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_fleet.py $(BENCH_ARGUMENTS)

bench-measurement: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_measurement.py

# SCALE=sweep: an hour or two, full: hours, gpu: days on a CPU; ROWS=name,...: only these; finished pieces are kept under
# bench/. BENCH_ARGUMENTS=--publish writes docs/compression/results.*, --retime measures the speed of kept files anew.
# Idle OpenMP threads sleep: spinning ones slow training down eightfold on a busy machine.
bench-compression: setup
	OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_compression.py \
		--scale $(or $(SCALE),quick) --rows "$(ROWS)" $(BENCH_ARGUMENTS)

# searches a committed grid of 216 measured recipes with every sampler; carries five of its rows out again.
# BENCH_ARGUMENTS=--grid carries the whole grid out first, most of an hour of one core
bench-search: setup
	OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_search.py $(BENCH_ARGUMENTS)

# three architectures x runtimes x precisions through the API on this host
bench-targets: setup .venv-tflite/.ready
	EDGEFLEET_TFLITE_PYTHON="$(CURDIR)/.venv-tflite/bin/python" $(BIN)/python tests/benchmarks/bench_targets.py

# drivers against a real Linux I2C stack: an emulated guest with i2c-stub (needs qemu-system-x86, cpio, kmod)
test-linux-i2c: setup
	tests/hardware/linux_i2c/run_guest.sh $(BIN)/python

# wheels for the roles in ansible/ to install
wheels: setup
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist ./agent .

.venv-ansible/.ready: ansible/python-requirements.txt ansible/requirements.yml
	$(PYTHON) -m venv .venv-ansible
	.venv-ansible/bin/python -m pip install --quiet --disable-pip-version-check --requirement ansible/python-requirements.txt
	touch $@

# the roles at ansible-lint's strictest profile, and the units they write through systemd's own checks
lint-ansible: setup .venv-ansible/.ready
	cd ansible && PATH="$(CURDIR)/.venv-ansible/bin:$$PATH" ../.venv-ansible/bin/ansible-lint --offline --profile production
	EDGEFLEET_ANSIBLE="$(CURDIR)/.venv-ansible/bin" $(BIN)/python -m pytest -q tests/acceptance/test_ansible_units.py

# an emulated Debian arm64 root, provisioned by the roles and enrolled at a controller here; needs root, see docs/boards.md
test-arm64: setup .venv-ansible/.ready
	tests/hardware/arm64/run.sh $(BIN)/python .venv-ansible/bin

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-agent39 .venv-runner36 .venv-tflite .venv-ansible bench dist build .edgefleet .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
