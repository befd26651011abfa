// Modules that are read for the definitions in them (CRDs), not compiled: those of the tools that examples/ speaks to.
module mfa-operator/tools/gitops/definitions

go 1.26.0

require (
	github.com/argoproj/argo-cd/v3 v3.5.7
	github.com/external-secrets/external-secrets v1.3.2
	github.com/fluxcd/helm-controller v1.6.2
	github.com/fluxcd/kustomize-controller v1.9.5
	github.com/fluxcd/source-controller v1.9.2
)
