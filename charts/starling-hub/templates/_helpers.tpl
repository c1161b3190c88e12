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

{{/* Whether there may be many processes, over etcd: "true" or nothing. */}}
{{- define "starling-hub.many" -}}
{{- if eq .Values.store.kind "etcd" }}true{{ end -}}
{{- end }}

{{/* Seconds until the kubelet ends a process: one of several hands its clusters over first. */}}
{{- define "starling-hub.gracePeriod" -}}
{{- .Values.terminationGracePeriodSeconds | default (ternary 120 30 (eq .Values.store.kind "etcd")) -}}
{{- end }}

{{/* How agents reach the process that owns their cluster. */}}
{{- define "starling-hub.routing" -}}
{{- .Values.shards.routing | default (ternary "redirect" "forward" (ne .Values.shards.addressTemplate "")) -}}
{{- end }}

{{/* A Pod's name for the other Pods. */}}
{{- define "starling-hub.peerName" -}}
$(POD_NAME).starling-hub-pods.{{ .Release.Namespace }}.svc
{{- end }}

{{/* Where other processes, and agents that are redirected, dial this one. */}}
{{- define "starling-hub.ownAddress" -}}
{{- with .Values.shards.addressTemplate -}}
{{- replace "{ordinal}" "$(POD_INDEX)" . -}}
{{- else -}}
{{- include "starling-hub.peerName" . }}:8443
{{- end -}}
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
