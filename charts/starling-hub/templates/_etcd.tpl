{{/* What selects the bundled etcd's Pods; it can never change. */}}
{{- define "starling-hub.etcdSelector" -}}
app.kubernetes.io/name: starling-hub-etcd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What every object of the bundled etcd is labelled with. */}}
{{- define "starling-hub.etcdLabels" -}}
{{ include "starling-hub.etcdSelector" . }}
app.kubernetes.io/component: store
app.kubernetes.io/part-of: starling
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* http or https of the bundled etcd. */}}
{{- define "starling-hub.etcdScheme" -}}
{{- ternary "https" "http" (ne .Values.etcd.bundled.tls.existingSecret "") -}}
{{- end }}

{{/* The client URLs that the hub is given. */}}
{{- define "starling-hub.etcdEndpoints" -}}
{{- $endpoints := .Values.etcd.endpoints -}}
{{- if .Values.etcd.bundled.enabled -}}
{{- range $ordinal := until (int .Values.etcd.bundled.replicas) -}}
{{- $name := printf "starling-hub-etcd-%d.starling-hub-etcd.%s.svc" $ordinal $.Release.Namespace -}}
{{- $endpoints = append $endpoints (printf "%s://%s:2379" (include "starling-hub.etcdScheme" $) $name) -}}
{{- end -}}
{{- end -}}
{{- join "," $endpoints -}}
{{- end }}

{{/* The members of the bundled etcd, as each of them is told. */}}
{{- define "starling-hub.etcdCluster" -}}
{{- $members := list -}}
{{- range $ordinal := until (int .Values.etcd.bundled.replicas) -}}
{{- $name := printf "starling-hub-etcd-%d" $ordinal -}}
{{- $host := printf "%s.starling-hub-etcd.%s.svc" $name $.Release.Namespace -}}
{{- $members = append $members (printf "%s=%s://%s:2380" $name (include "starling-hub.etcdScheme" $) $host) -}}
{{- end -}}
{{- join "," $members -}}
{{- end }}

{{/* Bytes of a quantity in Mi or Gi. */}}
{{- define "starling-hub.bytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if hasSuffix "Gi" . -}}{{ mul $number 1073741824 }}{{- else -}}{{ mul $number 1048576 }}{{- end -}}
{{- end }}
