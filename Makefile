# What a newcomer runs: `make demo`, then `make test`. Both install what they need.

SWIFT ?= swift
MMQ = .build/release/mmq

.PHONY: all deps build demo test test-arm bench format lint goldens clean

all: build

deps:
	@tools/install_deps.sh

build: deps
	@echo "Building mmq (release) ..."
	$(SWIFT) build -c release --product mmq

demo: build
	@$(MMQ) demo --output .build/demo

test: deps
	@echo "Building and running all tests ..."
	$(SWIFT) test

# The NEON kernels, against the scalar ones, on an emulated Arm CPU (natively on a real one).
test-arm:
	@tools/test_arm.sh

# MODEL=DIR times a converted model; without it the tiny demo model.
bench: build
	@MMQ=$(MMQ) MODEL="$(MODEL)" tools/bench.sh

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests
	clang-format -i CSIMD/*.c CSIMD/*.h CSIMD/*.inc CSIMD/include/*.h Sources/CImageCodecs/*.c Sources/CImageCodecs/*.h Sources/CImageCodecs/include/*.h tools/*.c tools/*.h tools/avx512/*.c

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests
	@if command -v node > /dev/null; then node --check Sources/MMQReport/Resources/report.js; \
	else echo "no node here: report.js was not checked" >&2; fi

# Makes every golden anew with transformers (minutes; needs the network for Python packages).
goldens:
	@tools/goldens.sh

clean:
	rm -rf .build
