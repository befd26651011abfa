# The one entry point. `make` alone lists the targets.
#
# What needs a real API server gets the folder that tools/build prints, built once and kept outside the checkout; set
# KUBEBUILDER_ASSETS to use another. Nothing here touches a cluster of yours.

CARGO ?= cargo
# tools/build prints one line, KUBEBUILDER_ASSETS=<folder>; everything else it says goes to stderr.
WITH_TOOLS = assets=$$(tools/build) && env "$$assets"
# The same for MFA_MONITORING=<folder>, which only the tests need.
WITH_MONITORING = monitoring=$$(tools/monitoring-tools) && export "$$monitoring"
# Where the demo finds what was built: operator and demo in one build, so that nothing is compiled twice.
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the operator against a local control plane and the simulated API; KEEP=1 leaves it running
	@$(WITH_TOOLS) sh -c '$(CARGO) build --locked --target-dir "$(TARGET_DIR)" -p mfa-operator -p mfa-sandbox && \
		exec "$(TARGET_DIR)/debug/demo"'

.PHONY: test
test: ## Run all tests that need no root
	@gitops=$$(tools/gitops-tools) && export "$$gitops" && \
		$(WITH_MONITORING) && $(WITH_TOOLS) $(CARGO) test --workspace --locked --lib --bins --tests
	@$(WITH_TOOLS) $(CARGO) test --locked --features otlp --test otlp

.PHONY: fuzz
fuzz: ## Feed rubbish to all that decodes; SECONDS_EACH=60 a target, TARGETS=regex picks some, JOBS=2 at a time
	@tools/fuzz

.PHONY: mutants
mutants: ## Change the pure files here and there and see that tests notice; FILES="src/…" picks some
	@tools/mutants

.PHONY: verify
verify: ## Exhaust the larger worlds of the model check, in minutes; `make test` has the smaller ones
	@$(CARGO) test --locked --profile verify -p mfa-operator --test model -- --include-ignored --nocapture --test-threads 1

# A run that fails prints its seed; the same SEED, MINUTES and RESOURCES make the same things happen again.
SEED ?=
MINUTES ?= 5
RESOURCES ?= 500

.PHONY: soak
soak: ## Hundreds of resources under faults, restarts and changes: SEED=1 MINUTES=5 RESOURCES=500
	@$(WITH_TOOLS) SOAK_SEED="$(SEED)" SOAK_MINUTES="$(MINUTES)" SOAK_RESOURCES="$(RESOURCES)" \
		$(CARGO) test --locked -p mfa-operator --test it soak::a_soak_as_long_as_is_wanted -- --exact --nocapture

.PHONY: e2e
e2e: ## Run the image on one real node (Linux, root, Debian; installs what it lacks); STEP= runs only some steps
	@tools/debian
	@$(WITH_TOOLS) sh -c 'node=$$(tools/node/build) && image=$$(tools/image) && \
		$(CARGO) build --locked --target-dir "$(TARGET_DIR)" -p mfa-sandbox --bins && \
		exec env "$$node" "$$image" "$(TARGET_DIR)/debug/e2e" $(if $(STEP),"$(STEP)")'

# A quick run, or one of some PARTS, writes no page.
.PHONY: bench
bench: ## Measure the figures of docs/performance.md and write them there; PARTS selects, BENCH_QUICK=1 tries it out
	@$(WITH_TOOLS) sh -c '$(CARGO) build --release --locked --target-dir "$(TARGET_DIR)" -p mfa-operator -p mfa-bench && \
		$(if $(BENCH_QUICK),,BENCH_PAGE=docs/performance.md) exec "$(TARGET_DIR)/release/mfa-bench" $(PARTS)'

.PHONY: lint
lint: ## Check format, clippy, dependencies, scripts, and that generated files are up to date
	@.ci/lint

.PHONY: generate
generate: ## Write the generated files anew: the CRD, the golden tables, what the chart renders
	@MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --lib
	@$(WITH_TOOLS) MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --test it generated

.PHONY: tools
tools: ## Build etcd, kube-apiserver, kubectl and helm, and prometheus with promtool, once; the last line says where the four are
	@tools/monitoring-tools >&2
	@tools/build

.PHONY: control-plane
control-plane: ## Run a local etcd and kube-apiserver until ctrl-c, and print its kubeconfig
	@$(WITH_TOOLS) $(CARGO) run --locked --quiet -p mfa-sandbox --bin control-plane

# The image: IMAGE names it, BUILDER_IMAGE and BASE_IMAGE replace what the Dockerfile takes, IMAGE_BUILD_ARGS is passed on.
# With BASE=debian, no registry is needed: see tools/image.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= localhost/mfa-operator:$(VERSION)

.PHONY: image
image: ## Build the container image with buildah, podman or docker; BASE=debian needs no registry (root, Debian)
ifeq ($(BASE),debian)
	@tools/image
else
	@for tool in buildah podman docker; do \
		if command -v $$tool >/dev/null; then break; fi; \
		tool=; \
	done; \
	if [ -z "$$tool" ]; then \
		echo 'make image: none of buildah, podman and docker is installed: install one of them' >&2; exit 1; \
	fi; \
	set -- $(if $(BUILDER_IMAGE),--build-arg "BUILDER_IMAGE=$(BUILDER_IMAGE)") $(if $(BASE_IMAGE),--build-arg "BASE_IMAGE=$(BASE_IMAGE)"); \
	set -- "$$@" --build-arg "VERSION=$(VERSION)" --build-arg "REVISION=$$(git rev-parse HEAD 2>/dev/null || true)"; \
	echo "make image: $(IMAGE), with $$tool" >&2; \
	"$$tool" build --file Dockerfile --tag "$(IMAGE)" "$$@" $(IMAGE_BUILD_ARGS) .
endif
