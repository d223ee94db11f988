{{- define "etsd.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "etsd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "etsd.labels" -}}
{{ include "etsd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "etsd.domain" -}}
{{ include "etsd.name" . }}-peers.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{- define "etsd.clientScheme" -}}
{{ if .Values.tls.clientSecret }}https{{ else }}http{{ end }}
{{- end -}}

{{- define "etsd.peerScheme" -}}
{{ if .Values.tls.peerSecret }}https{{ else }}http{{ end }}
{{- end -}}

{{- define "etsd.initialCluster" -}}
{{- $name := include "etsd.name" . -}}
{{- $domain := include "etsd.domain" . -}}
{{- $scheme := include "etsd.peerScheme" . -}}
{{- range $index := until (int .Values.replicas) -}}
{{- if $index }},{{ end -}}
{{- printf "%s-%d=%s://%s-%d.%s:2380" $name $index $scheme $name $index $domain -}}
{{- end -}}
{{- end -}}
