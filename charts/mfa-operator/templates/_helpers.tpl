{{/* The chart's name, or what nameOverride says. */}}
{{- define "mfa-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of what is installed: at most 63 characters, so that a Service can have it. */}}
{{- define "mfa-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "mfa-operator.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Cluster-wide names carry the namespace as well, so that two releases of one name do not collide. */}}
{{- define "mfa-operator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "mfa-operator.fullname" .) }}
{{- end }}

{{- define "mfa-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mfa-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* commonLabels never override the chart's own, which selectors rely on. */}}
{{- define "mfa-operator.labels" -}}
{{- $own := include "mfa-operator.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" (.Values.image.tag | default .Chart.AppVersion | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- toYaml (merge $own (deepCopy .Values.commonLabels)) }}
{{- end }}

{{/* The same with more, given as `list . more`. */}}
{{- define "mfa-operator.labelsWith" -}}
{{- $own := include "mfa-operator.labels" (index . 0) | fromYaml }}
{{- toYaml (merge $own (deepCopy (index . 1))) }}
{{- end }}

{{- define "mfa-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "mfa-operator.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "mfa-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "mfa-operator.leaseName" -}}
{{- .Values.leaderElection.leaseName | default (include "mfa-operator.fullname" .) }}
{{- end }}

{{- define "mfa-operator.sharedSecretName" -}}
{{- .Values.sharedCredentials.secretName | default (printf "%s-credentials" (include "mfa-operator.fullname" .)) }}
{{- end }}

{{- define "mfa-operator.sharedSecretNamespace" -}}
{{- .Values.sharedCredentials.secretNamespace | default .Release.Namespace }}
{{- end }}

{{/* Not empty where Secrets are watched: also where the values of a release that did not know the choice are reused. */}}
{{- define "mfa-operator.watchesSecrets" -}}
{{- if not (and .Values.secrets (eq .Values.secrets.watch false)) }}yes{{ end }}
{{- end }}

{{/* Whom the rights are for. */}}
{{- define "mfa-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "mfa-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What the operator may do in the namespaces that it looks after. */}}
{{- define "mfa-operator.rules" -}}
- apiGroups: [sse.mfa-operator.io]
  resources: [mfaservers]
  verbs: [get, list, watch, patch]
- apiGroups: [sse.mfa-operator.io]
  resources: [mfaservers/status]
  verbs: [patch]
{{- if include "mfa-operator.watchesSecrets" . }}
# Kubernetes knows no right to metadata alone. The operator watches metadata, and reads what an MfaServer refers to.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- else }}
# Those that an MfaServer refers to, by name.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* The port of a URL, written or implied. */}}
{{- define "mfa-operator.portOf" -}}
{{- $url := urlParse . }}
{{- $written := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $written | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}

{{/* What the schema cannot say in a sentence. */}}
{{- define "mfa-operator.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicas is more than 1, but leaderElection.enabled is false: two operators would write to the same tenants" }}
{{- end }}
{{- with .Values.sharedCredentials }}
{{- if and (not .namespaces) (or .create .secretName .secretNamespace) }}
{{- fail "sharedCredentials.namespaces is empty: name the namespaces that the shared credentials serve" }}
{{- end }}
{{- if and .namespaces (not .create) (not .secretName) }}
{{- fail "sharedCredentials.namespaces is set, but no Secret: set sharedCredentials.secretName, or sharedCredentials.create with its values" }}
{{- end }}
{{- $account := list .clientId .clientSecret .tsgId | compact | len }}
{{- if and .create (not (or (and .token (eq $account 0)) (and (not .token) (eq $account 3)))) }}
{{- fail "sharedCredentials.create needs either token, or clientId, clientSecret and tsgId" }}
{{- end }}
{{- if and (not .create) (or .token (gt $account 0)) }}
{{- fail "sharedCredentials holds credentials, but sharedCredentials.create is false, so they would not be used" }}
{{- end }}
{{- end }}
{{- with .Values.watchNamespaces }}
{{- range $.Values.sharedCredentials.namespaces }}
{{- if not (has . $.Values.watchNamespaces) }}
{{- fail (printf "sharedCredentials.namespaces names %s, which watchNamespaces leaves out" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
{{- fail "caBundle.configMap and caBundle.secret are both set: choose one" }}
{{- end }}
{{- if and .Values.caBundle.exclusive (not (or .Values.caBundle.configMap .Values.caBundle.secret)) }}
{{- fail "caBundle.exclusive is true, but neither caBundle.configMap nor caBundle.secret is set: nothing would be trusted" }}
{{- end }}
{{- if and .Values.proxy.existingSecret (or .Values.proxy.httpsProxy .Values.proxy.noProxy) }}
{{- fail "proxy.existingSecret is set together with proxy.httpsProxy or proxy.noProxy: choose one" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled needs service.enabled" }}
{{- end }}
{{- if and (ne (toString .Values.podDisruptionBudget.minAvailable) "") (ne (toString .Values.podDisruptionBudget.maxUnavailable) "") }}
{{- fail "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable are both set: choose one" }}
{{- end }}
{{- end }}
