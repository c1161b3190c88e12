{{/* Refuses values that are right one by one and wrong together, with a sentence that says what to set. */}}
{{- define "starling-hub.check" -}}
{{- $etcd := .Values.etcd -}}
{{- $bundled := $etcd.bundled -}}
{{- $external := not (empty $etcd.endpoints) -}}
{{- $hub := lookup "apps/v1" "StatefulSet" .Release.Namespace "starling-hub" | default dict -}}
{{- $kind := ternary "etcd" "embedded" (contains "--store=etcd" (toJson $hub)) -}}
{{- if and $hub (ne $kind .Values.store.kind) -}}
  {{- fail (printf "store.kind is %s here, and an upgrade carries no store along: set store.kind=%s, or uninstall first (docs/install.md, \"From one process to several\")" $kind $kind) -}}
{{- end -}}
{{- if not (include "starling-hub.many" .) -}}
  {{- if gt (int .Values.replicas) 1 -}}
    {{- fail (printf "replicas is %d, but store.kind embedded is one file with one owner: set store.kind=etcd with etcd.bundled.enabled=true or etcd.endpoints, or replicas=1" (int .Values.replicas)) -}}
  {{- end -}}
  {{- if or $bundled.enabled $external -}}
    {{- fail "etcd.bundled.enabled or etcd.endpoints is set, but store.kind is embedded: set store.kind=etcd to use it" -}}
  {{- end -}}
  {{- if or .Values.shards.routing .Values.shards.addressTemplate .Values.shards.service.type -}}
    {{- fail "shards is for several processes, but store.kind is embedded: set store.kind=etcd, or leave shards as it is" -}}
  {{- end -}}
{{- else -}}
  {{- if and $bundled.enabled $external -}}
    {{- fail "etcd.bundled.enabled and etcd.endpoints are both set: leave etcd.endpoints empty, or set etcd.bundled.enabled=false" -}}
  {{- end -}}
  {{- if not (or $bundled.enabled $external) -}}
    {{- fail "store.kind is etcd, but there is no etcd: set etcd.endpoints to one of your own, or etcd.bundled.enabled=true" -}}
  {{- end -}}
  {{- range $etcd.endpoints -}}
    {{- if and (hasPrefix "https://" .) (not $etcd.tls.existingSecret) -}}
      {{- fail (printf "%s needs the authority of etcd's certificates: set etcd.tls.existingSecret to a Secret with ca.crt" .) -}}
    {{- end -}}
    {{- if and (hasPrefix "http://" .) $etcd.tls.existingSecret -}}
      {{- fail (printf "%s is plain HTTP, but etcd.tls.existingSecret is set: write https://" .) -}}
    {{- end -}}
  {{- end -}}
  {{- if and (ne $etcd.auth.user "") (eq $etcd.auth.existingSecret "") -}}
    {{- fail "etcd.auth.user needs a password: set etcd.auth.existingSecret to a Secret with the key password" -}}
  {{- end -}}
  {{- if and (eq $etcd.auth.user "") (ne $etcd.auth.existingSecret "") -}}
    {{- fail "etcd.auth.existingSecret is a password without a user: set etcd.auth.user" -}}
  {{- end -}}
  {{- if $bundled.enabled -}}
    {{- if ne (eq $bundled.tls.existingSecret "") (eq $etcd.tls.existingSecret "") -}}
      {{- fail "etcd.bundled.tls.existingSecret and etcd.tls.existingSecret go together: the first is the members', the second the hub's" -}}
    {{- end -}}
    {{- if and $bundled.tls.existingSecret (not $etcd.tls.clientCertificate) -}}
      {{- fail "the bundled etcd with TLS lets nobody in without a certificate: set etcd.tls.clientCertificate=true" -}}
    {{- end -}}
    {{- if not (or $bundled.tls.existingSecret .Values.networkPolicy.enabled) -}}
      {{- fail "without TLS and without a NetworkPolicy every Pod could write the fleet's store: set etcd.bundled.tls.existingSecret and etcd.tls.existingSecret, or networkPolicy.enabled=true" -}}
    {{- end -}}
    {{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace "starling-hub-etcd" | default dict -}}
    {{- $members := dig "metadata" "annotations" "starling.dev/members" "" $there -}}
    {{- if and $members (ne $members (toString $bundled.replicas)) -}}
      {{- fail (printf "etcd.bundled.replicas cannot be changed: it is %s here, and etcd has to be told of each member" $members) -}}
    {{- end -}}
  {{- end -}}
  {{- if and (eq .Values.shards.routing "redirect") (not .Values.shards.addressTemplate) -}}
    {{- fail "shards.routing redirect sends agents to each process's own address: set shards.addressTemplate, such as hub-{ordinal}.hubs.example.com:8443" -}}
  {{- end -}}
  {{- $ports := len .Values.shards.service.nodePorts -}}
  {{- if and (gt $ports 0) (lt $ports (int .Values.replicas)) -}}
    {{- fail (printf "shards.service.nodePorts has %d ports for %d replicas: give one for each" $ports (int .Values.replicas)) -}}
  {{- end -}}
{{- end -}}
{{- end }}
