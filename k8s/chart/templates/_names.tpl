{{/* Labels of everything. */}}
{{- define "snn-fusion.labels" -}}
app.kubernetes.io/part-of: snn-fusion
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "snn-fusion.selector" . }}
{{- end }}

{{/* Labels that tell this release's pods from those of another. */}}
{{- define "snn-fusion.selector" -}}
app.kubernetes.io/name: snn-fusion
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "snn-fusion.front" -}}{{ .Release.Name }}-api{{- end }}
{{- define "snn-fusion.redis" -}}{{ .Release.Name }}-redis{{- end }}
{{- define "snn-fusion.settings" -}}{{ .Release.Name }}-settings{{- end }}
{{- define "snn-fusion.hwConfigs" -}}{{ .Release.Name }}-hw-configs{{- end }}
{{- define "snn-fusion.secrets" -}}{{ .Release.Name }}-secrets{{- end }}
{{- define "snn-fusion.keys" -}}{{ .Values.auth.existingSecret | default (printf "%s-keys" .Release.Name) }}{{- end }}
{{- define "snn-fusion.models" -}}{{ .Values.models.claim.existing | default (printf "%s-models" .Release.Name) }}{{- end }}

{{/* PriorityClasses belong to the whole cluster, so their names tell the namespace, too. */}}
{{- define "snn-fusion.priority" -}}
{{ .root.Release.Namespace }}-{{ .root.Release.Name }}-{{ .component }}
{{- end }}
