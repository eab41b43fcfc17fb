# What a newcomer runs: `make demo`, then `make test`. Both install what they need.

SWIFT ?= swift
MMQ = .build/release/mmq
# Swift's runtime inside: every command starts in less than half the time (macOS has the runtime itself).
RELEASE = -c release $(if $(filter Linux,$(shell uname -s)),--static-swift-stdlib)

PYTHON = .build/venv/bin/python

# For each target of `make fuzz`.
SECONDS = 60

.PHONY: all deps build demo test test-arm test-cluster test-python wheel test-sanitized fuzz bench format lint venv goldens clean

all: build

deps:
	@tools/install_deps.sh

build: deps
	@echo "Building mmq (release) ..."
	$(SWIFT) build $(RELEASE) --product mmq

demo: build
	@$(MMQ) demo --output .build/demo

test: deps
	@echo "Building and running all tests ..."
	$(SWIFT) test

# The NEON kernels, against the scalar ones, on an emulated Arm CPU (natively on a real one).
test-arm:
	@python3 tools/check leaves-arm

# The demo's study on a Slurm cluster of this machine alone, with nodes that die (Debian, as root; minutes).
test-cluster: build
	@python3 tools/check cluster

# The Python package's tests, which drive the program that `make test` builds (numpy, in a venv if there is none).
test-python: deps
	$(SWIFT) build --product mmq
	@python3 tools/check python --mmq .build/debug/mmq

# The Python package with the program inside, for machines without Swift: dist/mmq-*.whl.
wheel: deps
	@SWIFT="$(SWIFT)" python3 tools/wheel

# The tests once more, under the sanitizers for addresses, undefined behaviour and threads.
test-sanitized: deps
	@SWIFT="$(SWIFT)" python3 tools/check sanitized

# Damaged files for everything that reads one; SECONDS=N for each of the targets.
fuzz: deps
	@SWIFT="$(SWIFT)" python3 tools/check fuzz --seconds $(SECONDS)

# MODEL=DIR times a converted model; without it the tiny demo model.
bench: build
	@python3 tools/bench model --mmq $(MMQ) $(if $(MODEL),--model "$(MODEL)")

format:
	@SWIFT="$(SWIFT)" tools/lint.sh --fix

# Swift always; C, Python and JavaScript where clang-format, ruff and node are there.
lint:
	@SWIFT="$(SWIFT)" tools/lint.sh

# The packages of tools/requirements.txt, for the tools that need some (minutes; needs the network).
venv: $(PYTHON)

$(PYTHON): tools/requirements.txt
	@echo "Making a virtual environment in .build/venv ..."
	@python3 -m venv .build/venv
	@.build/venv/bin/pip install -q -r tools/requirements.txt
	@touch $(PYTHON)

# Makes every golden anew with transformers (minutes); ggml's blocks only with GGML_BASE=.../libggml-base.so.
goldens: venv
	@$(PYTHON) tools/goldens
	@git status --short Tests/Golden

clean:
	rm -rf .build dist
