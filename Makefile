PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT ?= runs/demo
JOBS ?= 2

.PHONY: install test lint demo sanitize bench bench-report check-triton check-gpu check-gpu-model tune

install: $(STAMP)

# torch goes in first and pinned: which build it is (CPU, CUDA) decides what the packages after it ask for.
$(STAMP): pyproject.toml setup.py constraints.txt CMakeLists.txt $(wildcard gsskernels/native/src/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# JOBS processes at a time; a process that has run its share takes tests of another one.
PARALLEL = -n $(JOBS) --dist worksteal
test: install
	$(BIN)/python -m pytest -q $(PARALLEL)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: install
	$(BIN)/gss demo --out $(DEMO_OUT)

# The native library rebuilt with sanitizers, under the tests of gsskernels. Python is not instrumented, so the runtimes
# are preloaded; what Python and torch leak at exit is theirs. ThreadSanitizer needs a fixed address layout (setarch -R).
runtime = $$($(CXX) -print-file-name=lib$(1).so)
sanitize: install
	$(BIN)/cmake -S . -B build/sanitize -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DGSS_SANITIZE=address;undefined" > /dev/null
	$(BIN)/cmake --build build/sanitize --parallel
	LD_PRELOAD="$(call runtime,asan) $(call runtime,ubsan)" GSSKERNELS_LIBRARY=build/sanitize/libgsskernels.so \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(BIN)/python -m pytest -q --capture=sys -p no:cacheprovider tests/gsskernels
	$(BIN)/cmake -S . -B build/race -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGSS_SANITIZE=thread > /dev/null
	$(BIN)/cmake --build build/race --parallel
	LD_PRELOAD="$(call runtime,tsan)" GSSKERNELS_LIBRARY=build/race/libgsskernels.so OMP_NUM_THREADS=1 \
	TSAN_OPTIONS=halt_on_error=1 setarch -R $(BIN)/python tests/gsskernels/native/race_check.py

# Every GPU kernel in the interpreter, and compiled for every architecture: machine code against the checked-in table.
check-triton: install
	$(BIN)/python -m benchmarks.static
	$(BIN)/python -m pytest -q $(PARALLEL) tests/gsskernels/triton tests/benchmarks

# On a machine with a GPU, torch, triton, pytest and pytest-benchmark; nothing is installed. OUT=DIR puts the results
# elsewhere, BUDGET=SECONDS ends the benchmark early and keeps its rows.
ANY_PYTHON = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
check-gpu:
	$(ANY_PYTHON) -m pytest -q tests/gsskernels
	$(ANY_PYTHON) -m pytest benchmarks/kernels --benchmark-only --benchmark-quiet -q $(if $(BUDGET),--budget $(BUDGET)) \
		$(if $(OUT),--results $(OUT)/kernels-gpu.json)

# The model there: needs what gss needs, and xformers to compare.
check-gpu-model:
	$(ANY_PYTHON) -m benchmarks.model.gpu --out $(or $(OUT),benchmarks/results)/model-gpu.json

tune:
	$(ANY_PYTHON) -m gsskernels.tune $(if $(OUT),--out $(OUT)) $(if $(QUICK),--quick) $(if $(KERNELS),--kernels $(KERNELS))

# Other libraries to compare with, into the same environment and only for this.
BENCH := $(VENV)/.bench
$(BENCH): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	touch $@

bench: $(BENCH)
	$(BIN)/python -m pytest benchmarks/kernels --benchmark-only --benchmark-quiet -q --device cpu \
		$(if $(QUICK),--quick) $(if $(OPS),--ops $(OPS))

bench-report: $(BENCH)
	$(BIN)/python -m benchmarks.kernels.report
