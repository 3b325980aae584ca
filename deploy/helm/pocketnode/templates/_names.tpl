{{- define "pocketnode.name" -}}{{ printf "%s-%s" .Release.Name .Values.role | trunc 63 | trimSuffix "-" }}{{- end }}

{{- define "pocketnode.labels" -}}
app.kubernetes.io/name: pocketnode
app.kubernetes.io/component: {{ .Values.role }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
