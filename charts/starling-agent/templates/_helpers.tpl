{{/* What every object of the agent is labelled with. */}}
{{- define "starling-agent.labels" -}}
{{ include "starling-agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: starling
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects the agent's Pods; it can never change. */}}
{{- define "starling-agent.selector" -}}
app.kubernetes.io/name: starling-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The image: by digest where one is set, which nobody can move. */}}
{{- define "starling-agent.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The variables of proxies, as every program reads them; the cluster's own API is never asked through one. */}}
{{- define "starling-agent.proxy" -}}
{{- with .Values.proxy }}
{{- if .http }}
- name: HTTP_PROXY
  value: {{ .http | quote }}
{{- end }}
{{- if .https }}
- name: HTTPS_PROXY
  value: {{ .https | quote }}
{{- end }}
{{- if or .http .https .noProxy }}
- name: NO_PROXY
  value: {{ list .noProxy "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default.svc" "localhost" "127.0.0.1" "::1" | compact | join "," | quote }}
{{- end }}
{{- end }}
{{- end }}
