#!/usr/bin/env bash
# Change how many pods answer, or show how many do.
#
# usage: scaling.sh scale N           [options]   run N pods
#        scaling.sh hpa MIN MAX CPU   [options]   let CPU % of the request decide between MIN and MAX
#        scaling.sh status            [options]
#   --target NAME                 of this target's deployment instead of the front's
#   -n, --namespace NAME          (default: snn-fusion, or SNN_FUSION_NAMESPACE)
#   --release NAME                (default: snn-fusion, or SNN_FUSION_RELEASE)
#   --dry-run                     show what would be done
#   -h, --help
# deploy.sh sets what the values say, so a change that is to last belongs there, too.

. "$(dirname "$0")/lib.sh"

whole() {
  [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] ||
    die "$1: $2 is not a whole number from $3 to $4" "see scaling.sh --help"
}

# board_resource DEPLOYMENT: the extended resource that a pod of it claims, nothing without boards.
board_resource() {
  # shellcheck disable=SC2016 # the template has variables of its own
  kube get deployment "$1" -o go-template='{{range $name, $_ := (index .spec.template.spec.containers 0).resources.limits}}{{$name}}{{"\n"}}{{end}}' |
    grep / || true
}

# boards RESOURCE: how many all nodes offer.
boards() {
  kubectl get nodes -o go-template="{{range .items}}{{with index .status.allocatable \"$1\"}}{{.}}{{\"\n\"}}{{end}}{{end}}" |
    awk '{ sum += $1 } END { print sum + 0 }'
}

check_boards() {
  local resource offered
  resource=$(board_resource "$1")
  [ -n "$resource" ] || return 0
  offered=$(boards "$resource")
  [ "$2" -le "$offered" ] ||
    die "$2 pods, but the cluster offers $offered $resource" "add boards (docs/lab-operator.md), or ask for at most $offered"
}

scale() {
  whole N "$1" 0 1000
  local most
  [ -n "$DRY_RUN" ] || check_boards "$deployment" "$1"
  if [ -z "$DRY_RUN" ] && exists horizontalpodautoscaler "$deployment"; then
    [ "$1" -ge 1 ] || die "an autoscaler keeps at least one pod of $deployment" "kubectl delete hpa $deployment -n $NAMESPACE, then again"
    most=$(kube get horizontalpodautoscaler "$deployment" -o jsonpath='{.spec.maxReplicas}')
    [ "$1" -le "$most" ] || most=$1
    say "an autoscaler would undo this; its least number becomes $1 instead"
    run kube patch horizontalpodautoscalers.v1.autoscaling "$deployment" --type merge \
      -p "{\"spec\": {\"minReplicas\": $1, \"maxReplicas\": $most}}"
  else
    run kube scale "deployment/$deployment" --replicas="$1"
  fi
}

hpa() {
  whole MIN "$1" 1 1000
  whole MAX "$2" 1 1000
  whole CPU "$3" 1 100
  [ "$1" -le "$2" ] || die "MIN $1 is more than MAX $2"
  if [ -z "$DRY_RUN" ] && [ -n "$(board_resource "$deployment")" ]; then
    die "$deployment runs on boards and waits idle for them, so CPU cannot scale it" "scaling.sh scale N --target ..."
  fi
  # Version 1 is what every cluster from 1.20 to 1.37 understands.
  printf '%s\n' "apiVersion: autoscaling/v1" "kind: HorizontalPodAutoscaler" \
    "metadata: {name: $deployment, labels: {app.kubernetes.io/instance: $RELEASE}}" \
    "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: $deployment}," \
    "  minReplicas: $1, maxReplicas: $2, targetCPUUtilizationPercentage: $3}" >"$manifest"
  if [ -z "$DRY_RUN" ] && exists horizontalpodautoscaler "$deployment"; then
    run kube patch horizontalpodautoscalers.v1.autoscaling "$deployment" --type merge \
      -p "{\"spec\": {\"minReplicas\": $1, \"maxReplicas\": $2, \"targetCPUUtilizationPercentage\": $3}}"
  else
    run kube create -f "$manifest"
  fi
}

status() {
  local name resource
  run kube get deployments,horizontalpodautoscalers -l "app.kubernetes.io/instance=$RELEASE"
  [ -z "$DRY_RUN" ] || return 0
  for name in $(deployments); do
    resource=$(board_resource "$name")
    [ -z "$resource" ] || say "$name: the cluster offers $(boards "$resource") $resource"
  done
}

words=()
target=
while [ $# -gt 0 ]; do
  common_option "$@"
  if [ "$SHIFT" -gt 0 ]; then
    shift "$SHIFT"
    continue
  fi
  case $1 in
    --target)
      target=$(value "$@")
      shift 2
      ;;
    -*) die "unknown option $1" "see scaling.sh --help" ;;
    *)
      words+=("$1")
      shift
      ;;
  esac
done
deployment=$RELEASE-${target:-api}
manifest=$(mktemp)
trap 'rm -f "$manifest"' EXIT
case ${words[0]:-}/${#words[@]} in
  scale/2 | hpa/4 | status/1) ;;
  *) usage 2 >&2 ;;
esac
if [ -z "$DRY_RUN" ]; then
  need_cluster
  need_namespace
  exists deployment "$deployment" || die "there is no deployment $deployment in $NAMESPACE" "scaling.sh status lists those that are"
fi
"${words[@]}"
