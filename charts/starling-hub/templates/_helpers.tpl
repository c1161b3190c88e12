{{/* What every object of the hub is labelled with. */}}
{{- define "starling-hub.labels" -}}
{{ include "starling-hub.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: starling
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects the hub's Pod; it can never change. */}}
{{- define "starling-hub.selector" -}}
app.kubernetes.io/name: starling-hub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The image: by digest where one is set, which nobody can move. */}}
{{- define "starling-hub.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What agents and people dial. */}}
{{- define "starling-hub.advertise" -}}
{{- .Values.advertise | default (printf "starling-hub.%s.svc:%d" .Release.Namespace (int .Values.service.port)) -}}
{{- end }}

{{/* The Secret with the fleet's own authority (tls.crt, tls.key); empty where the hub makes its own. */}}
{{- define "starling-hub.authoritySecret" -}}
{{- if .Values.authority.certManager.enabled -}}
starling-hub-authority
{{- else -}}
{{ .Values.authority.existingSecret }}
{{- end -}}
{{- end }}
