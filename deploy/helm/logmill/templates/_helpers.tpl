{{- define "logmill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "logmill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "logmill.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "logmill.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "logmill.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The roles that have pods. */}}
{{- define "logmill.roles" -}}
{{- if eq .Values.mode "embedded" -}}
embedded
{{- else -}}
api worker query
{{- end -}}
{{- end -}}

{{/* Of one role: (dict "root" $ "role" "api"). */}}
{{- define "logmill.selector" -}}
app.kubernetes.io/name: {{ include "logmill.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "logmill.labels" -}}
{{ include "logmill.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Refuses values that no process would start with. */}}
{{- define "logmill.check" -}}
{{- if not (has .Values.mode (list "fleet" "embedded")) -}}
{{- fail (printf "mode is %q: fleet and embedded are possible" .Values.mode) -}}
{{- end -}}
{{- if not (has .Values.auth.mode (list "required" "none")) -}}
{{- fail (printf "auth.mode is %q: required and none are possible" .Values.auth.mode) -}}
{{- end -}}
{{- if eq .Values.mode "fleet" -}}
{{- if not .Values.secretName -}}
{{- fail "a fleet needs secretName: a Secret with REDIS_URL and DATABASE_URL" -}}
{{- end -}}
{{- if not .Values.objects.url -}}
{{- fail "a fleet needs objects.url: s3://bucket or s3://bucket/prefix" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A pod's spec, of one role: (dict "root" $ "role" "api"). */}}
{{- define "logmill.pod" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $own := index $root.Values $role -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty $root.Values.tls.secretName)) -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "logmill.serviceAccountName" $root }}
automountServiceAccountToken: false
# Variables named after other services of the namespace could be taken for settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
containers:
  - name: logmill
    image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    {{- if eq $role "embedded" }}
    args: ["serve"]
    {{- else }}
    args: ["serve", "--role", {{ $role | quote }}]
    {{- end }}
    env:
      - { name: LOGMILL_CONFIG, value: /etc/logmill/logmill.toml }
      - { name: LOGMILL_LISTEN, value: "0.0.0.0:7280" }
      - { name: LOGMILL_DATA_DIR, value: /data }
      - { name: LOGMILL_LOG__FORMAT, value: json }
      {{- if eq $root.Values.auth.mode "required" }}
      - { name: LOGMILL_AUTH__MODE, value: required }
      {{- else }}
      - { name: LOGMILL_INSECURE_NO_AUTH, value: "true" }
      {{- end }}
      {{- if $root.Values.tls.secretName }}
      - { name: LOGMILL_SERVER__TLS_CERTIFICATE, value: /etc/logmill-tls/tls.crt }
      - { name: LOGMILL_SERVER__TLS_KEY, value: /etc/logmill-tls/tls.key }
      {{- end }}
      {{- with $root.Values.objects }}
      {{- if .url }}
      - { name: LOGMILL_OBJECTS__URL, value: {{ .url | quote }} }
      {{- end }}
      {{- if .endpoint }}
      - { name: LOGMILL_OBJECTS__ENDPOINT, value: {{ .endpoint | quote }} }
      {{- end }}
      {{- if .region }}
      - { name: LOGMILL_OBJECTS__REGION, value: {{ .region | quote }} }
      {{- end }}
      - { name: LOGMILL_OBJECTS__PATH_STYLE, value: {{ .pathStyle | quote }} }
      - { name: LOGMILL_OBJECTS__ALLOW_HTTP, value: {{ .allowHttp | quote }} }
      {{- end }}
      {{- with $root.Values.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- with $own.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $root.Values.secretName }}
    envFrom:
      - secretRef: { name: {{ . | quote }} }
    {{- end }}
    ports:
      - { name: http, containerPort: 7280, protocol: TCP }
    # A start applies the catalog's migrations, replays a log, or catches up with the queue.
    startupProbe:
      httpGet: { path: /health/ready, port: http, scheme: {{ $scheme }} }
      periodSeconds: 2
      failureThreshold: 150
    readinessProbe:
      httpGet: { path: /health/ready, port: http, scheme: {{ $scheme }} }
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 3
    livenessProbe:
      httpGet: { path: /health, port: http, scheme: {{ $scheme }} }
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    {{- if ne $role "worker" }}
    # The service has to forget the pod before it takes no more connections.
    lifecycle:
      preStop:
        exec: { command: ["sleep", "5"] }
    {{- end }}
    resources:
      {{- toYaml $own.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    volumeMounts:
      - { name: config, mountPath: /etc/logmill, readOnly: true }
      - { name: data, mountPath: /data }
      {{- if $root.Values.tls.secretName }}
      - { name: tls, mountPath: /etc/logmill-tls, readOnly: true }
      {{- end }}
volumes:
  - name: config
    configMap: { name: {{ include "logmill.fullname" $root }} }
  {{- with $root.Values.tls.secretName }}
  - name: tls
    secret: { secretName: {{ . | quote }} }
  {{- end }}
  {{- if ne $role "embedded" }}
  - name: data
    emptyDir: { sizeLimit: {{ $own.cacheSize }} }
  {{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $own.affinity }}
affinity:
  {{- toYaml $own.affinity | nindent 2 }}
{{- else if ne $role "embedded" }}
# A machine that dies takes as few of a role with it as possible.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "logmill.selector" . | nindent 8 }}
{{- end }}
{{- end -}}
