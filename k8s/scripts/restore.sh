#!/usr/bin/env bash
# Bring back what backup.sh saved, in the same cluster or another one.
#
# usage: restore.sh [options] FILE.tar.gz
#   --redis                       only what Redis held; it replaces what Redis holds now
#   --models                      only the uploaded models
#   --timeout SECONDS             to wait for Redis and the front (default: 600)
#   -n, --namespace NAME          (default: that of the backup)
#   --release NAME                (default: that of the backup)
#   --dry-run                     show what would be done
#   -h, --help
# Secrets come first, so that the chart finds keys and passwords instead of making new ones. Nodes'
# labels and taints are shown where they differ; they belong to the cluster and are left alone.

. "$(dirname "$0")/lib.sh"

MODELS=/var/lib/snn-fusion-models

restore_secrets() {
  local file
  kubectl get namespace "$NAMESPACE" >/dev/null 2>&1 || run kubectl create namespace "$NAMESPACE"
  run kubectl label --overwrite namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted
  for file in "$folder"/secrets/*.yaml; do
    if kube get -f "$file" >/dev/null 2>&1; then
      run kube replace -f "$file"
    else
      run kube create -f "$file"
    fi
  done
}

restore_release() {
  run helm upgrade --install "$RELEASE" "$CHART" --namespace "$NAMESPACE" --values "$folder/values.yaml"
}

restore_redis() {
  local name
  [ -s "$folder/redis.aof" ] || {
    say "   the backup has nothing of Redis"
    return
  }
  run kube rollout status "statefulset/$RELEASE-redis" --timeout="${timeout}s"
  run redis FLUSHALL
  say "+ redis-cli --pipe <redis.aof"
  [ -n "$DRY_RUN" ] || redis --pipe <"$folder/redis.aof"
  # Processes keep in memory what they read from Redis before.
  for name in $(deployments); do run kube rollout restart "deployment/$name"; done
}

restore_models() {
  [ -s "$folder/models.tar" ] || {
    say "   the backup has no uploaded models"
    return
  }
  run kube rollout status "deployment/$RELEASE-api" --timeout="${timeout}s"
  say "+ tar -x <models.tar, in a pod of the front"
  [ -n "$DRY_RUN" ] || kube exec -i "deployment/$RELEASE-api" -- tar -C "$MODELS" -xf - <"$folder/models.tar"
}

compare_nodes() {
  local now
  now=$(kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.metadata.labels}{"\t"}{.spec.taints}{"\n"}{end}')
  diff <(cut -f1 "$folder/nodes.tsv") <(cut -f1 <<<"$now") >/dev/null ||
    problem "the cluster has other nodes than when it was saved" "label and taint those with boards: docs/lab-operator.md; before: $(grep -c . "$folder/nodes.tsv") nodes, see nodes.tsv in the backup"
}

parts=
file=
namespace=
release=
timeout=600
while [ $# -gt 0 ]; do
  case $1 in
    -n | --namespace) namespace=$(value "$@") && shift 2 && continue ;;
    --release) release=$(value "$@") && shift 2 && continue ;;
  esac
  common_option "$@"
  if [ "$SHIFT" -gt 0 ]; then
    shift "$SHIFT"
    continue
  fi
  case $1 in
    --redis | --models) parts+=" ${1#--}" ;;
    --timeout) timeout=$(value "$@") && shift ;;
    -*) die "unknown option $1" "see restore.sh --help" ;;
    *) file=$1 ;;
  esac
  shift
done
[ -n "$file" ] || usage 2 >&2
[ -r "$file" ] || die "$file cannot be read" "name a file that backup.sh made"
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xzf "$file" 2>/dev/null && [ -r "$work/backup/about" ] || die "$file is not what backup.sh makes"
folder=$work/backup
NAMESPACE=${namespace:-$(sed -n 's/^namespace=//p' "$folder/about")}
RELEASE=${release:-$(sed -n 's/^release=//p' "$folder/about")}
if [ -z "$DRY_RUN" ]; then
  need helm
  need_cluster
fi

for part in ${parts:- secrets release redis models}; do
  say "$part"
  "restore_$part"
done
if [ -z "$DRY_RUN" ]; then
  kube rollout status "deployment/$RELEASE-api" --timeout="${timeout}s"
  compare_nodes
fi
finish "restored from $file"
