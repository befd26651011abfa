# The one entry point. `make` alone lists the targets.
#
# What needs a real API server gets the folder that tools/build prints, built once and kept outside the checkout; set
# KUBEBUILDER_ASSETS to use another. Nothing here touches a cluster of yours.

CARGO ?= cargo
# tools/build prints one line, KUBEBUILDER_ASSETS=<folder>; everything else it says goes to stderr.
WITH_TOOLS = assets=$$(tools/build) && env "$$assets"
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
	@$(WITH_TOOLS) $(CARGO) test --workspace --locked --lib --bins --tests

.PHONY: fuzz
fuzz: ## Feed rubbish to all that decodes; SECONDS_EACH=60 a target, TARGETS=regex picks some
	@tools/fuzz

.PHONY: mutants
mutants: ## Change the pure files here and there and see that tests notice; FILES="src/…" picks some
	@tools/mutants

.PHONY: lint
lint: ## Check format, clippy, dependencies, scripts, and that generated files are up to date
	@.ci/lint

.PHONY: generate
generate: ## Write the generated files anew: the CRD, the golden tables, what the chart renders
	@MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --lib
	@$(WITH_TOOLS) MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --test it generated

.PHONY: tools
tools: ## Build etcd, kube-apiserver, kubectl and helm, once; the last line says where they are
	@tools/build

.PHONY: control-plane
control-plane: ## Run a local etcd and kube-apiserver until ctrl-c, and print its kubeconfig
	@$(WITH_TOOLS) $(CARGO) run --locked --quiet -p mfa-sandbox --bin control-plane

# The image: IMAGE names it, BUILDER_IMAGE and BASE_IMAGE replace what the Dockerfile takes, IMAGE_BUILD_ARGS is passed on.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= localhost/mfa-operator:$(VERSION)

.PHONY: image
image: ## Build the container image with buildah, podman or docker, whichever is there
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
