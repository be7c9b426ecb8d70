#!/usr/bin/env bash
# Save an installation: values, all objects, secrets, uploaded models and what Redis holds.
#
# usage: backup.sh [options]
#   --out FILE.tar.gz             (default: snn-fusion-DATE.tar.gz here)
#   -n, --namespace NAME          (default: snn-fusion, or SNN_FUSION_NAMESPACE)
#   --release NAME                (default: snn-fusion, or SNN_FUSION_RELEASE)
#   --dry-run                     show what would be saved
#   -h, --help
# The file holds keys and passwords: it can be read by its owner only, and belongs somewhere safe.
# `kubectl get all` would miss Secrets, ConfigMaps, claims, policies, and everything inside them.

. "$(dirname "$0")/lib.sh"

MODELS=/var/lib/snn-fusion-models

save_objects() {
  local kind
  mkdir "$folder/objects"
  for kind in $(kubectl api-resources --namespaced --verbs=list,create -o name); do
    case $kind in
      events | events.events.k8s.io | endpoints | endpointslices.* | pods | replicasets.apps | controllerrevisions.apps | leases.* | bindings) continue ;;
    esac
    kube get "$kind" -l "app.kubernetes.io/instance=$RELEASE" -o yaml >"$folder/objects/$kind.yaml" 2>/dev/null ||
      say "   $kind cannot be read and is left out"
    grep -q '^- apiVersion' "$folder/objects/$kind.yaml" || rm -f "$folder/objects/$kind.yaml"
  done
  # Priorities and what makes a node a board's belong to the cluster.
  kubectl get priorityclasses -l "app.kubernetes.io/instance=$RELEASE" -o yaml >"$folder/objects/priorityclasses.yaml"
  kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.metadata.labels}{"\t"}{.spec.taints}{"\n"}{end}' >"$folder/nodes.tsv"
}

# Secrets as they can be made again: those of the chart, of TLS, and what else lies beside them.
save_secrets() {
  local name names
  mkdir "$folder/secrets"
  names=$(kube get secrets -o jsonpath='{range .items[*]}{.type}{" "}{.metadata.name}{"\n"}{end}' |
    awk '$1 !~ /^(helm.sh|kubernetes.io\/service-account-token)/ { print $2 }')
  for name in $names; do
    # shellcheck disable=SC2016 # the template has variables of its own
    kube get secret "$name" -o go-template='apiVersion: v1
kind: Secret
type: {{.type}}
metadata:
  name: {{.metadata.name}}
{{with .metadata.labels}}  labels:
{{range $k, $v := .}}    {{printf "%q" $k}}: {{printf "%q" $v}}
{{end}}{{end}}{{with .metadata.annotations}}  annotations:
{{range $k, $v := .}}    {{printf "%q" $k}}: {{printf "%q" $v}}
{{end}}{{end}}data:
{{range $k, $v := .data}}  {{printf "%q" $k}}: {{printf "%q" $v}}
{{end}}' >"$folder/secrets/$name.yaml"
  done
}

save_models() {
  if kube get deployment "$RELEASE-api" -o jsonpath='{.spec.template.spec.volumes[*].name}' | grep -qw models; then
    # Without the folder itself, whose mode only the owner of the volume could restore.
    # shellcheck disable=SC2016 # the pod's shell has $0
    kube exec "deployment/$RELEASE-api" -- sh -c 'cd "$0" && ls -A | tar -cf - -T -' "$MODELS" >"$folder/models.tar"
  else
    say "   no claim with models: an object store keeps its own, and shipped ones are in the image"
  fi
}

# Everything that Redis holds, as the commands that make it: its log, just rewritten.
save_redis() {
  local state
  if ! exists statefulset "$RELEASE-redis"; then
    say "   Redis is outside; back it up there"
    return
  fi
  redis BGREWRITEAOF >/dev/null
  while :; do
    state=$(redis INFO persistence | tr -d '\r')
    grep -q '^aof_rewrite_scheduled:0' <<<"$state" && grep -q '^aof_rewrite_in_progress:0' <<<"$state" && break
    sleep 0.2
  done
  grep -q '^aof_last_bgrewrite_status:ok' <<<"$state" || die "Redis could not write its log" "look at the log of $RELEASE-redis-0; mostly a full disk"
  kube exec "$RELEASE-redis-0" -- sh -c 'cat /data/appendonlydir/*.base.aof /data/appendonlydir/*.incr.aof' >"$folder/redis.aof"
}

step() {
  say "$1"
  [ -n "$DRY_RUN" ] || "$2"
}

out=
while [ $# -gt 0 ]; do
  common_option "$@"
  if [ "$SHIFT" -gt 0 ]; then
    shift "$SHIFT"
    continue
  fi
  case $1 in
    --out) out=$(value "$@") ;;
    *) die "unknown option $1" "see backup.sh --help" ;;
  esac
  shift 2
done
out=${out:-snn-fusion-$(date +%Y%m%dT%H%M%S).tar.gz}
if [ -z "$DRY_RUN" ]; then
  need helm
  need_cluster
  need_namespace
  exists deployment "$RELEASE-api" || die "there is no deployment $RELEASE-api in $NAMESPACE" "name the release with --release"
fi
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/backup
mkdir "$folder"

save_values() {
  helm get values "$RELEASE" --namespace "$NAMESPACE" -o yaml >"$folder/values.yaml"
  printf 'namespace=%s\nrelease=%s\n' "$NAMESPACE" "$RELEASE" >"$folder/about"
}

step "values of the chart" save_values
step "objects of $RELEASE in $NAMESPACE, priorities, labels and taints of nodes" save_objects
step "Secrets" save_secrets
step "uploaded models" save_models
step "what Redis holds" save_redis
run tar -C "$work" -czf "$out" backup
finish "saved in $out"
