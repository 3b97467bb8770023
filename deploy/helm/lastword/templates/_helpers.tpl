{{- define "lastword.labels" -}}
app.kubernetes.io/name: lastword
{{- end }}

{{- /* A file of the kustomize base, which base/ links to, in the release's namespace. */ -}}
{{- define "lastword.base" -}}
{{- $file := .root.Files.Get (printf "base/%s.yaml" .file) -}}
{{- $file := replace "namespace: lastword" (printf "namespace: %s" .root.Release.Namespace) $file -}}
{{- replace "namespace=\"lastword\"" (printf "namespace=%q" .root.Release.Namespace) $file -}}
{{- end }}
