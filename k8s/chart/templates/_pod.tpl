{{/* The pod of a workload: (root, workload). */}}
{{- define "snn-fusion.pod" -}}
{{- $root := index . 0 }}
{{- $workload := index . 1 }}
{{- $values := $root.Values }}
{{- $image := include "snn-fusion.image" . }}
{{- $grace := addf $workload.longest $values.shutdown.propagationSeconds $values.shutdown.marginSeconds | ceil | int }}
metadata:
  labels:
    {{- include "snn-fusion.labels" $root | nindent 4 }}
    {{- include "snn-fusion.podLabels" . | nindent 4 }}
  annotations:
    checksum/settings: {{ include "snn-fusion.settingsData" $root | sha256sum }}
    checksum/hw-configs: {{ toYaml $values.hwConfigs | sha256sum }}
    {{- if $values.monitoring.openMetrics }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ $values.settings.port | quote }}
    prometheus.io/path: /metrics
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ $root.Release.Name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if $values.priorityClasses.create }}
  priorityClassName: {{ include "snn-fusion.priority" (dict "root" $root "component" $workload.component) }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $grace }}
  securityContext:
    {{- include "snn-fusion.podSecurity" $root | nindent 4 }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "snn-fusion.placement" . | nindent 2 }}
  containers:
    - name: {{ ternary "snn-fusion-api" "snn-fusion" (eq $workload.component "front") }}
      {{- $image | nindent 6 }}
      ports:
        - {name: http, containerPort: {{ $values.settings.port }}, protocol: TCP}
      envFrom:
        - configMapRef: {name: {{ include "snn-fusion.settings" $root }}}
        {{- with $values.models.storeSecret }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      env:
        {{- include "snn-fusion.env" . | nindent 8 }}
      {{- include "snn-fusion.probes" $root | nindent 6 }}
      lifecycle:
        # Requests keep coming until every router knows that the pod leaves. By a command, because
        # Kubernetes itself can wait from 1.30 on only.
        preStop:
          exec: {command: [sleep, {{ $values.shutdown.propagationSeconds | quote }}]}
      securityContext:
        {{- include "snn-fusion.containerSecurity" $root | nindent 8 }}
      resources:
        {{- include "snn-fusion.resources" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
        - {name: cache, mountPath: /var/cache/snn-fusion}
        - {name: data, mountPath: /var/lib/snn-fusion}
        - {name: secrets, mountPath: /etc/snn-fusion/secrets, readOnly: true}
        - {name: keys, mountPath: /etc/snn-fusion/keys, readOnly: true}
        {{- if $values.hwConfigs }}
        - {name: hw-configs, mountPath: /etc/snn-fusion/hw_configs, readOnly: true}
        {{- end }}
        {{- if $values.redis.caSecret }}
        - {name: redis-ca, mountPath: /etc/snn-fusion/redis, readOnly: true}
        {{- end }}
        {{- if (include "snn-fusion.store" $root | fromYaml).claimed }}
        - {name: models, mountPath: /var/lib/snn-fusion-models}
        {{- end }}
  volumes:
    {{- include "snn-fusion.volumes" $root | nindent 4 }}
{{- end }}

{{- define "snn-fusion.image" -}}
{{- $values := (index . 0).Values }}
{{- $workload := index . 1 }}
{{- $image := ternary $values.loihiImage $values.image (has $workload.config.backend $values.loihiImage.backends) }}
{{- $image = mustMergeOverwrite (deepCopy $image) ($workload.options.image | default dict) -}}
image: "{{ $image.repository }}:{{ $image.tag }}"
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{/* What differs between workloads; the rest is in the ConfigMap. */}}
{{- define "snn-fusion.env" -}}
{{- $root := index . 0 }}
{{- $workload := index . 1 -}}
- {name: SNN_FUSION_TARGETS, value: {{ join "," $workload.targets | quote }}}
- {name: SNN_FUSION_TARGET, value: {{ $workload.default }}}
- {name: SNN_FUSION_SHUTDOWN_S, value: {{ add 5 (ceil $workload.longest | int) | quote }}}
{{- if eq $workload.component "front" }}
{{- with include "snn-fusion.peers" $root }}
- {name: SNN_FUSION_PEERS, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- range $name, $value := $workload.options.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "snn-fusion.probes" -}}
startupProbe:
  httpGet: {path: /healthz/startup, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 150
readinessProbe:
  httpGet: {path: /healthz/ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Hardware claims its board among the rest. Quantities are text: an old server takes no numbers. */}}
{{- define "snn-fusion.resources" -}}
{{- $workload := index . 1 }}
{{- $claims := and (eq $workload.component "hardware") $workload.options.claim }}
{{- range $kind := list "requests" "limits" }}
{{ $kind }}:
  {{- range $name, $quantity := get $workload.options.resources $kind }}
  {{- if not (kindIs "invalid" $quantity) }}
  {{ $name }}: {{ $quantity | toString | quote }}
  {{- end }}
  {{- end }}
  {{- if $claims }}
  {{ $workload.config.node_resource }}: "1"
  {{- end }}
{{- end }}
{{- end }}

{{- define "snn-fusion.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "snn-fusion.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "snn-fusion.volumes" -}}
{{- $values := .Values -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
- name: shm # Lava's processes exchange spikes through it
  emptyDir: {medium: Memory, sizeLimit: 256Mi}
- name: cache
  emptyDir: {sizeLimit: 512Mi}
- name: data
  emptyDir: {sizeLimit: 2Gi}
- name: secrets
  {{- if .Values.redis.existingSecret }}
  secret:
    secretName: {{ .Values.redis.existingSecret }}
    items: [{key: url, path: snn_fusion_redis_url}]
  {{- else }}
  secret:
    secretName: {{ include "snn-fusion.secrets" . }}
    items: [{key: redis-url, path: snn_fusion_redis_url}]
  {{- end }}
- name: keys
  secret:
    secretName: {{ include "snn-fusion.keys" . }}
    items: [{key: keys.yaml, path: keys.yaml}]
{{- if $values.hwConfigs }}
- name: hw-configs
  configMap: {name: {{ include "snn-fusion.hwConfigs" . }}}
{{- end }}
{{- with $values.redis.caSecret }}
- name: redis-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- if (include "snn-fusion.store" . | fromYaml).claimed }}
- name: models
  persistentVolumeClaim: {claimName: {{ include "snn-fusion.models" . }}}
{{- end }}
{{- end }}
