# Two commands for a user: `make run` and `make test`. Each builds what is missing first.
#
#   make run     the main job: the dashboard in a terminal; elsewhere, or with ARGS, the email scenario with a kill -9 in the
#                middle (ARGS='--rate 200' adds options)
#   make test    all tests, Python and Rust (ARGS='tests/load -x': some of the Python ones, as given to pytest)
#   make lint    ruff, mypy, import rules, rustfmt, clippy
#   make bench   comparisons with named peers, as ratios (needs wrk); make bench-core: the parts without Python, alone
#   make kills   random kills of real servers, N of them (N=1000)
#   make soak    ten minutes of everything that clients can do to the server (ARGS='--minutes 1')
#   make wheel   a wheel for this machine, in dist
#   make docs    the parts of the documentation that are generated
#   make clean   removes everything that was built

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
RUST := $(shell find server/core server/native -name '*.rs' -o -name 'Cargo.toml') server/Cargo.toml server/Cargo.lock
PROBE_RUST := $(shell find server/probe -name '*.rs' -o -name 'Cargo.toml')
ACCELERATOR := harness/probe/afterload_probe/_accelerator.abi3.so
N ?= 100
ARGS ?=
# As maturin sets them: with others cargo would compile PyO3 anew for the wheel, for lint, and for the wheel again.
PYO3 = PYO3_PYTHON=$(abspath $(BIN)/python) PYO3_BUILD_EXTENSION_MODULE=1 PYO3_ENVIRONMENT_SIGNATURE=$$($(abspath $(BIN)/python) -c \
	'import struct, sys; print("%s-%d.%d-%dbit" % (sys.implementation.name, *sys.version_info[:2], 8 * struct.calcsize("P")))')

TEST_CORE = cargo test --locked -q -p afterload-core
TEST_MODELS = RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom cargo test --locked -q --profile loom -p afterload-core --lib

.PHONY: run test test-rust test-rust-compiled test-python lint lint-python lint-rust bench bench-core kills soak docs wheel clean constraints install

run: .make/built
	@if [ -t 0 ] && [ -t 2 ] && [ -z "$(ARGS)" ]; then $(BIN)/afterload; else $(BIN)/afterload run email $(ARGS); fi

test: test-rust test-python

# Three at a time, since most of them wait most of the time; those that run afterload by themselves, whose load should be on time.
test-python: .make/built
	$(BIN)/python -m pytest $(or $(ARGS),-n 3 --dist worksteal --ignore tests/run)
	$(if $(ARGS),,$(BIN)/python -m pytest -n 3 --dist worksteal tests/run)

test-rust: .make/built
	cd server && $(TEST_CORE)
	cd server && $(TEST_MODELS) models

# Needs nothing of Python: .ci/run compiles it beside the modules, whose last half minute of compiling takes one core alone.
test-rust-compiled:
	cd server && $(TEST_CORE) --no-run
	cd server && $(TEST_MODELS) --no-run

lint: lint-python lint-rust

lint-python: .make/built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-rust: .make/built
	cd server && cargo fmt --all --check
	cd server && $(PYO3) cargo clippy --locked --release --all-targets -- -D warnings
	cd server && $(PYO3) cargo clippy --locked --release -p afterload-probe -- -D warnings

bench: .make/built .make/peers/ready
	$(BIN)/python -m bench $(ARGS)

bench-core:
	cd server && cargo bench --locked -q -p afterload-core-benches

# The servers that bench compares with, in an environment of their own.
.make/peers/ready: bench/peers.txt
	@echo "make: setting up .make/peers"
	@test -x .make/peers/bin/python || $(PYTHON) -m venv .make/peers
	@.make/peers/bin/python -m pip --disable-pip-version-check -q install -r bench/peers.txt
	@touch $@

kills: .make/built
	$(BIN)/python -m tests.kills $(N) $(ARGS)

soak: .make/built
	$(BIN)/python -m tests.soak $(ARGS)

docs: .make/built
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.grid renew

install: .make/built

# The environment: everything pinned by constraints.txt.
.make/env: pyproject.toml constraints.txt
	@echo "make: setting up $(VENV) (about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; $(PYTHON) is older (set PYTHON=...)" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "error: the Rust toolchain is needed: cargo was not found" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -U pip -c constraints.txt
	@$(PIP) install -c constraints.txt --group dev
	@mkdir -p .make && touch $@

# The compiled part of the probe: one file for every CPython from 3.10 on. Without it the probe does everything in Python.
$(ACCELERATOR): $(PROBE_RUST) server/Cargo.toml server/Cargo.lock | .make/env
	@echo "make: building the probe's accelerator"
	@{ cd server && $(PYO3) cargo build --locked --release -p afterload-probe \
		&& install -m 755 target/release/lib_accelerator.so ../$@.new && mv ../$@.new ../$@; } \
		>.make/build.log 2>&1 || { cat .make/build.log >&2; exit 1; }

# The compiled module, and the project itself as an editable install.
.make/built: .make/env $(RUST) $(ACCELERATOR)
	@echo "make: building server._native (the first time about a minute)"
	@PIP_CONSTRAINT=$(abspath constraints.txt) VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked \
		>.make/build.log 2>&1 || { cat .make/build.log >&2; exit 1; }
	@# So that the first start need not: the sources of the screen take 0.2 s to compile.
	@$(BIN)/python -m compileall -q -l server
	@$(BIN)/python -m compileall -q scenarios harness dashboard
	@touch $@

wheel: .make/built
	PIP_CONSTRAINT=$(abspath constraints.txt) VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin build --release --locked -i $(BIN)/python -o dist

constraints:
	rm -rf .make/constraints && $(PYTHON) -m venv .make/constraints
	.make/constraints/bin/pip install -q -U pip && .make/constraints/bin/pip install -q --group dev .
	{ echo "# Exact versions of everything that make installs. Renew with: make constraints"; \
	  .make/constraints/bin/pip freeze --exclude afterload; } > constraints.txt

clean:
	rm -rf .make .venv dist server/target server/_native*.so $(ACCELERATOR) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
