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
	@$(WITH_TOOLS) $(CARGO) test --workspace --locked

.PHONY: lint
lint: ## Check format, clippy, dependencies, scripts, and that generated files are up to date
	@.ci/lint

.PHONY: generate
generate: ## Write the generated files anew: the CRD, the golden tables
	@MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --lib
	@MFA_GENERATE=1 $(CARGO) test --locked --quiet -p mfa-operator --test it generated

.PHONY: tools
tools: ## Build etcd, kube-apiserver, kubectl and helm, once; the last line says where they are
	@tools/build

.PHONY: control-plane
control-plane: ## Run a local etcd and kube-apiserver until ctrl-c, and print its kubeconfig
	@$(WITH_TOOLS) $(CARGO) run --locked --quiet -p mfa-sandbox --bin control-plane
