{{- define "fleet-callout.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fleet-callout.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fleet-callout.labels" -}}
{{ include "fleet-callout.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "fleet-callout.config" -}}
issuer = {{ .Values.issuer | quote }}
project = {{ .Values.project | quote }}
jwks_file = "/state/jwks.json"
{{- if .Values.rules }}
rules_file = "/config/rules.toml"
{{- end }}

[nats]
url = {{ .Values.nats.url | quote }}
{{- if .Values.nats.caSecret }}
ca_file = {{ printf "/nats-ca/%s" (.Values.nats.caKey | default "ca.crt") | quote }}
{{- end }}
seed_file = {{ printf "/seeds/%s" .Values.seeds.user | quote }}

[keys]
account_seed_file = {{ printf "/seeds/%s" .Values.seeds.account | quote }}
{{- with .Values.seeds.curve }}
xkey_seed_file = {{ printf "/seeds/%s" . | quote }}
{{- end }}

[http]
address = ":8080"
{{- with .Values.roles }}

[roles]
{{- range $key, $value := . }}
{{ $key }} = {{ $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.limits }}

[limits]
{{- range $key, $value := . }}
{{ $key }} = {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ int64 $value }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fleet-callout.rules" -}}
{{- range .Values.rules }}
[[rule]]
{{- range $key, $value := omit . "claims" }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- with .claims }}
[rule.claims]
{{- range $name, $value := . }}
{{ $name | toJson }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{ end }}
{{- end -}}

{{- define "fleet-callout.to" -}}
{{- with .to }}
to: {{- toYaml . | nindent 2 }}
{{- end }}
ports:
{{- range .ports }}
  - {protocol: TCP, port: {{ int64 . }}}
{{- end }}
{{- end -}}
