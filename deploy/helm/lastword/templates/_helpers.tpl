{{- /* What selectors choose, as in the kustomize base. They are immutable, so nothing that changes is in here. */ -}}
{{- define "lastword.selector" -}}
app.kubernetes.io/name: lastword
app.kubernetes.io/component: agent
{{- end }}

{{- /* What Helm adds to the labels of every object. */ -}}
{{- define "lastword.release" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lastword.labels" -}}
{{ include "lastword.selector" . }}
{{ include "lastword.release" . }}
{{- end }}

{{- /*
The documents of a file of the kustomize base, which base/ links to, in the release's namespace. `labels` are added, and
`spec` is merged over that of the file.
*/ -}}
{{- define "lastword.base" -}}
{{- $root := .root -}}
{{- $labels := merge (include "lastword.release" $root | fromYaml) (default dict .labels) -}}
{{- $spec := default dict .spec -}}
{{- $file := $root.Files.Get (printf "base/%s.yaml" .file) -}}
{{- $file := replace "namespace: lastword" (printf "namespace: %s" $root.Release.Namespace) $file -}}
{{- $file := replace "namespace=\"lastword\"" (printf "namespace=%q" $root.Release.Namespace) $file -}}
{{- $file := replace "serviceaccount:lastword:" (printf "serviceaccount:%s:" $root.Release.Namespace) $file -}}
{{- range $document := splitList "\n---\n" $file }}
{{- $document := fromYaml $document }}
{{- $_ := set $document.metadata "labels" (merge $document.metadata.labels $labels) }}
{{- if $spec }}
{{- $_ := set $document "spec" (mergeOverwrite $document.spec $spec) }}
{{- end }}
---
{{ toYaml $document }}
{{- end }}
{{- end }}

{{- define "lastword.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* agent.yaml: the value `config`, and what other values say about it. */ -}}
{{- define "lastword.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not .Values.paths.containerRuntime -}}
{{- $_ := set $config "container_runtime" (dict "endpoint" "off") -}}
{{- end -}}
{{- if not .Values.paths.bpf -}}
{{- $_ := set $config "recorder" (mergeOverwrite (default dict $config.recorder) (dict "pin" "off")) -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}

{{/* The resources; without a memory limit that of the budget: `Recorder::memory_limit` of the agent. */}}
{{- define "lastword.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if not (dig "limits" "memory" "" $resources) -}}
{{- $size := dig "recorder" "memory" "256MiB" .Values.config | toString | lower | replace " " "" -}}
{{- if regexMatch "^[0-9]+e[+][0-9]+$|^[0-9.]+e[+][0-9]+$" $size -}}
{{- $size = dig "recorder" "memory" "" .Values.config | int64 | toString -}}
{{- end -}}
{{- $number := regexFind "^[0-9.]+" $size -}}
{{- $units := dict "" 1 "b" 1 "k" 1000 "kb" 1000 "ki" 1024 "kib" 1024 "m" 1000000 "mb" 1000000 "mi" 1048576 "mib" 1048576 "g" 1000000000 "gb" 1000000000 "gi" 1073741824 "gib" 1073741824 -}}
{{- $unit := trimPrefix $number $size -}}
{{- if or (not $number) (not (hasKey $units $unit)) -}}
{{- fail (printf "config.recorder.memory: %s is no size; write it as in 256MiB" $size) -}}
{{- end -}}
{{- $mib := divf (mulf (float64 $number) (float64 (get $units $unit))) 1048576.0 | ceil | int64 -}}
{{- $limits := merge (dict "memory" (printf "%dMi" (add $mib 256))) (omit (default dict (get $resources "limits")) "memory") -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}
