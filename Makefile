# The front door: `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
JOBS ?= $(shell nproc)
MINUTES ?= 10
FROM ?= 1

.PHONY: help quickstart build test test-storm test-tsan fuzz fuzz-coverage fuzz-minimise fuzz-build check simulate simulate-mutants tidy format bench soak neighbours build-times clean packages-build packages-test packages-run

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

quickstart: build packages-run  ## build, then run a server with a local worker, user test/test and an example pipeline
	@tools/quickstart.sh

build: packages-build  ## release build: build/release/pinion and the link build/release/fly
	@cmake --preset release >build/release.log 2>&1 || { cat build/release.log; exit 1; }
	@cmake --build --preset release -j $(JOBS)
	@ln -sf pinion build/release/fly

test: packages-build packages-test packages-run check  ## all tests (dev preset: ASan, UBSan, assertions)
	@cmake --preset dev >build/dev.log 2>&1 || { cat build/dev.log; exit 1; }
	@cmake --build --preset dev -j $(JOBS)
	@tools/run_tests.py build/dev

test-storm: build packages-test packages-run  ## 1,000 kills of the server at seeded moments (SEED=N draws them again)
	@STORM_KILLS=$${STORM_KILLS:-1000} STORM_SEED=$${SEED:-$$(date +%s)} tests/test_survival.py build/release

test-tsan: packages-build packages-test  ## tests of the concurrent modules under ThreadSanitizer
	@mkdir -p build && cmake --preset tsan >build/tsan.log 2>&1 || { cat build/tsan.log; exit 1; }
	@cmake --build --preset tsan -j $(JOBS)
	@tools/run_tests.py build/tsan

fuzz: fuzz-build  ## fuzz every target (or TARGETS="yaml …") for MINUTES=10 each, as many at once as there are cores
	@tools/fuzz.py build/dev run --minutes $(MINUTES) --jobs $(JOBS) $(TARGETS)

fuzz-coverage: fuzz-build  ## lines of each parser that its corpus covers; fails below 80 %
	@tools/fuzz.py build/dev coverage $(TARGETS)

fuzz-minimise: fuzz-build  ## put what fuzzing found into fuzz/corpus, as few inputs as cover the same
	@tools/fuzz.py build/dev minimise $(TARGETS)

fuzz-build: packages-build packages-test
	@cmake --preset dev >build/dev.log 2>&1 || { cat build/dev.log; exit 1; }
	@cmake --build --preset dev -j $(JOBS) --target fuzz_targets

simulate: packages-build packages-test  ## run seed after seed of the simulation for MINUTES=10; a failing one is printed
	@mkdir -p build && cmake --preset dev >build/dev.log 2>&1 || { cat build/dev.log; exit 1; }
	@cmake --build --preset dev -j $(JOBS) --target simulation
	@build/dev/tests/simulation/simulation --minutes $(MINUTES) --seeds $(FROM) 0

simulate-mutants: packages-build packages-test  ## break the product in five ways: the simulation must find each
	@mkdir -p build && cmake --preset dev >build/dev.log 2>&1 || { cat build/dev.log; exit 1; }
	@cmake --build --preset dev -j $(JOBS) --target simulation
	@build/dev/tests/simulation/simulation --mutants

check: packages-build  ## format, layers, clang-tidy on what changed
	@tools/check_layers.py
	@tools/check_format.sh
	@tools/check_tidy.py --changed

tidy: packages-build  ## clang-tidy on every source; what was clean is remembered
	@tools/check_tidy.py

format:  ## format every source in place
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

neighbours: build  ## how much slower builds are beside tasks that take what they can; on a quiet machine
	@tests/neighbours.py build/release

soak: build  ## many builds of every kind, with kills; nothing may be left (BUILDS=5000)
	@tests/soak.py build/release --builds $(or $(BUILDS),5000)

bench: build  ## measure, beside the floor in the same run (figures: bench/README.md)
	@bench/run

build-times:  ## the ten slowest translation units of the last dev build
	@tools/build_times.py build/dev

clean:  ## remove build/
	@rm -rf build

packages-build packages-test packages-run: packages-%:
	@mkdir -p build
	@tools/install_packages.sh $*
