{{/*
The targets that can be deployed, as YAML: name: content of its file. Those of the lab come after
those that ship.
*/}}
{{- define "snn-fusion.catalogue" -}}
{{- $catalogue := dict }}
{{- range $path, $_ := .Files.Glob "hw_configs/*.yaml" }}
{{- $config := $.Files.Get $path | fromYaml }}
{{- $_ := set $catalogue $config.name $config }}
{{- end }}
{{- if not $catalogue }}
{{- fail "the chart holds no targets: hw_configs/ is a link to the repository's folder of that name; install from a whole checkout, or from a package made of one" }}
{{- end }}
{{- range $name, $config := .Values.hwConfigs }}
{{- if ne $name (toString $config.name) }}
{{- fail (printf "hwConfigs.%s.name: is %q; the file of a target is called as the target is" $name (toString $config.name)) }}
{{- end }}
{{- $_ := set $catalogue $name $config }}
{{- end }}
{{- toYaml $catalogue }}
{{- end }}

{{/*
Every Deployment of the service, as YAML under `workloads`, the front first:
name, component (front, simulator or hardware), targets, default, longest (seconds), options,
configs (those of its targets).
*/}}
{{- define "snn-fusion.workloads" -}}
{{- $catalogue := include "snn-fusion.catalogue" . | fromYaml }}
{{- $front := .Values.front }}
{{- $longest := 0.0 }}
{{- range $front.targets }}
{{- $config := include "snn-fusion.config" (list $catalogue . "front.targets") | fromYaml }}
{{- if $config.capabilities.hardware }}
{{- fail (printf "front.targets: %s has hardware, which the front would share; name it under targets" .) }}
{{- end }}
{{- $longest = maxf $longest ($config.max_run_s | default 60) }}
{{- end }}
{{- if not (has $front.defaultTarget $front.targets) }}
{{- fail (printf "front.defaultTarget: %s is not among front.targets (%s)" $front.defaultTarget (join ", " $front.targets)) }}
{{- end }}
{{- $workloads := list }}
{{- range $name, $given := .Values.targets }}
{{- if not (kindIs "invalid" $given) }}
{{- if has $name $front.targets }}
{{- fail (printf "targets.%s: the front runs it already; take it out of front.targets first" $name) }}
{{- end }}
{{- $config := include "snn-fusion.config" (list $catalogue $name "targets") | fromYaml }}
{{- $options := mustMergeOverwrite (deepCopy $.Values.targetDefaults) (deepCopy ($given | default dict)) }}
{{- $component := ternary "hardware" "simulator" $config.capabilities.hardware }}
{{- if eq $component "hardware" }}
{{- include "snn-fusion.checkBoards" (list $name $config $options) }}
{{- end }}
{{- $seconds := $config.max_run_s | default 60 }}
{{- $longest = maxf $longest $seconds }}
{{- $workloads = append $workloads (dict
      "name" (printf "%s-%s" $.Release.Name $name) "component" $component "targets" (list $name)
      "default" $name "longest" $seconds "options" $options "config" $config) }}
{{- end }}
{{- end }}
{{- $own := dict
      "name" (include "snn-fusion.front" .) "component" "front" "targets" $front.targets
      "default" $front.defaultTarget "longest" $longest "options" $front "config" dict }}
{{- dict "workloads" (prepend $workloads $own) | toYaml }}
{{- end }}

{{/* The file of one target: (catalogue, name, where it was named). */}}
{{- define "snn-fusion.config" -}}
{{- $catalogue := index . 0 }}
{{- $name := index . 1 }}
{{- if not (hasKey $catalogue $name) }}
{{- fail (printf "%s: there is no target %s; there are %s" (index . 2) $name (keys $catalogue | sortAlpha | join ", ")) }}
{{- end }}
{{- get $catalogue $name | toYaml }}
{{- end }}

{{/* Refuse more replicas than boards, and hardware that no label tells apart. */}}
{{- define "snn-fusion.checkBoards" -}}
{{- $name := index . 0 }}
{{- $config := index . 1 }}
{{- $options := index . 2 }}
{{- if gt (int $options.replicas) (int $options.boards) }}
{{- fail (printf "targets.%s.replicas: %d, but boards is %d; a replica without a board would never start" $name (int $options.replicas) (int $options.boards)) }}
{{- end }}
{{- if $options.autoscaling.enabled }}
{{- fail (printf "targets.%s.autoscaling: hardware waits idle and is not scaled by CPU; set replicas, up to boards" $name) }}
{{- end }}
{{- if not $config.node_label }}
{{- fail (printf "hw_configs/%s.yaml.node_label: is missing; without it nothing tells the nodes that have the board" $name) }}
{{- end }}
{{- if and $options.claim (not $config.node_resource) }}
{{- fail (printf "targets.%s.claim: hw_configs/%s.yaml names no node_resource to claim; add it, or set claim: false for one pod a node" $name $name) }}
{{- end }}
{{- end }}

{{/* What the front is told about targets that it does not own. */}}
{{- define "snn-fusion.peers" -}}
{{- $peers := list }}
{{- range (include "snn-fusion.workloads" . | fromYaml).workloads }}
{{- if ne .component "front" }}
{{- $peers = append $peers (printf "%s=http://%s:%d" .default .name (int $.Values.settings.port)) }}
{{- end }}
{{- end }}
{{- join "," $peers }}
{{- end }}

{{/*
Where uploaded models go: `store` (URL or folder, empty for each pod's own) and `uploads`.
*/}}
{{- define "snn-fusion.store" -}}
{{- $claim := .Values.models.claim }}
{{- $claimed := or $claim.enabled $claim.existing }}
{{- if and .Values.models.storeUrl $claimed }}
{{- fail "models: storeUrl and claim are two places for the same models; choose one" }}
{{- end }}
{{- $front := .Values.front }}
{{- $lonely := eq 1 (len (include "snn-fusion.workloads" . | fromYaml).workloads) }}
{{- $alone := and $lonely (not $front.autoscaling.enabled) (le (int $front.replicas) 1) }}
{{- if and $claimed (not $alone) (ne $claim.accessMode "ReadWriteMany") }}
{{- fail (printf "models.claim.accessMode: %s can be written to from one node only, but there are several pods; use ReadWriteMany or models.storeUrl" $claim.accessMode) }}
{{- end }}
store: {{ .Values.models.storeUrl | default (ternary "/var/lib/snn-fusion-models" "" (not (not $claimed))) | quote }}
uploads: {{ not (not (or .Values.models.storeUrl $claimed $alone)) }}
claimed: {{ not (not $claimed) }}
{{- end }}
