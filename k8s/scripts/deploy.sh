#!/usr/bin/env bash
# Install SNN Fusion in the cluster that KUBECONFIG names, or bring it up to date.
#
# usage: deploy.sh [options]
#   --image REPOSITORY:TAG        of the service (default: snn-fusion:latest)
#   --loihi-image REPOSITORY:TAG  of the targets that need Lava
#   --targets A,B                 targets with deployments of their own, besides the front's; those
#                                 that want options belong into a file of values
#   --values FILE                 values of the chart; repeatable, the last one counts
#   --set NAME=VALUE              one value of the chart; repeatable
#   --timeout SECONDS             to wait for the front (default: 600)
#   -n, --namespace NAME          (default: snn-fusion, or SNN_FUSION_NAMESPACE)
#   --release NAME                (default: snn-fusion, or SNN_FUSION_RELEASE)
#   --dry-run                     render and check everything, show what would be done, change nothing
#   -h, --help
# It can be run again at any time; what was made at the first time, keys and passwords, is kept.

. "$(dirname "$0")/lib.sh"

# image KEY REPOSITORY:TAG: values of an image; a registry may have a port, so the last colon counts.
image() {
  case ${2##*/} in
    *:*) options+=(--set-string "$1.repository=${2%:*},$1.tag=${2##*:}") ;;
    *) die "$2 names no tag" "write $2:TAG" ;;
  esac
}

options=()
timeout=600
while [ $# -gt 0 ]; do
  common_option "$@"
  if [ "$SHIFT" -gt 0 ]; then
    shift "$SHIFT"
    continue
  fi
  case $1 in
    --image) image image "$(value "$@")" ;;
    --loihi-image) image loihiImage "$(value "$@")" ;;
    --targets)
      IFS=, read -ra names <<<"$(value "$@")"
      for name in "${names[@]}"; do options+=(--set "targets.$name.boards=1"); done
      ;;
    --values) options+=(--values "$(value "$@")") ;;
    --set) options+=(--set "$(value "$@")") ;;
    --timeout) timeout=$(value "$@") ;;
    *) die "unknown option $1" "see deploy.sh --help" ;;
  esac
  shift 2
done

need helm
say "checking the chart"
told=$(helm template "$RELEASE" "$CHART" --namespace "$NAMESPACE" "${options[@]}" 2>&1 >/dev/null) ||
  die "$(grep -v 'level=INFO' <<<"$told")" "correct the values; k8s/chart/values.yaml explains each"
[ -n "$DRY_RUN" ] || need_cluster

if [ -n "$DRY_RUN" ] || ! kubectl get namespace "$NAMESPACE" >/dev/null 2>&1; then
  run kubectl create namespace "$NAMESPACE"
fi
run kubectl label --overwrite namespace "$NAMESPACE" \
  pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted
run helm upgrade --install "$RELEASE" "$CHART" --namespace "$NAMESPACE" "${options[@]}"
if ! run kube rollout status "deployment/$RELEASE-api" --timeout="${timeout}s"; then
  say "the front is not ready; this is what is wrong:"
  "$SCRIPTS/health_check.sh" --namespace "$NAMESPACE" --release "$RELEASE" || true
  die "the front did not become ready within $timeout s" \
    "solve what stands above and run deploy.sh again, or go back: helm rollback $RELEASE -n $NAMESPACE"
fi
say "next: $SCRIPTS/health_check.sh --namespace $NAMESPACE --release $RELEASE"
