{{/*
Where the pods of a workload run: (root, workload). Hardware only on nodes that have it, simulators
and fronts rather elsewhere; spread over nodes and zones.
*/}}
{{- define "snn-fusion.placement" -}}
{{- $root := index . 0 }}
{{- $workload := index . 1 }}
affinity:
  nodeAffinity:
  {{- if eq $workload.component "hardware" }}
  {{- $label := splitn "=" 2 $workload.config.node_label }}
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - {key: {{ $label._0 }}, operator: In, values: [{{ $label._1 | default "" | quote }}]}
  {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
          {{- range include "snn-fusion.labKeys" $root | splitList "," }}
            - {key: {{ . }}, operator: DoesNotExist}
          {{- end }}
  {{- end }}
  {{- if and (eq $workload.component "hardware") (not $workload.options.claim) }}
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {snn-fusion/target: {{ $workload.default }}}
  {{- end }}
{{- with $workload.config.taint }}
tolerations:
  - key: {{ .key }}
    operator: Equal
    value: {{ .value | default "" | quote }}
    effect: {{ .effect | default "NoSchedule" }}
{{- end }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "snn-fusion.podLabels" (list $root $workload) | nindent 8 }}
{{- end }}
{{- end }}

{{/* Labels by which nodes with boards are known, comma-separated. */}}
{{- define "snn-fusion.labKeys" -}}
{{- $found := list }}
{{- range include "snn-fusion.catalogue" . | fromYaml }}
{{- with .node_label }}
{{- $found = append $found (splitn "=" 2 .)._0 }}
{{- end }}
{{- end }}
{{- $found | uniq | sortAlpha | join "," }}
{{- end }}

{{/* Labels of the pods of one workload, by which its Deployment and Service know them. */}}
{{- define "snn-fusion.podLabels" -}}
{{- $workload := index . 1 -}}
{{ include "snn-fusion.selector" (index . 0) }}
app.kubernetes.io/component: {{ $workload.component }}
{{- if ne $workload.component "front" }}
snn-fusion/target: {{ $workload.default }}
{{- end }}
{{- end }}
